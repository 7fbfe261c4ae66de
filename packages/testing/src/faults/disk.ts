import type { Spans } from '@virtkit/core';
import { FaultCounter } from './counter.ts';
import { type FaultPlan, isOfDisk } from './language.ts';

/** Part of a disk's back end that is needed: `BlkBackend` of `@virtkit/device-blk` has it. */
export interface FaultyDiskBackend {
  /** Writes bytes of a request to the disk from byte `position` on. */
  write(position: number, source: Spans, from: number, length: number): void | Promise<void>;
}

/** Event of a write of which only the beginning arrived. See {@link faultyDisk}. */
export interface DiskFaultEvent {
  /** Kind of the fault. */
  readonly kind: 'torn';
  /** Position on the disk of the first byte that was to be written. */
  readonly position: number;
  /** Number of bytes that were to be written. */
  readonly length: number;
}

/**
 * Makes a disk that does what a plan says, and works as the one behind it otherwise: `torn` writes, of which only the
 * beginning arrives, and which are told as done.
 *
 * @param told hears of each fault
 */
export function faultyDisk<B extends FaultyDiskBackend>(
  backend: B,
  plan: FaultPlan,
  told: (event: DiskFaultEvent) => void = () => {},
): B {
  const counters = plan.faults
    .map((fault, place) => new FaultCounter(fault, plan.seed, place))
    .filter(({ fault }) => isOfDisk(fault));
  const write = (position: number, source: Spans, from: number, length: number): void | Promise<void> => {
    // each counts this write, whether another one has hit it or not
    const [torn] = counters.filter((counter) => counter.hits());
    if (torn === undefined) return backend.write(position, source, from, length);
    told({ kind: 'torn', position, length });
    const kept = Math.min(length, torn.value());
    return kept === 0 ? undefined : backend.write(position, source, from, kept);
  };
  return new Proxy(backend, {
    get(target, name) {
      if (name === 'write') return write;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
