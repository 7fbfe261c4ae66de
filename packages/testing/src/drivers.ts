/**
 * Guest drivers of device types, with what they say on the wire: features, requests and messages, written from the specification.
 *
 * @packageDocumentation
 */
export { BLK_DRIVER_FEATURES, BlkDriver, type BlkLayout, type BlkRequest, SECTOR } from './driver/blk.ts';
export {
  CONSOLE_DRIVER_FEATURES,
  CONSOLE_EVENT,
  CONSOLE_F,
  ConsoleDriver,
  type ConsoleDriverOptions,
  type ControlMessage,
  consoleQueues,
  type DriverPort,
  type Written,
} from './driver/console.ts';
export { NetDriver, type NetDriverOptions, netFeatures, type Received, type Sent } from './driver/net.ts';
export { CTRL, type CtrlRequest } from './driver/net-ctrl.ts';
export { NET_DRIVER_FEATURES, NET_F } from './driver/net-features.ts';
export type { NetHeader } from './driver/net-header.ts';
export { RNG_BLANK, RngDriver, type RngDriverOptions, type RngRequest } from './driver/rng.ts';
export { type DriverEvents, type DriverSetup, type RingWishes, VirtioDriver } from './driver/virtio.ts';
export { bits, DriverError } from './spec.ts';
