import type { ConfigRegisters } from './config-registers.ts';
import { HEADER } from './config-registers.ts';

/** BARs as QEMU's virtio functions have them. */
export const BAR = { LEGACY: 0, MSIX: 1, NOTIFY_PIO: 2, MODERN: 4, ROM: 6 } as const;

const ID = { POWER: 0x01, VENDOR: 0x09, EXPRESS: 0x10, MSIX: 0x11 } as const;
const EXTENDED_ID = { AER: 0x0001, ATS: 0x000f } as const;

/** `cfg_type` of a virtio capability. Virtio 1.3 §4.1.4 */
const CFG_TYPE = { COMMON: 1, NOTIFY: 2, ISR: 3, DEVICE: 4, PCI: 5 } as const;

/** Where the structures lie in the modern BAR; each has a page, the notifications may have more. */
// Virtio 1.3 §4.1.4.3.1 MUST, §4.1.4.4.1 MUST, §4.1.4.6.1 MUST: offsets are multiples of 4
export const STRUCTURE = {
  COMMON: 0x0000,
  ISR: 0x1000,
  DEVICE: 0x2000,
  NOTIFY: 0x3000,
  BYTES: 0x1000,
} as const;

/** Queues that notification addresses are laid out for. */
const QUEUES = 1024;

interface Structure {
  readonly type: number;
  readonly name: string;
  readonly bar: number;
  readonly offset: number;
  readonly length: number;
  /** `notify_off_multiplier`, of notification structures only. */
  readonly multiplier?: number;
}

/** Virtio 1.3 §4.1.4: `struct virtio_pci_cap`, and what some types have behind it. */
function addVirtio(space: ConfigRegisters, structure: Structure, bytes: number): number {
  const { type, name, bar, offset, length } = structure;
  const at = space.addCapability(ID.VENDOR, bytes, `virtio ${name} capability`);
  // Virtio 1.3 §4.1.4.2 MUST: cap_len has all of the structure's extra data in it
  space.set(at + 2, 1, bytes);
  space.set(at + 3, 1, type);
  space.set(at + 4, 1, bar);
  space.set(at + 8, 4, offset);
  space.set(at + 12, 4, length);
  space.name(at + 1, 1, `virtio ${name} capability: next`);
  space.name(at + 4, 1, `virtio ${name} capability: bar`);
  space.name(at + 8, 4, `virtio ${name} capability: offset`);
  space.name(at + 12, 4, `virtio ${name} capability: length`);
  if (structure.multiplier !== undefined) {
    space.set(at + 16, 4, structure.multiplier);
    space.name(at + 16, 4, `virtio ${name} capability: notify_off_multiplier`);
  }
  return at;
}

/** Bytes of the notification structure. */
export function notifyBytes(multiplier: number): number {
  // Virtio 1.3 §4.1.4.4.1 MUST: room for a notification of each queue, with data or without
  return multiplier * QUEUES;
}

/**
 * The capabilities of the modern interface, in QEMU's order.
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
  addVirtio(space, { ...inModernBar, type: CFG_TYPE.ISR, name: 'ISR', offset: STRUCTURE.ISR }, 16);
  // Virtio 1.3 §4.1.4.6.1 MUST: at least one, for devices that have a configuration
  addVirtio(
    space,
    { ...inModernBar, type: CFG_TYPE.DEVICE, name: 'device configuration', offset: STRUCTURE.DEVICE },
    16,
  );
  // Virtio 1.3 §4.1.4.4.1 MUST: at least one notification capability, whose multiplier is an even power of 2, or 0
  const notify = { type: CFG_TYPE.NOTIFY, name: 'notification', offset: STRUCTURE.NOTIFY, multiplier };
  addVirtio(space, { ...notify, bar: BAR.MODERN, length: notifyBytes(multiplier) }, 20);
  if (notifyPio) {
    const pio = { type: CFG_TYPE.NOTIFY, name: 'port I/O notification', bar: BAR.NOTIFY_PIO };
    addVirtio(space, { ...pio, offset: 0, length: 4, multiplier: 0 }, 20);
  }
  // Virtio 1.3 §4.1.4.9.1 MUST: at least one PCI configuration access capability
  const window = { type: CFG_TYPE.PCI, name: 'PCI configuration access', bar: 0, offset: 0, length: 0 };
  const at = addVirtio(space, window, 20);
  space.allow(at + 4, 1, 0xff);
  for (const field of [8, 12, 16]) space.allow(at + field, 4, 0xffffffff);
  return at;
}

/** PCI 3.0 §6.8.2; returns the capability's offset. */
export function addMsix(space: ConfigRegisters, vectors: number, pbaOffset: number): number {
  const at = space.addCapability(ID.MSIX, 12, 'MSI-X capability');
  // Virtio 1.3 §4.1.5.1.2.1 MUST: the number of vectors is in Table Size
  space.set(at + 2, 2, vectors - 1);
  space.set(at + 4, 4, BAR.MSIX);
  space.set(at + 8, 4, pbaOffset | BAR.MSIX);
  // enable and function mask
  space.allow(at + 3, 1, 0xc0);
  space.name(at + 1, 1, 'MSI-X capability: next');
  space.name(at + 2, 2, 'MSI-X capability: table size');
  space.name(at + 4, 4, 'MSI-X capability: table BAR and offset');
  space.name(at + 8, 4, 'MSI-X capability: PBA BAR and offset');
  return at;
}

