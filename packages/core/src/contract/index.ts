/**
 * The contract between core, transports and devices: types only. Read these files and you can write a layer;
 * `transport.ts` and `device.ts` are what you implement, `state.ts` is what you are given.
 */
export type { DeviceLayer, Endian, FeatureNames } from './device.ts';
export type { Finding, Report } from './finding.ts';
export type { CoreSubsections, EarlyState, QueueState, TransportParts, VirtioState } from './state.ts';
export type { Column, Step, StepObserver } from './step.ts';
export type { PartsOf, Recognition, TransportLayer } from './transport.ts';
export type { ContractVersion } from './version.ts';
