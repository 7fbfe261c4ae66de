/**
 * Devices that misbehave on purpose, for people who write drivers: latency, errors, torn writes, lost interrupts, requests that never end, answers in another
 * order, wrong lengths, rings that make no sense. What happens is written in a small language, and the same plan does the same each time.
 *
 * You bring:  a device type, any transport, and a driver that is to be tested.
 * You get:    `parseFaults` for the language, `faultyDevice` around the device type, `faultyDisk` around the back end of a disk.
 * Not here:   hostile guests: those are in `/hostile`.
 * @packageDocumentation
 */
export { type FaultyDeviceOptions, faultyDevice } from './faults/device.ts';
export { type DiskFaultEvent, type FaultyDiskBackend, faultyDisk } from './faults/disk.ts';
export {
  type Fault,
  type FaultKind,
  type FaultPlan,
  type FaultRequest,
  type FaultWhen,
  parseFaults,
} from './faults/language.ts';
