// What of a domain's XML becomes which property of a QEMU device. Source: what libvirt 9.0 starts (`virsh start`), compared by the tests.

/** Kind of a rule: how the text of the XML becomes the value of the property. */
type Kind =
  /** Kind for switches: `on`, `off`, `yes`, `no`. */
  | 'switch'
  /** Kind for values that are the text itself. */
  | 'text';

/**
 * Rule for a property: where its value stands in the element of a device (see `valueAt`), the property, and how the
 * text becomes it.
 */
export type Rule = readonly [path: string, property: string, kind: Kind];

/** Rules for every virtio device. */
const DRIVER: readonly Rule[] = [
  ['driver@iommu', 'iommu_platform', 'switch'],
  ['driver@ats', 'ats', 'switch'],
  ['driver@packed', 'packed', 'switch'],
  ['driver@page_per_vq', 'page-per-vq', 'switch'],
];

/** Rules for devices that are notified by the host's kernel. */
const NOTIFIED: readonly Rule[] = [
  ['driver@ioeventfd', 'ioeventfd', 'switch'],
  ['driver@event_idx', 'event_idx', 'switch'],
];

/** Rules for every disk, whatever it is attached to. */
export const DISK: readonly Rule[] = [
  ['serial', 'serial', 'text'],
  ['wwn', 'wwn', 'text'],
  ['blockio@logical_block_size', 'logical_block_size', 'text'],
  ['blockio@physical_block_size', 'physical_block_size', 'text'],
  ['blockio@discard_granularity', 'discard_granularity', 'text'],
  ['geometry@cyls', 'cyls', 'text'],
  ['geometry@heads', 'heads', 'text'],
  ['geometry@secs', 'secs', 'text'],
  ['geometry@trans', 'bios-chs-trans', 'text'],
  ['boot@order', 'bootindex', 'text'],
];

export const VIRTIO_DISK: readonly Rule[] = [
  ...DRIVER,
  ...NOTIFIED,
  ['driver@queues', 'num-queues', 'text'],
  ['driver@queue_size', 'queue-size', 'text'],
];

export const CARD: readonly Rule[] = [
  ['mac@address', 'mac', 'text'],
  ['boot@order', 'bootindex', 'text'],
];

export const VIRTIO_CARD: readonly Rule[] = [
  ...DRIVER,
  ...NOTIFIED,
  ['driver@rx_queue_size', 'rx_queue_size', 'text'],
  ['driver@tx_queue_size', 'tx_queue_size', 'text'],
  ['driver@rss', 'rss', 'switch'],
  ['driver@rss_hash_report', 'hash', 'switch'],
  ['driver/host@csum', 'csum', 'switch'],
  ['driver/host@gso', 'gso', 'switch'],
  ['driver/host@tso4', 'host_tso4', 'switch'],
  ['driver/host@tso6', 'host_tso6', 'switch'],
  ['driver/host@ecn', 'host_ecn', 'switch'],
  ['driver/host@ufo', 'host_ufo', 'switch'],
  ['driver/host@mrg_rxbuf', 'mrg_rxbuf', 'switch'],
  ['driver/guest@csum', 'guest_csum', 'switch'],
  ['driver/guest@tso4', 'guest_tso4', 'switch'],
  ['driver/guest@tso6', 'guest_tso6', 'switch'],
  ['driver/guest@ecn', 'guest_ecn', 'switch'],
  ['driver/guest@ufo', 'guest_ufo', 'switch'],
  ['mtu@size', 'host_mtu', 'text'],
];

export const SCSI_CONTROLLER: readonly Rule[] = [
  ...DRIVER,
  ['driver@ioeventfd', 'ioeventfd', 'switch'],
  ['driver@queues', 'num_queues', 'text'],
  ['driver@cmd_per_lun', 'cmd_per_lun', 'text'],
  ['driver@max_sectors', 'max_sectors', 'text'],
];

export const SERIAL_CONTROLLER: readonly Rule[] = [
  ...DRIVER,
  ['@ports', 'max_ports', 'text'],
  ['@vectors', 'vectors', 'text'],
];

export const BALLOON: readonly Rule[] = [
  ...DRIVER,
  ['@autodeflate', 'deflate-on-oom', 'switch'],
  ['@freePageReporting', 'free-page-reporting', 'switch'],
];

export const VIDEO: readonly Rule[] = [
  ...DRIVER,
  ['model@heads', 'max_outputs', 'text'],
  ['model@blob', 'blob', 'switch'],
  ['model/resolution@x', 'xres', 'text'],
  ['model/resolution@y', 'yres', 'text'],
];

export const FILESYSTEM: readonly Rule[] = [...DRIVER, ['target@dir', 'mount_tag', 'text']];
export const VIRTIOFS: readonly Rule[] = [
  ...DRIVER,
  ['driver@queue', 'queue-size', 'text'],
  ['target@dir', 'tag', 'text'],
];

export const SOCKET: readonly Rule[] = [...DRIVER, ['cid@address', 'guest-cid', 'text']];

