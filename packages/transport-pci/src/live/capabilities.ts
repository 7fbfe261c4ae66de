import { EXTENDED_CAPABILITIES, PCI_HEADER as HEADER } from '../pci-header.ts';
import type { ConfigRegisters } from './config-registers.ts';

/** Numbers of BARs as QEMU's virtio functions have them. */
export const BAR = { LEGACY: 0, MSIX: 1, NOTIFY_PIO: 2, MODERN: 4, ROM: 6 } as const;

const ID = { POWER: 0x01, VENDOR: 0x09, EXPRESS: 0x10, MSIX: 0x11 } as const;
const EXTENDED_ID = { AER: 0x0001, ATS: 0x000f } as const;

/** Types of virtio capabilities, their `cfg_type`. Virtio 1.3 §4.1.4 */
const CFG_TYPE = { COMMON: 1, NOTIFY: 2, ISR: 3, DEVICE: 4, PCI: 5 } as const;

/** Offsets of the structures in the modern BAR; each has a page, the notifications may have more. */
// Virtio 1.3 §4.1.4.3.1 MUST, §4.1.4.4.1 MUST, §4.1.4.6.1 MUST: offsets are multiples of 4
export const STRUCTURE = {
  COMMON: 0x0000,
  ISR: 0x1000,
  DEVICE: 0x2000,
  NOTIFY: 0x3000,
  BYTES: 0x1000,
} as const;

/** Number of queues that notification addresses are laid out for. */
const QUEUES = 1024;

interface Structure {
  readonly type: number;
  readonly name: string;
  readonly bar: number;
  readonly offset: number;
  readonly length: number;
  /** Factor of a queue's notification address (`notify_off_multiplier`), of notification structures only. */
  readonly multiplier?: number;
}

/** Offsets in a virtio capability. Virtio 1.3 §4.1.4: `struct virtio_pci_cap`, with the multiplier or the data behind it */
const VIRTIO_CAP = { NEXT: 1, LEN: 2, TYPE: 3, BAR: 4, OFFSET: 8, LENGTH: 12, MORE: 16 } as const;
/** Length in bytes of a virtio capability; below it, of one with a multiplier or with data. */
const VIRTIO_CAP_BYTES = 16;
const VIRTIO_CAP_BYTES_MORE = 20;

/** Adds a virtio capability, `struct virtio_pci_cap`, and what some types have behind it. Virtio 1.3 §4.1.4 */
function addVirtio(space: ConfigRegisters, structure: Structure, bytes: number): number {
  const { type, name, bar, offset, length } = structure;
  const at = space.addCapability(ID.VENDOR, bytes, `virtio ${name} capability`);
  // Virtio 1.3 §4.1.4.2 MUST: cap_len has all of the structure's extra data in it
  space.set(at + VIRTIO_CAP.LEN, 1, bytes);
  space.set(at + VIRTIO_CAP.TYPE, 1, type);
  space.set(at + VIRTIO_CAP.BAR, 1, bar);
  space.set(at + VIRTIO_CAP.OFFSET, 4, offset);
  space.set(at + VIRTIO_CAP.LENGTH, 4, length);
  space.name(at + VIRTIO_CAP.NEXT, 1, `virtio ${name} capability: next`);
  space.name(at + VIRTIO_CAP.BAR, 1, `virtio ${name} capability: bar`);
  space.name(at + VIRTIO_CAP.OFFSET, 4, `virtio ${name} capability: offset`);
  space.name(at + VIRTIO_CAP.LENGTH, 4, `virtio ${name} capability: length`);
  if (structure.multiplier !== undefined) {
    space.set(at + VIRTIO_CAP.MORE, 4, structure.multiplier);
    space.name(at + VIRTIO_CAP.MORE, 4, `virtio ${name} capability: notify_off_multiplier`);
  }
  return at;
}

/** Length in bytes of the notification structure. */
export function notifyBytes(multiplier: number): number {
  // Virtio 1.3 §4.1.4.4.1 MUST: room for a notification of each queue, with data or without
  return multiplier * QUEUES;
}

/**
 * Adds the capabilities of the modern interface, in QEMU's order.
 *
 * @returns offset of the PCI configuration access capability
 */
