/**
 * The contract between core, transports and devices: types only. Read these files and you can write a layer;
 * `transport.ts` and `device.ts` are what you implement for saved state, `state.ts` is what you are given there;
 * `model.ts` is what you implement for a live device or transport, `queue.ts` and `memory.ts` what you work with.
 */
export type { DeviceIdentity, DeviceLayer, Endian, FeatureNames } from './device.ts';
export type { DeviceHost } from './device-host.ts';
export type { DeviceModel, RequestInFlight } from './device-model.ts';
export type { Segment, VirtQueueElement } from './element.ts';
export type { DeviceEvent } from './event.ts';
export type { Finding, Report } from './finding.ts';
export type { InFlightLog } from './in-flight-log.ts';
export type {
  LiveDevice,
  QueueInfo,
  QueuePosition,
  RestoreOptions,
  RestorePlan,
} from './live-device.ts';
export type { Gpa, GuestMemory, LoggedMemory, MemoryMap, MemoryRegion } from './memory.ts';
export type { Chain, Spans, Virtqueue } from './queue.ts';
export type {
  CoreSubsections,
  EarlyState,
  PackedIndices,
  QueueState,
  RingAddresses,
  SubsectionsWith,
  TransportParts,
  VirtioState,
} from './state.ts';
export type { Column, Step, StepObserver } from './step.ts';
export type { PartsOf, Recognition, TransportIdentity, TransportLayer } from './transport.ts';
export type { ConfigRegisters, QueueRegisters, TransportHost } from './transport-host.ts';
export type { ConfigChange, TransportModel } from './transport-model.ts';
export type { ContractVersion } from './version.ts';
