import { HostError } from '@virtkit/core';
import type { CancelSignal, Clock } from './duplex.ts';

/** What both sides of a migration take. */
export interface LiveOptions {
  /** Cancels, as long as the hand-over has not begun; afterwards it is ignored. */
  readonly signal?: CancelSignal;
  /** Milliseconds that the other side may be silent, or take nothing; default 30 000. */
  readonly idleTimeoutMs?: number;
  /**
   * So long this side's own machine may take to go on, and a destination's to stop again; milliseconds, default 30 000. How long a
   * source's may take to stop: `handOverTimeoutMs`.
   */
  readonly machineTimeoutMs?: number;
  /** Where timers come from; default: the platform's. Tests bring their own. */
  readonly clock?: Clock;
}

export const IDLE_TIMEOUT_MS = 30_000;
export const MACHINE_TIMEOUT_MS = 30_000;

/** @throws HostError */
export function checkNumber(name: string, value: number, least: number): void {
  if (!(value >= least)) throw new HostError(`${name}: ${value}, ${least} or more expected`);
}
