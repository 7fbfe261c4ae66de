/**
 * Live virtio devices out of a QEMU migration stream, and back into one.
 *
 * You bring:  a stream, guest memory, what the devices are connected to.
 * You get:    each device made as its state says, holding that state; it can run, and be saved again.
 * Not here:   the rest of the machine: CPUs, timers, other devices stay bytes.
 * @packageDocumentation
 */

export { changedPages } from './changed-pages.ts';
export { type ExecuteOptions, executeRequests, type Visited } from './execute-requests.ts';
export { inferPci } from './infer-pci.ts';
export { freshDevice, liveDevice, type Surroundings } from './live.ts';
export type { InferredPci, Made } from './made.ts';
export { type LiveStream, type OpenOptions, openStream, type StreamDevice } from './stream-live.ts';
