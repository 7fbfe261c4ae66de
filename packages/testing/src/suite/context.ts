import type { GuestMemory, TransportParts } from '@virtkit/core';
import type { DeviceBench, TransportBench } from './bench.ts';
import { Rig, type RigOptions } from './rig.ts';
import type { RingMode } from './rings.ts';

/** Context of a list of cases: one transport, one device type, one way to use rings. */
export interface Context<H, T extends TransportParts, D> {
  /** Transport under test. */
  readonly bench: TransportBench<H, T>;
  /** Device type under test. */
  readonly device: DeviceBench<D>;
  /** Format and features of the rings. */
  readonly rings: RingMode;
  /** Maps guest memory for the device: `(bytes) => new MappedMemory([{ gpa: 0, bytes }])`. */
  readonly map: (bytes: Uint8Array) => GuestMemory;
  /** Number of steps of work in a case; default 40. */
  readonly steps?: number;
  /** Seed of random cases; default 1. */
  readonly seed?: number;
}

export function stepsOf({ steps = 40 }: { readonly steps?: number }): number {
  return steps;
}

/** Makes a guest that has not touched its device yet. */
export function fresh<H, T extends TransportParts, D>(
  { bench, device, rings, map, seed = 1 }: Context<H, T, D>,
  more: Partial<RigOptions> = {},
): Rig<H, T, D> {
  return new Rig(bench, device, { rings, map, seed, ...more });
}

/** Makes a guest whose driver runs. */
export function started<H, T extends TransportParts, D>(
  context: Context<H, T, D>,
  more: Partial<RigOptions> = {},
): Rig<H, T, D> {
  const rig = fresh(context, more);
  rig.work.start();
  return rig;
}
