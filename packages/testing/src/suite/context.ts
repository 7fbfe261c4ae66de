import type { GuestMemory, TransportParts } from '@virtkit/core';
import type { DeviceBench, TransportBench } from './bench.ts';
import { Rig, type RigOptions } from './rig.ts';
import type { RingMode } from './rings.ts';

/** What a list of cases is made for: one transport, one device type, one way to use rings. */
export interface Context<H, T extends TransportParts, D> {
  /** The transport. */
  readonly bench: TransportBench<H, T>;
  /** The device type. */
  readonly device: DeviceBench<D>;
  /** Format and features of the rings. */
  readonly rings: RingMode;
  /** Maps guest memory for the device: `(bytes) => new MappedMemory([{ gpa: 0, bytes }])`. */
  readonly map: (bytes: Uint8Array) => GuestMemory;
  /** Steps of work in a case; default 40. */
  readonly steps?: number;
  /** Which random cases; default 1. */
  readonly seed?: number;
}

export function stepsOf({ steps = 40 }: { readonly steps?: number }): number {
  return steps;
}

/** A guest that has not touched its device yet. */
export function fresh<H, T extends TransportParts, D>(
  { bench, device, rings, map, seed = 1 }: Context<H, T, D>,
  more: Partial<RigOptions> = {},
): Rig<H, T, D> {
  return new Rig(bench, device, { rings, map, seed, ...more });
}

/** A guest whose driver runs. */
export function started<H, T extends TransportParts, D>(
  context: Context<H, T, D>,
  more: Partial<RigOptions> = {},
): Rig<H, T, D> {
  const rig = fresh(context, more);
  rig.work.start();
  return rig;
}
