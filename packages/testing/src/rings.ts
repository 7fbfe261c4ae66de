/**
 * The driver's side of split and packed rings, as it stands in guest memory.
 *
 * @packageDocumentation
 */
export { PackedRing } from './ring/packed.ts';
export type { Buffer, DriverRing, RingAddresses, RingOptions, Used } from './ring/ring.ts';
export { SplitRing } from './ring/split.ts';
