/**
 * Virtio over channel I/O for programs that never make bytes of a device's state: without the format.
 *
 * You bring:  what `@virtkit/transport-ccw` is brought, the device from such an entry too (`@virtkit/device-blk/live`).
 * You get:    the same {@link CcwDevice} and {@link ChannelSubsystem}; `device.capture()` and `restore()` work, with states as plain data.
 * Not here:   `ccw`, and what needs it: sections of migration streams.
 * @packageDocumentation
 */
export type { SubchannelAddress } from './channel/address.ts';
export type { CommandEnding, ControlUnit } from './channel/control-unit.ts';
export type { DataStream } from './channel/data-stream.ts';
export { type ChannelDevice, VIRTUAL_CSSID } from './channel/devices.ts';
export type { ChannelHost, IoInterrupt } from './channel/host.ts';
export { ADAPTER_WORD, InterruptQueue, type PendingInterrupt } from './channel/interrupts.ts';
export {
  type Ccw,
  IRB_BYTES,
  ORB_BYTES,
  type Orb,
  type Pmcw,
  SCHIB_BYTES,
  type Scsw,
  type SenseId,
} from './channel/structures.ts';
export { type ConditionCode, Subchannel, type SubchannelState } from './channel/subchannel.ts';
export {
  ChannelSubsystem,
  type ChannelSubsystemOptions,
  type InstructionEnding,
  type OperandAccess,
  type ProgramException,
} from './channel/subsystem.ts';
export { CcwDevice, type CcwOptions } from './live/ccw-device.ts';
export type { CcwConfigState, CcwParts, CcwQueueState } from './subchannel.ts';
export { type AdapterIndicators, type IndicatorAddress, Indicators } from './virtio/indicators.ts';
