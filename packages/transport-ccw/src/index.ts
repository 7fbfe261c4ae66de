/**
 * Virtio over channel I/O (s390x): a device on a subchannel, a channel subsystem for emulators that have none, and their
 * part of the saved state.
 *
 * You bring:  a device type (`@virtkit/device-*`), guest memory, and a CPU that decodes the I/O instructions.
 * You get:    `CcwDevice`: subchannel, channel programs, virtio commands of revisions 0 to 2, classic and adapter
 *             interrupts. `ChannelSubsystem`: the I/O instructions by condition code, pending interrupts, diagnose 0x500.
 *             The layer `ccw` for `virtioDevice` of `@virtkit/core`; the sections `s390_css` and `qemu-s390-flic`.
 * Not here:   CHSC, channel measurements, control units that are not virtio's.
 * @packageDocumentation
 */
export { CcwDevice } from './ccw-device.ts';
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
export { type CssState, type FlicState, s390Css, s390Flic } from './companions.ts';
export { ccw } from './layer.ts';
export type { CcwOptions } from './live/ccw-device.ts';
export {
  type CcwConfigState,
  type CcwParts,
  type CcwQueueState,
  ccwConfigState,
  ccwQueueState,
  orb,
  pmcw,
  schib,
  scsw,
  senseId,
  subchannel,
} from './subchannel.ts';
export { type AdapterIndicators, type IndicatorAddress, Indicators } from './virtio/indicators.ts';