/** What differs between PCI Express functions. */
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

/** Device control: the four error reporting enables; initiate function level reset. */
export const DEVCTL_BIT = { ERRORS: 0x000f, FLR: 0x8000 } as const;
/** Link control: common clock, extended synch. */
export const LNKCTL_BITS = 0x00c0;

/**
 * PCI Express and power management, and extended capabilities where they are wanted.
 *
 * @returns offsets of the two
 */
export function addExpress(
  space: ConfigRegisters,
  features: ExpressFeatures,
): { express: number; power: number } {
  const express = space.addCapability(ID.EXPRESS, 0x3c, 'PCI Express capability');
  nameExpress(space, express);
  // version 2, endpoint
  space.set(express + EXPRESS.FLAGS, 2, 0x0002);
  // role-based error reporting, extended tag, function level reset
  const capabilities = 0x8000 | (features.extTag ? 0x20 : 0) | (features.flr ? 0x1000_0000 : 0);
  space.set(express + EXPRESS.DEVCAP, 4, capabilities);
  // one lane of 2.5 GT/s, ASPM L0s
  space.set(express + EXPRESS.LNKCAP, 4, 0x0411);
  space.set(express + EXPRESS.LNKSTA, 2, 0x0011);
  // hardware changes it, and QEMU's idea of it has changed: not checked
  space.cmask.fill(0, express + EXPRESS.LNKSTA, express + EXPRESS.LNKSTA + 2);
  // end-to-end TLP prefixes
  space.set(express + DEVCAP2, 4, 0x0030_0000);
  space.allow(express + DEVCTL2, 2, 0x8000);
  const power = space.addCapability(ID.POWER, 8, 'power management capability');
  space.set(power + 2, 2, 0x0003);
  if (features.aer) addAer(space, features.errUncMask);
  if (features.pcieControls) {
    // the head of the extended capability list stays, also where the list is empty
    space.wmask.fill(0, 0x100, 0x104);
    space.allow(express + EXPRESS.DEVCTL, 2, DEVCTL_BIT.ERRORS);
    space.allowClear(express + EXPRESS.DEVSTA, 2, 0x000f);
    space.allow(express + EXPRESS.LNKCTL, 2, LNKCTL_BITS);
    space.allow(power + 4, 2, 0x0003);
  }
  if (features.ats) addAts(space, features.aer ? 0x148 : 0x100, features.atsPageAligned);
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

/** Uncorrectable and correctable errors that there are. */
const UNCORRECTABLE = 0x03ff_f030;
const CORRECTABLE = 0xf1c1;

/** Advanced error reporting, PCIe 2.1 §7.10: registers that remember; no error ever happens. */
function addAer(space: ConfigRegisters, uncorrectableMask: boolean): void {
  const at = 0x100;
  space.addExtended(at, EXTENDED_ID.AER, 2, 0x48, 'advanced error reporting capability');
  space.allowClear(at + 0x04, 4, UNCORRECTABLE);
  if (uncorrectableMask) {
    space.set(at + 0x08, 4, 0x0240_0000);
    space.allow(at + 0x08, 4, UNCORRECTABLE);
  }
  space.set(at + 0x0c, 4, 0x0046_2030);
  space.allow(at + 0x0c, 4, UNCORRECTABLE);
  space.allowClear(at + 0x10, 4, CORRECTABLE);
  space.set(at + 0x14, 4, 0xe000);
  space.allow(at + 0x14, 4, CORRECTABLE);
  // ECRC generation and check: capable; and their enables
  space.set(at + 0x18, 4, 0x00a0);
  space.allow(at + 0x18, 4, 0x0140);
  space.name(at + 0x08, 4, 'advanced error reporting capability: uncorrectable error mask');
}

/** Address translation services: a control register that remembers. */
function addAts(space: ConfigRegisters, at: number, pageAligned: boolean): void {
  space.addExtended(at, EXTENDED_ID.ATS, 1, 8, 'address translation services capability');
  if (at !== 0x100) space.set(0x100, 4, space.u32(0x100) | (at << 20));
  if (pageAligned) space.set(at + 4, 2, 0x20);
  space.allow(at + 6, 2, 0x800f);
  space.name(at + 4, 2, 'address translation services capability: page aligned');
}

/** The identity of a function in its header. */
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
  space.set(HEADER.HEADER_TYPE, 1, identity.multifunction ? 0x80 : 0);
  space.set(HEADER.SUBSYSTEM_VENDOR_ID, 2, identity.subsystemVendor);
  space.set(HEADER.SUBSYSTEM_ID, 2, identity.subsystem);
  // INTA
  space.set(HEADER.INTERRUPT_PIN, 1, 1);
}
