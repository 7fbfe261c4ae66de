import type {
  DeviceEvent,
  Endian,
  GuestMemory,
  LiveDevice,
  LiveOptions,
  TransportParts,
  VirtioState,
} from '@virtkit/core';
import { titleOf, type VirtioDevice } from '@virtkit/migration';
import { CcwDevice, type CcwParts, type ChannelHost } from '@virtkit/transport-ccw';
import { MmioDevice, type MmioParts } from '@virtkit/transport-mmio';
import { PciFunction, type PciParts } from '@virtkit/transport-pci';
import { StateError } from '@virtkit/vmstate';
import { type Backends, inferDevice, inferRings } from './infer-device.ts';
import { inferPci } from './infer-pci.ts';
import type { Made } from './made.ts';

/** The machine around a device that is made from its state. */
export interface Surroundings extends Backends {
  readonly memory: GuestMemory;
  /** Machine type of the stream. */
  readonly machine: string;
  /** Byte order of the guest's CPU. */
  readonly targetEndian: Endian;
  /** MSI-X messages; default: they are lost. */
  sendMsi?(address: number, data: number): void;
  /** Interrupt lines of PCI and MMIO. */
  setLine?(title: string, level: boolean): void;
  /** Interrupts of channel I/O. */
  readonly channelHost?: ChannelHost;
  readonly onEvent?: (event: DeviceEvent) => void;
}

/**
 * A live device, made as the one was that wrote this state, and holding it. It is paused: `resume()` sets it going.
 *
 * @throws StateError what speaks against it; HostError for a back end that does not fit
 */
export function liveDevice(device: VirtioDevice, state: VirtioState, around: Surroundings): LiveDevice {
  const live = freshDevice(device, state, around);
  live.restore(state);
  return live;
}

/**
 * The live device without its state: as the one was made that wrote it, or differently as `made` says. Its `check` tells
 * what speaks against the state there.
 *
 * @throws HostError for options that contradict each other
 */
export function freshDevice(
  device: VirtioDevice,
  state: VirtioState,
  around: Surroundings,
  made: Made = {},
): LiveDevice {
  const title = titleOf(device);
  const model = made.model ?? inferDevice(device.name, title, state, around, made);
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

const SILENT: ChannelHost = { ioInterrupt: () => {}, adapterInterrupt: () => {} };

function makeCcw(
  model: ConstructorParameters<typeof CcwDevice<unknown>>[0],
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

/** Machines up to 4.0 have no `started` beside DRIVER_OK. */
function usesStarted({ status, subsections }: VirtioState<TransportParts>): boolean {
  const driverOk = (status & 4) !== 0;
  return subsections.started === true || !driverOk;
}
