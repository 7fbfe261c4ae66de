import { type DeviceModel, HostError, type LiveOptions } from '@virtkit/core/live';
import { DEVICE_ID_MODERN, VIRTIO_VENDOR } from '../pci-ids.ts';
import type { Bar } from './bars.ts';
import { type MachineProperties, machineProperties } from './machine.ts';
import type { SendMessage } from './msix.ts';
import { VIRTIO_ID } from './virtio-ids.ts';

/**
 * Interface that drivers find. `transitional`: for old and new drivers; `legacy`: for old ones, as with QEMU's
 * `disable-modern=on`; `modern`: for new ones, as with `disable-legacy=on`.
 */
export type PciMode = 'transitional' | 'legacy' | 'modern';

/** Options of a device on a PCI bus. Names in brackets are QEMU's properties. */
export interface PciOptions extends Omit<LiveOptions, 'version1' | 'align' | 'useStarted'> {
  /** Sets the INTA line: called when its level changes, and after a restore. */
  setIntx?(level: boolean): void;
  /**
   * Takes an MSI-X message: a 32-bit little-endian write to that guest address, which may be above 4 GiB. Without it
   * the function has no MSI-X, as on a machine that does not know MSI.
   */
  sendMsi?: SendMessage;
  /**
   * Takes an MSI-X message by its vector, instead of {@link sendMsi}, where the machine has the MSI-X table itself and
   * guests write it there (VFIO). Answers false if the vector is masked there: the message stays pending until {@link
   * PciFunction.sendPending}.
   */
  sendVector?(vector: number): boolean;
  /** Is told that a BAR is mapped now, elsewhere, or no more. */
  onBarChange?(bar: Bar): void;
  /**
   * Interface that drivers find. Default: as QEMU's `disable-legacy=auto`, modern if express, else transitional;
   * machines up to 2.6 legacy.
   */
  readonly mode?: PciMode;
  /**
   * True if the function sits behind a PCI Express port: 4096 bytes of configuration space, PCI Express capability.
   * Default false.
   */
  readonly express?: boolean;
  /**
   * Number of MSI-X vectors, 0 to 2048 (`vectors`). Default: as QEMU's, one for each queue and one for the
   * configuration.
   */
  readonly vectors?: number;
  /**
   * Machine type of the QEMU whose function this is: `7.2`, `pc-q35-5.2`. It decides vectors, capability bytes, offered
   * features, what is saved: a stream of that machine type fits. Default 7.2.
   */
  readonly machine?: string;
  /** True for a page of notification addresses for each queue (`page-per-vq`). Default by machine. */
  readonly pagePerVq?: boolean;
  /** True for notification by port I/O as well (`modern-pio-notify`). Default false. */
  readonly modernPioNotify?: boolean;
  /** True for advanced error reporting (`aer`); express only. Default false. */
  readonly aer?: boolean;
  /** True for address translation services (`ats`); express only. Default false. */
  readonly ats?: boolean;
  /** True if the function is one of several in its slot (`multifunction`). Default false. */
  readonly multifunction?: boolean;
  /** Content of the expansion ROM (`romfile`). Default: no ROM. */
  readonly rom?: Uint8Array;
  /** Class code, 24 bits (`class`). Default: QEMU's for the device type; 0x00ff00, no class, for types that QEMU has none for. */
  readonly classCode?: number;
  /** Ids of the function; what is not given is as in QEMU. */
  readonly ids?: PciIds;
  /**
   * True if 0 is an address for a BAR. QEMU: `pci_allow_0_address`, of ARM, RISC-V and POWER machines. Default false.
   */
  readonly allowAddressZero?: boolean;
}

/** Ids in the header of a function. */
export interface PciIds {
  /** Vendor id; default 0x1af4. */
  readonly vendor?: number;
  /** Device id; default 0x1040 and the number of the device type, or the transitional one. */
  readonly device?: number;
  /** Revision id; default 0 for transitional functions, 1 for others. */
  readonly revision?: number;
  /** Subsystem vendor id; default 0x1af4. */
  readonly subsystemVendor?: number;
  /** Subsystem id; default 0x1100, or the number of the device type for transitional functions. */
  readonly subsystem?: number;
}

