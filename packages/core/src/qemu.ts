/**
 * Data about what QEMU's versions and machine types change, and the descriptor of a device type: the lowest layer of
 * what virtkit knows about QEMU, without any device type in it.
 *
 * You bring:  a device type of your own, to declare it as a {@link DeviceType}.
 * You get:    versions and machine versions compared, properties read as QEMU reads them, a registry of descriptors.
 * Not here:   the descriptors, which are in the device packages (`@virtkit/device-blk/type`); what is done with them
 *             (`@virtkit/compat`, `@virtkit/visit`).
 * @packageDocumentation
 */
export { type ConnectedType, connect } from './qemu/connect.ts';
export type {
  Conversion,
  Destined,
  DeviceType,
  EqualField,
  FieldRule,
  FindingWords,
  LiveDeviceType,
  LiveSide,
  PciSide,
  QemuSide,
  QueueDefaults,
  RequestSide,
  Rewritten,
  Weight,
} from './qemu/device-type.ts';
export { ALWAYS_OFFERED, type FeatureControl, type FeatureTable } from './qemu/feature-control.ts';
export {
  DEFAULT_CHANGED,
  isSince,
  type MachineFamily,
  type MachineOfQemu,
  machineVersion,
  type VersionedMachine,
} from './qemu/machine.ts';
export { chosen, defined, type Making, type QemuDevice } from './qemu/making.ts';
export {
  driverMistake,
  type ExplainedFeature,
  type Explanation,
  group,
  type LogContext,
  type MessageRule,
} from './qemu/message.ts';
export { bytesOf, numberOf, propertyNames, switchOf } from './qemu/properties.ts';
export { registryOf, type TypeRegistry, typeNamed } from './qemu/registry.ts';
export { condition, notKnown, refusal, remark, type Verdict, type VerdictDetails } from './qemu/verdict.ts';
export { compareVersion, type QemuVersion, VERSIONS, versionRow, whyUnknown } from './qemu/versions.ts';