export function addModernCapabilities(
  space: ConfigRegisters,
  multiplier: number,
  notifyPio: boolean,
): number {
  const inModernBar = { bar: BAR.MODERN, length: STRUCTURE.BYTES };
  // Virtio 1.3 §4.1.4.3.1 MUST: at least one common configuration capability
  addVirtio(
    space,
    { ...inModernBar, type: CFG_TYPE.COMMON, name: 'common configuration', offset: STRUCTURE.COMMON },
    16,
  );
  // Virtio 1.3 §4.1.4.5.1 MUST: at least one ISR capability
  addVirtio(
    space,
    { ...inModernBar, type: CFG_TYPE.ISR, name: 'ISR', offset: STRUCTURE.ISR },
    VIRTIO_CAP_BYTES,
  );
  // Virtio 1.3 §4.1.4.6.1 MUST: at least one, for devices that have a configuration
  addVirtio(
    space,
    { ...inModernBar, type: CFG_TYPE.DEVICE, name: 'device configuration', offset: STRUCTURE.DEVICE },
    VIRTIO_CAP_BYTES,
  );
  // Virtio 1.3 §4.1.4.4.1 MUST: at least one notification capability, whose multiplier is an even power of 2, or 0
  const notify = { type: CFG_TYPE.NOTIFY, name: 'notification', offset: STRUCTURE.NOTIFY, multiplier };
  addVirtio(space, { ...notify, bar: BAR.MODERN, length: notifyBytes(multiplier) }, VIRTIO_CAP_BYTES_MORE);
  if (notifyPio) {
    const pio = { type: CFG_TYPE.NOTIFY, name: 'port I/O notification', bar: BAR.NOTIFY_PIO };
    addVirtio(space, { ...pio, offset: 0, length: 4, multiplier: 0 }, VIRTIO_CAP_BYTES_MORE);
  }
  // Virtio 1.3 §4.1.4.9.1 MUST: at least one PCI configuration access capability
  const window = { type: CFG_TYPE.PCI, name: 'PCI configuration access', bar: 0, offset: 0, length: 0 };
  const at = addVirtio(space, window, VIRTIO_CAP_BYTES_MORE);
  space.allow(at + VIRTIO_CAP.BAR, 1, 0xff);
  for (const field of [VIRTIO_CAP.OFFSET, VIRTIO_CAP.LENGTH, VIRTIO_CAP.MORE])
    space.allow(at + field, 4, 0xffffffff);
  return at;
}

/**
 * Length in bytes of the MSI-X capability; below it, the bits of the upper half of its message control that a driver
 * may change: enable, function mask.
 */
const MSIX_BYTES = 12;
const MSIX_CONTROL_DRIVER = 0xc0;

/** Adds the MSI-X capability, PCI 3.0 §6.8.2; answers its offset. */
export function addMsix(space: ConfigRegisters, vectors: number, pbaOffset: number): number {
  const at = space.addCapability(ID.MSIX, MSIX_BYTES, 'MSI-X capability');
  // Virtio 1.3 §4.1.5.1.2.1 MUST: the number of vectors is in Table Size
  space.set(at + 2, 2, vectors - 1);
  space.set(at + 4, 4, BAR.MSIX);
  space.set(at + 8, 4, pbaOffset | BAR.MSIX);
  space.allow(at + 3, 1, MSIX_CONTROL_DRIVER);
  space.name(at + 1, 1, 'MSI-X capability: next');
  space.name(at + 2, 2, 'MSI-X capability: table size');
  space.name(at + 4, 4, 'MSI-X capability: table BAR and offset');
  space.name(at + 8, 4, 'MSI-X capability: PBA BAR and offset');
  return at;
}

/** Features in which PCI Express functions differ. */
export interface ExpressFeatures {
  readonly extTag: boolean;
  readonly flr: boolean;
  readonly pcieControls: boolean;
  readonly errUncMask: boolean;
  readonly atsPageAligned: boolean;
  readonly aer: boolean;
  readonly ats: boolean;
}

/** Offsets in the PCI Express capability. PCIe 2.1 §7.8 */
export const EXPRESS = {
  FLAGS: 2,
  DEVCAP: 4,
  DEVCTL: 8,
  DEVSTA: 10,
  LNKCAP: 12,
  LNKCTL: 16,
  LNKSTA: 18,
} as const;
const DEVCAP2 = 0x24;
const DEVCTL2 = 0x28;
/** Length in bytes of the PCI Express capability in its version 2. PCIe 2.1 §7.8 */
const EXPRESS_BYTES = 0x3c;