/** Rules for input devices, random numbers, memory, IOMMU, crypto: nothing but what every virtio device has. */
export const PLAIN: readonly Rule[] = DRIVER;

/** Rules for ports and bridges. */
export const PCI_CONTROLLER: readonly Rule[] = [
  ['target@port', 'port', 'text'],
  ['target@chassis', 'chassis', 'text'],
  ['target@chassisNr', 'chassis_nr', 'text'],
  ['target@busNr', 'bus_nr', 'text'],
  ['target@hotplug', 'hotplug', 'switch'],
];

/** Rules for any device with a ROM. */
export const ROM: readonly Rule[] = [
  ['rom@bar', 'rombar', 'switch'],
  ['rom@file', 'romfile', 'text'],
  ['acpi@index', 'acpi-index', 'text'],
];

/** Makes a table of members by name. A description may hold any name: `constructor` must find nothing. */
function table<T>(members: Readonly<Record<string, T>>): ReadonlyMap<string, T> {
  return new Map(Object.entries(members));
}

/** Types of PCI controllers, unless their `<model name>` says otherwise; empty: the machine has it. */
export const PCI_CONTROLLERS = table({
  'pci-root': '',
  'pcie-root': '',
  'pci-bridge': 'pci-bridge',
  'dmi-to-pci-bridge': 'i82801b11-bridge',
  'pcie-to-pci-bridge': 'pcie-pci-bridge',
  'pcie-root-port': 'pcie-root-port',
  'pcie-switch-upstream-port': 'x3130-upstream',
  'pcie-switch-downstream-port': 'xio3130-downstream',
  'pci-expander-bus': 'pxb',
  'pcie-expander-bus': 'pxb-pcie',
});

export const USB_CONTROLLERS = table({
  'piix3-uhci': 'piix3-usb-uhci',
  'piix4-uhci': 'piix4-usb-uhci',
  ehci: 'usb-ehci',
  'ich9-ehci1': 'ich9-usb-ehci1',
  'ich9-uhci1': 'ich9-usb-uhci1',
  'ich9-uhci2': 'ich9-usb-uhci2',
  'ich9-uhci3': 'ich9-usb-uhci3',
  'vt82c686b-uhci': 'vt82c686b-usb-uhci',
  'pci-ohci': 'pci-ohci',
  'nec-xhci': 'nec-usb-xhci',
  'qemu-xhci': 'qemu-xhci',
  none: '',
});

export const SCSI_CONTROLLERS = table({
  lsilogic: 'lsi53c895a',
  lsisas1068: 'mptsas1068',
  lsisas1078: 'megasas',
  vmpvscsi: 'pvscsi',
  dc390: 'dc-390',
  am53c974: 'am53c974',
});

export const SOUND_CARDS = table({
  ich6: 'intel-hda',
  ich9: 'ich9-intel-hda',
  ac97: 'AC97',
  es1370: 'ES1370',
  virtio: 'virtio-sound-pci',
  usb: '',
  sb16: '',
  pcspk: '',
});

/** Types of displays by model: what the first one is, and each further one; empty: there is none of its own. */
export const DISPLAYS = table<readonly [primary: string, other: string]>({
  vga: ['VGA', ''],
  cirrus: ['cirrus-vga', ''],
  vmvga: ['vmware-svga', ''],
  qxl: ['qxl-vga', 'qxl'],
  bochs: ['bochs-display', 'bochs-display'],
  ramfb: ['', ''],
  none: ['', ''],
});

/** Types of disks by the bus that their target names. */
export const DISKS = table({ scsi: 'scsi-hd', usb: 'usb-storage', sd: 'sd-card', fdc: 'floppy' });
/** Types of disks on virtio whose back end is another program. */
export const VHOST_DISKS = table({ vhostuser: 'vhost-user-blk', vhostvdpa: 'vhost-vdpa-blk' });
/** Values of a card's `tx`. */
export const TX_MODES = table({ iothread: 'bh', timer: 'timer' });
/** Back ends of cards by the interface's type, where it is not `tap`. */
export const NETWORKS = table({
  user: 'user',
  null: 'user',
  vhostuser: 'vhost-user',
  vdpa: 'vhost-vdpa',
  server: 'socket',
  client: 'socket',
  mcast: 'socket',
  udp: 'socket',
});
export const INPUTS = table({
  mouse: 'virtio-mouse',
  tablet: 'virtio-tablet',
  keyboard: 'virtio-keyboard',
  passthrough: 'virtio-input-host',
});
/** Beginnings of libvirt's aliases, where they are not the element's name. */
export const ALIASES = table({
  disk: 'virtio-disk',
  interface: 'net',
  memballoon: 'balloon',
  filesystem: 'fs',
  memory: 'dimm',
});

/** Elements of `<devices>` that give the guest no device on a PCI bus or by channel I/O. */
export const NO_DEVICE = new Set(
  'emulator graphics audio lease redirfilter hub smartcard tpm panic parallel redirdev nvram pstore'.split(
    ' ',
  ),
);
