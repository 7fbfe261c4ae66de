/** Range of bytes of configuration space, first and last byte, and who decides over it. */
interface PciRange {
  readonly from: number;
  readonly to: number;
  readonly name: string;
  readonly decidedBy?: string;
}

const HEADER: readonly PciRange[] = [
  { from: 0x00, to: 0x01, name: 'vendor id' },
  {
    from: 0x02,
    to: 0x03,
    name: 'device id',
    decidedBy:
      'disable-legacy, disable-modern: a transitional device is 1af4:10xx, a modern one 1af4:1040 + type; or another device in this slot',
  },
  {
    from: 0x06,
    to: 0x07,
    name: 'status (capability list)',
    decidedBy: 'a device with or without capabilities: disable-modern, vectors=0',
  },
  { from: 0x08, to: 0x08, name: 'revision', decidedBy: 'disable-legacy: 1 for a modern-only device, else 0' },
  { from: 0x09, to: 0x0b, name: 'class code' },
  { from: 0x0e, to: 0x0e, name: 'header type', decidedBy: 'multifunction' },
  { from: 0x10, to: 0x13, name: 'BAR 0 (legacy registers)', decidedBy: 'disable-legacy' },
  { from: 0x14, to: 0x17, name: 'BAR 1 (MSI-X)', decidedBy: 'vectors' },
  { from: 0x18, to: 0x1b, name: 'BAR 2 (notifications by port)', decidedBy: 'modern-pio-notify' },
  { from: 0x20, to: 0x27, name: 'BAR 4 (modern registers)', decidedBy: 'disable-modern, page-per-vq' },
  {
    from: 0x34,
    to: 0x34,
    name: 'capability pointer',
    decidedBy:
      'which capabilities there are: disable-modern, vectors, modern-pio-notify, and whether the slot is PCI Express',
  },
  { from: 0x3d, to: 0x3d, name: 'interrupt pin' },
];

/** Offsets of QEMU's capabilities of a function that is not PCI Express. */
const CONVENTIONAL: readonly PciRange[] = [
  { from: 0x40, to: 0x4f, name: 'capability virtio common' },
  { from: 0x50, to: 0x5f, name: 'capability virtio ISR' },
  { from: 0x60, to: 0x6f, name: 'capability virtio device configuration' },
  {
    from: 0x70,
    to: 0x83,
    name: 'capability virtio notify',
    decidedBy: 'page-per-vq (multiplier and length)',
  },
  {
    from: 0x84,
    to: 0x97,
    name: 'capability virtio PCI configuration access (or notify by port)',
    decidedBy: 'modern-pio-notify',
  },
  { from: 0x98, to: 0x99, name: 'capability MSI-X: id and next', decidedBy: 'vectors' },
  {
    from: 0x9a,
    to: 0x9b,
    name: 'MSI-X table size (vectors minus 1)',
    decidedBy:
      'vectors; its default follows num-queues (blk: num-queues + 1) and queues of the back end (net: 2 * queues + 2; 3 for machines up to 5.2)',
  },
  {
    from: 0x9c,
    to: 0xa3,
    name: 'MSI-X table and pending bits: BAR and offset',
    decidedBy: 'vectors (more than 128 move the pending bits)',
  },
];

/** Offsets of QEMU's capabilities of PCI Express functions, such as those behind a root port. */
const EXPRESS: readonly PciRange[] = [
  { from: 0x40, to: 0x43, name: 'capability PCI Express: id and type' },
  {
    from: 0x44,
    to: 0x47,
    name: 'PCI Express device capabilities',
    decidedBy: 'machine version: x-pcie-ext-tag (off up to 9.1), x-pcie-flr-init (off up to 4.1)',
  },
  { from: 0x48, to: 0x4b, name: 'PCI Express device control and status' },
  {
    from: 0x4c,
    to: 0x53,
    name: 'PCI Express link capabilities, control and status',
    decidedBy: 'x-speed and x-width of the port',
  },
  {
    from: 0x54,
    to: 0x5b,
    name: 'PCI Express slot capabilities, control and status',
    decidedBy: 'hotplug, power_controller_present and slot of the port',
  },
  { from: 0x5c, to: 0x63, name: 'PCI Express root control, capabilities and status' },
  { from: 0x64, to: 0x6b, name: 'PCI Express device capabilities 2 and control 2' },
  {
    from: 0x6c,
    to: 0x6f,
    name: 'PCI Express link capabilities 2 (supported speeds)',
    decidedBy: 'x-speed of the port; machine version',
  },
  { from: 0x70, to: 0x7b, name: 'PCI Express link control 2, slot capabilities 2' },
  {
    from: 0x7c,
    to: 0x83,
    name: 'capability power management',
    decidedBy: 'machine version: x-pcie-pm-no-soft-reset (off up to 9.0)',
  },
  { from: 0x84, to: 0x93, name: 'capability virtio common' },
  { from: 0x94, to: 0xa3, name: 'capability virtio ISR' },
  { from: 0xa4, to: 0xb3, name: 'capability virtio device configuration' },
  { from: 0xb4, to: 0xc7, name: 'capability virtio notify', decidedBy: 'page-per-vq' },
  {
    from: 0xc8,
    to: 0xdb,
    name: 'capability virtio PCI configuration access',
    decidedBy: 'modern-pio-notify',
  },
  { from: 0xdc, to: 0xdd, name: 'capability MSI-X: id and next', decidedBy: 'vectors' },
  {
    from: 0xde,
    to: 0xdf,
    name: 'MSI-X table size (vectors minus 1)',
    decidedBy: 'vectors, and num-queues or queues that it follows',
  },
  {
    from: 0x100,
    to: 0xfff,
    name: 'extended capabilities',
    decidedBy: 'aer, ats, sriov; x-pcie-err-unc-mask (off up to 7.2); x-pcie-ari-nextfn-1 (on up to 8.0)',
  },
];

/**
 * Reading of a byte of a virtio function's configuration space: what may lie there, and which property or machine
 * version decides.
 */
export interface PciByte {
  /** Layout for which the reading holds; `header`: for all. */
  readonly layout: 'header' | 'conventional' | 'express';
  /** Name of what lies at the byte: `MSI-X capability`, `device id`. */
  readonly name: string;
  /** QEMU's properties and machine versions that decide on the byte; absent: nothing but the device type does. */
  readonly decidedBy?: string;
}

/** Lists the readings of byte `i`, one for each layout that has something there. */
export function pciByte(i: number): PciByte[] {
  const find = (layout: PciByte['layout'], ranges: readonly PciRange[]): PciByte[] =>
    ranges
      .filter(({ from, to }) => i >= from && i <= to)
      .map(({ name, decidedBy }) => ({ layout, name, ...(decidedBy !== undefined && { decidedBy }) }));
  return [...find('header', HEADER), ...find('conventional', CONVENTIONAL), ...find('express', EXPRESS)];
}