/** Bits of the device capabilities: role-based error reporting, extended tag, function level reset. */
const DEVCAP_BIT = { ROLE_BASED_ERRORS: 0x8000, EXT_TAG: 0x20, FLR: 0x1000_0000 } as const;
/** Value of the link capabilities and the link status: one lane of 2.5 GT/s; ASPM L0s. */
const LNKCAP_VALUE = 0x0411;
const LNKSTA_VALUE = 0x0011;
/** Bits of the device capabilities 2 and the device control 2: end-to-end TLP prefixes, and their blocking. */
const DEVCAP2_PREFIXES = 0x0030_0000;
const DEVCTL2_BLOCK_PREFIXES = 0x8000;
/** Bits of the device status: an error of each of the four kinds was detected; cleared by ones. */
const DEVSTA_ERRORS = 0x000f;

/** Bits of the device control: the four error reporting enables; initiate function level reset. */
export const DEVCTL_BIT = { ERRORS: 0x000f, FLR: 0x8000 } as const;
/** Bits of the link control: common clock, extended synch. */
export const LNKCTL_BITS = 0x00c0;

/**
 * Adds the capabilities of PCI Express and power management, and extended ones where they are wanted.
 *
 * @returns offsets of the two
 */
export function addExpress(
  space: ConfigRegisters,
  features: ExpressFeatures,
): { express: number; power: number } {
  const express = space.addCapability(ID.EXPRESS, EXPRESS_BYTES, 'PCI Express capability');
  nameExpress(space, express);
  // version 2, endpoint
  space.set(express + EXPRESS.FLAGS, 2, 0x0002);
  const capabilities =
    DEVCAP_BIT.ROLE_BASED_ERRORS |
    (features.extTag ? DEVCAP_BIT.EXT_TAG : 0) |
    (features.flr ? DEVCAP_BIT.FLR : 0);
  space.set(express + EXPRESS.DEVCAP, 4, capabilities);
  space.set(express + EXPRESS.LNKCAP, 4, LNKCAP_VALUE);
  space.set(express + EXPRESS.LNKSTA, 2, LNKSTA_VALUE);
  // hardware changes it, and QEMU's idea of it has changed: not checked
  space.cmask.fill(0, express + EXPRESS.LNKSTA, express + EXPRESS.LNKSTA + 2);
  space.set(express + DEVCAP2, 4, DEVCAP2_PREFIXES);
  space.allow(express + DEVCTL2, 2, DEVCTL2_BLOCK_PREFIXES);
  const power = space.addCapability(ID.POWER, 8, 'power management capability');
  space.set(power + 2, 2, 0x0003);
  if (features.aer) addAer(space, features.errUncMask);
  if (features.pcieControls) {
    // the head of the extended capability list stays, also where the list is empty
    space.wmask.fill(0, EXTENDED_CAPABILITIES, EXTENDED_CAPABILITIES + 4);
    space.allow(express + EXPRESS.DEVCTL, 2, DEVCTL_BIT.ERRORS);
    space.allowClear(express + EXPRESS.DEVSTA, 2, DEVSTA_ERRORS);
    space.allow(express + EXPRESS.LNKCTL, 2, LNKCTL_BITS);
    space.allow(power + 4, 2, 0x0003);
  }
  if (features.ats)
    addAts(space, EXTENDED_CAPABILITIES + (features.aer ? AER_BYTES : 0), features.atsPageAligned);
  if (features.flr) space.allow(express + EXPRESS.DEVCTL, 2, DEVCTL_BIT.FLR);
  return { express, power };
}

function nameExpress(space: ConfigRegisters, at: number): void {
  for (const [offset, bytes, name] of [
    [1, 1, 'next'],
    [EXPRESS.FLAGS, 2, 'version and port type'],
    [EXPRESS.DEVCAP, 4, 'device capabilities'],
    [EXPRESS.DEVCTL, 2, 'device control'],
    [EXPRESS.DEVSTA, 2, 'device status'],
    [EXPRESS.LNKCAP, 4, 'link capabilities'],
    [EXPRESS.LNKCTL, 2, 'link control'],
    [EXPRESS.LNKSTA, 2, 'link status'],
    [DEVCAP2, 4, 'device capabilities 2'],
    [DEVCTL2, 2, 'device control 2'],
  ] as const)
    space.name(at + offset, bytes, `PCI Express capability: ${name}`);
}

/** Offsets in the capability for advanced error reporting, and its length, in bytes. PCIe 2.1 §7.10 */
const AER = {
  UNCORRECTABLE_STATUS: 0x04,
  UNCORRECTABLE_MASK: 0x08,
  UNCORRECTABLE_SEVERITY: 0x0c,
  CORRECTABLE_STATUS: 0x10,
  CORRECTABLE_MASK: 0x14,
  CONTROL: 0x18,
} as const;
const AER_BYTES = 0x48;
/** Values of the masks and severities of advanced error reporting after a reset, in QEMU. */
const UNCORRECTABLE_MASKED = 0x0240_0000;
const UNCORRECTABLE_FATAL = 0x0046_2030;
const CORRECTABLE_MASKED = 0xe000;
/**
 * Bits of the control register of advanced error reporting: ECRC generation and check can be had; below, their enables.
 */
