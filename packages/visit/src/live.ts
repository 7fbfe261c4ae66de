import {
  type DeviceEvent,
  type DeviceModel,
  type Endian,
  FEATURE,
  hasFeature,
  type LiveDevice,
  type LiveOptions,
  type MemoryMap,
  negotiated,
  type RingFeatures,
  STATUS,
  type TransportParts,
  type VirtioState,
} from '@virtkit/core';
import type { ConnectedType } from '@virtkit/core/qemu';
import { titleOf, type VirtioDevice } from '@virtkit/migration';
import { CcwDevice, type CcwParts, type ChannelHost } from '@virtkit/transport-ccw';
import { MmioDevice, type MmioParts } from '@virtkit/transport-mmio';
import { PciFunction, type PciParts } from '@virtkit/transport-pci';
import { StateError } from '@virtkit/vmstate';
import { inferPci } from './infer-pci.ts';
import type { Made } from './made.ts';

/** Machine around a device that is made from its state. */
export interface Surroundings {
  /** Guest memory that the rings and buffers are in. */
  readonly memory: MemoryMap;
  /** Machine type of the stream: `pc-q35-7.2`; empty where it is not known. */
  readonly machine: string;
  /** Byte order of the guest's CPU. */
  readonly targetEndian: Endian;
  /** Takes MSI-X messages; default: they are lost. */
  sendMsi?(address: number, data: number): void;
  /** Sets interrupt lines of PCI and MMIO, by the device's title; default: nobody looks at them. */
  setLine?(title: string, level: boolean): void;
  /** Machine that takes interrupts of channel I/O; default: they are lost. */
  readonly channelHost?: ChannelHost;
  /** Function that is called with what the device tells its host program. */
  readonly onEvent?: (event: DeviceEvent) => void;
}

/**
 * Makes a live device as the one was that wrote a state, and gives it the state. It is paused: `resume()` sets it
 * going.
 *
 * @param types the device types that can be live, with what their devices are connected to
 * @throws StateError what speaks against it, `device-type` for types that are not in `types`; HostError for a back end
 * that does not fit
 */
export function liveDevice(
  device: VirtioDevice,
  state: VirtioState,
  types: readonly ConnectedType[],
  around: Surroundings,
): LiveDevice {
  const type = types.find(({ name }) => name === device.name);
  const title = titleOf(device);
  if (type === undefined) {
    throw new StateError(
      'device-type',
      `${title}: there is no live device of this type`,
      { name: device.name },
      { layer: 'device' },
    );
  }
  const live = freshDevice(device, state, type.make(title, state), around);
  live.restore(state);
  return live;
}

/**
 * Makes the transport that wrote a state anew around a device, without the state: as the one was made that wrote it, or
 * differently where `made` says so. Its `check` tells what speaks against the state there.
 *
 * @throws HostError for options that contradict each other; StateError for transports that virtkit has no live one of
 */
export function freshDevice(
  device: VirtioDevice,
  state: VirtioState,
  model: DeviceModel,
  around: Surroundings,
  made: Made = {},
): LiveDevice {
  const title = titleOf(device);
  const { memory, targetEndian, onEvent } = around;
  const version1 = made.version1 ?? state.subsections.virtqueues !== undefined;
  const common: Omit<LiveOptions, 'version1'> = {
    memory,
    rings: { ...inferRings(state), ...made.rings },
    targetEndian,
    // QEMU 11.1 does not write the subsection; earlier ones do where a size differs
    saveRingSize: state.subsections.ringsize !== undefined,
    ...(onEvent !== undefined && { onEvent }),
  };
  switch (device.codec.transport.name) {
    case 'pci': {
      const inferred = inferPci(state as VirtioState<PciParts>, around.machine);
      const pci = made.pci?.(inferred) ?? inferred;
      const options = { ...common, ...pci, rings: common.rings ?? {} };
      return new PciFunction(model, {
        ...options,
        setIntx: (level) => around.setLine?.(title, level),
        ...(pci.vectors !== 0 && {
          sendMsi: (address: number, data: number) => around.sendMsi?.(address, data),
        }),
      }).device as LiveDevice;
    }
    case 'ccw':
      return makeCcw(model, state as VirtioState<CcwParts>, around, common, version1);
    case 'mmio':
      return new MmioDevice(model, {
        ...common,
        legacy:
          made.version1 === undefined
            ? (state as VirtioState<MmioParts>).subsections.extraState === undefined
            : !made.version1,
        setIrq: (level) => around.setLine?.(title, level),
      }).device as LiveDevice;
    default:
      throw new StateError(
        'transport',
        `${title}: no live transport of this kind`,
        { transport: device.codec.transport.name },
        { layer: 'transport' },
      );
  }
}

/** Machine that does not hear of interrupts. */
const SILENT: ChannelHost = { ioInterrupt: () => {}, adapterInterrupt: () => {} };

/** Infers the ring features that were offered: those that left a trace in the state, and QEMU's defaults. */
function inferRings(state: VirtioState): RingFeatures {
  const features = negotiated(state);
  const { subsections } = state;
  return {
    packed: subsections.packedVirtqueues !== undefined,
    inOrder: hasFeature(features, FEATURE.IN_ORDER),
    notificationData: hasFeature(features, FEATURE.NOTIFICATION_DATA),
    // the subsection of the upper features is there if one of them is offered; on a legacy device this is the only one
    ringReset: subsections.features64 !== undefined,
  };
}

function makeCcw(
  model: DeviceModel,
  state: VirtioState<CcwParts>,
  around: Surroundings,
  common: Omit<LiveOptions, 'version1'>,
  version1: boolean,
): LiveDevice {
  const { sch } = state.transport;
  return new CcwDevice(model, {
    ...common,
    host: around.channelHost ?? SILENT,
    cssid: sch.cssid,
    ssid: sch.ssid,
    schid: sch.migratedSchid,
    devno: sch.devno,
    version1,
    saveOrb: sch.orb !== undefined,
    useStarted: usesStarted(state),
  }).device as LiveDevice;
}

/** Is "started" a flag beside DRIVER_OK (QEMU's `use-started`)? It is taken to be, unless the driver runs and the flag is missing. */
function usesStarted({ status, subsections }: VirtioState<TransportParts>): boolean {
  const driverOk = (status & STATUS.DRIVER_OK) !== 0;
  return subsections.started === true || !driverOk;
}
