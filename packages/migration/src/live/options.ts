import { HostError } from '@virtkit/core';
import type { CancelSignal, Clock } from './duplex.ts';

/** Options that both sides of a migration take. */
export interface LiveOptions {
  /** Signal that cancels, as long as the hand-over has not begun; afterwards it is ignored. */
  readonly signal?: CancelSignal;
  /** Milliseconds that the other side may be silent, or take nothing; default 30 000. */
  readonly idleTimeoutMs?: number;
  /**
   * Milliseconds that this side's own machine may take to go on, and a destination's to stop again; default 30 000. The
   * time that a source's may take to stop is `handOverTimeoutMs`.
   */
  readonly machineTimeoutMs?: number;
  /** Clock that timers come from; default: the platform's. Tests bring their own. */
  readonly clock?: Clock;
}

export const IDLE_TIMEOUT_MS = 30_000;
export const MACHINE_TIMEOUT_MS = 30_000;

/** Demands a finite number of at least `least`. @throws HostError for anything else */
export function checkNumber(name: string, value: number, least: number): void {
  if (!(value >= least)) throw new HostError(`${name}: ${value}, ${least} or more expected`);
}