const ECRC_CAPABLE = 0x00a0;
const ECRC_ENABLE = 0x0140;

/** Bits of the uncorrectable errors that there are; below, of the correctable ones. */
const UNCORRECTABLE = 0x03ff_f030;
const CORRECTABLE = 0xf1c1;

/** Adds advanced error reporting, PCIe 2.1 §7.10: registers that remember; no error ever happens. */
function addAer(space: ConfigRegisters, uncorrectableMask: boolean): void {
  const at = EXTENDED_CAPABILITIES;
  space.addExtended(at, EXTENDED_ID.AER, 2, AER_BYTES, 'advanced error reporting capability');
  space.allowClear(at + AER.UNCORRECTABLE_STATUS, 4, UNCORRECTABLE);
  if (uncorrectableMask) {
    space.set(at + AER.UNCORRECTABLE_MASK, 4, UNCORRECTABLE_MASKED);
    space.allow(at + AER.UNCORRECTABLE_MASK, 4, UNCORRECTABLE);
  }
  space.set(at + AER.UNCORRECTABLE_SEVERITY, 4, UNCORRECTABLE_FATAL);
  space.allow(at + AER.UNCORRECTABLE_SEVERITY, 4, UNCORRECTABLE);
  space.allowClear(at + AER.CORRECTABLE_STATUS, 4, CORRECTABLE);
  space.set(at + AER.CORRECTABLE_MASK, 4, CORRECTABLE_MASKED);
  space.allow(at + AER.CORRECTABLE_MASK, 4, CORRECTABLE);
  space.set(at + AER.CONTROL, 4, ECRC_CAPABLE);
  space.allow(at + AER.CONTROL, 4, ECRC_ENABLE);
  space.name(at + AER.UNCORRECTABLE_MASK, 4, 'advanced error reporting capability: uncorrectable error mask');
}

/**
 * Bit of the capability of address translation services that says that requests are aligned to pages; below, the
 * control's enable and smallest unit. PCIe ATS 1.1 §5.1
 */
const ATS_PAGE_ALIGNED = 0x20;
const ATS_CONTROL = 0x800f;

/** Shift of the next capability's offset in the header of an extended one. PCIe 2.1 §7.9.3 */
const NEXT_SHIFT = 20;

/** Adds address translation services: a control register that remembers. */
function addAts(space: ConfigRegisters, at: number, pageAligned: boolean): void {
  space.addExtended(at, EXTENDED_ID.ATS, 1, 8, 'address translation services capability');
  // the first of the list says where the next one is
  if (at !== EXTENDED_CAPABILITIES)
    space.set(EXTENDED_CAPABILITIES, 4, space.u32(EXTENDED_CAPABILITIES) | (at << NEXT_SHIFT));
  if (pageAligned) space.set(at + 4, 2, ATS_PAGE_ALIGNED);
  space.allow(at + 6, 2, ATS_CONTROL);
  space.name(at + 4, 2, 'address translation services capability: page aligned');
}

/** Bit of the header type that says that there are other functions in the slot. */
const MULTIFUNCTION = 0x80;

/** Identity of a function in its header. */
export interface Identity {
  readonly vendor: number;
  readonly device: number;
  readonly revision: number;
  readonly classCode: number;
  readonly subsystemVendor: number;
  readonly subsystem: number;
  readonly multifunction: boolean;
}

export function setIdentity(space: ConfigRegisters, identity: Identity): void {
  // Virtio 1.3 §4.1.2.1 MUST: 0x1af4, unless the host program says otherwise
  space.set(HEADER.VENDOR_ID, 2, identity.vendor);
  space.set(HEADER.DEVICE_ID, 2, identity.device);
  space.set(HEADER.REVISION_ID, 1, identity.revision);
  space.set(HEADER.CLASS, 3, identity.classCode);
  space.set(HEADER.HEADER_TYPE, 1, identity.multifunction ? MULTIFUNCTION : 0);
  space.set(HEADER.SUBSYSTEM_VENDOR_ID, 2, identity.subsystemVendor);
  space.set(HEADER.SUBSYSTEM_ID, 2, identity.subsystem);
  // INTA
  space.set(HEADER.INTERRUPT_PIN, 1, 1);
}