const MODERN_SUBSYSTEM = 0x1100;
/** Transitional PCI device ids by the number of the device type. Virtio 1.3 §4.1.2.1 */
const TRANSITIONAL: Readonly<Record<number, number>> = {
  [VIRTIO_ID.NET]: 0x1000,
  [VIRTIO_ID.BLK]: 0x1001,
  [VIRTIO_ID.BALLOON]: 0x1002,
  [VIRTIO_ID.CONSOLE]: 0x1003,
  [VIRTIO_ID.SCSI]: 0x1004,
  [VIRTIO_ID.RNG]: 0x1005,
  [VIRTIO_ID.P9]: 0x1009,
};
const MAX_VECTORS = 2048;
const CLASS_CODE_MAX = 0xffffff;

/** Options of a function, checked and complete. */
export interface PciShape {
  readonly properties: MachineProperties;
  readonly mode: PciMode;
  readonly hasLegacy: boolean;
  readonly hasModern: boolean;
  readonly express: boolean;
  readonly vectors: number;
  /** Factor of a queue's notification address: `notify_off_multiplier`. */
  readonly multiplier: number;
  readonly ids: Required<PciIds>;
}

/** Decides what the options leave open. @throws HostError for options that contradict each other */
export function shapeOf(model: DeviceModel, options: PciOptions): PciShape {
  const properties = machineProperties(options.machine);
  const express = (options.express ?? false) && properties.express;
  const mode =
    options.mode ?? (properties.legacyOnly ? 'legacy' : options.express ? 'modern' : 'transitional');
  if (mode !== 'modern' && options.accessPlatform)
    throw new HostError(`accessPlatform in mode '${mode}': only modern drivers know of it`);
  if (mode === 'legacy' && options.modernPioNotify)
    throw new HostError("modernPioNotify in mode 'legacy': there is nothing modern");
  const { classCode = 0 } = options;
  if (!Number.isInteger(classCode) || classCode < 0 || classCode > CLASS_CODE_MAX)
    throw new HostError(`classCode ${classCode}: not a number of 24 bits`);
  return {
    properties,
    mode,
    hasLegacy: mode !== 'modern',
    hasModern: mode !== 'legacy',
    express: express && mode !== 'legacy',
    vectors: vectorsOf(model, options, properties),
    multiplier: (options.pagePerVq ?? properties.pagePerVq) ? 0x1000 : 4,
    ids: idsOf(model, mode, options.ids ?? {}),
  };
}

function vectorsOf(model: DeviceModel, options: PciOptions, { vectors }: MachineProperties): number {
  if (options.sendMsi === undefined && options.sendVector === undefined) {
    if ((options.vectors ?? 0) > 0)
      throw new HostError(`${options.vectors} vectors, and no sendMsi or sendVector to send them`);
    return 0;
  }
  if (options.sendMsi !== undefined && options.sendVector !== undefined)
    throw new HostError('sendMsi and sendVector: a message goes one way');
  const byMachine = vectors[model.layer.virtioId ?? 0];
  const count = options.vectors ?? byMachine ?? model.queueSizes.length + 1;
  if (!Number.isInteger(count) || count < 0 || count > MAX_VECTORS)
    throw new HostError(`${count} MSI-X vectors, 0 to ${MAX_VECTORS} allowed`);
  return count;
}

function idsOf(model: DeviceModel, mode: PciMode, given: PciIds): Required<PciIds> {
  const { virtioId } = model.layer;
  const device = given.device ?? deviceOf(virtioId, mode);
  if (device === undefined)
    throw new HostError(`${model.layer.name}: no PCI device id for mode '${mode}'; give one in ids.device`);
  const modern = mode === 'modern';
  return {
    vendor: given.vendor ?? VIRTIO_VENDOR,
    device,
    // Virtio 1.3 §4.1.2.1 SHOULD: revision 1 or higher
    // Virtio 1.3 §4.1.2.3 MUST: revision 0 of transitional devices
    revision: given.revision ?? (modern ? 1 : 0),
    subsystemVendor: given.subsystemVendor ?? VIRTIO_VENDOR,
    // Virtio 1.3 §4.1.2.1 SHOULD: subsystem 0x40 or higher
    // Virtio 1.3 §4.1.2.3 MUST: the subsystem of transitional devices is the device type
    subsystem: given.subsystem ?? (modern ? MODERN_SUBSYSTEM : (virtioId ?? 0)),
  };
}

function deviceOf(virtioId: number | undefined, mode: PciMode): number | undefined {
  if (virtioId === undefined) return undefined;
  // Virtio 1.3 §4.1.2.1 MUST: 0x1040 plus the device type, or a transitional id
  return mode === 'modern' ? DEVICE_ID_MODERN + virtioId : TRANSITIONAL[virtioId];
}
