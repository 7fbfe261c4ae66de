import type { DeviceType } from '@virtkit/core/qemu';
import { deviceTypes } from '../device-types.ts';
import { otherDevice } from './other-devices.ts';

/** Kind of the bus that a device goes to. `other`: a bus whose devices do not matter for a load of virtio devices. */
export type BusKind = 'pci' | 'ccw' | 'virtio' | 'serial' | 'usb' | 'scsi' | 'other';

/**
 * Aliases of types as QEMU's table has them: of virtio devices, each stands for the one of the machine's usual
 * transport.
 */
const ALIASES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ac97: 'AC97',
    'e1000-82540em': 'e1000',
    es1370: 'ES1370',
    ahci: 'ich9-ahci',
    lsi: 'lsi53c895a',
  }),
);
/** Aliases of virtio devices that have no descriptor. */
const OTHER_VIRTIO: readonly string[] = ['virtio-rtc', 'virtio-sound'];

/** Lists QEMU's types, without their transport, that have the section of a device type. */
function driversOf({ layer, qemu }: DeviceType): readonly string[] {
  return qemu.drivers ?? [layer.name];
}

/** Names of virtio devices that stand for the type on the machine's usual transport. */
const VIRTIO_ALIASES: ReadonlySet<string> = new Set([
  ...OTHER_VIRTIO,
  ...deviceTypes
    .filter(({ qemu }) => qemu.busType === undefined)
    .flatMap(driversOf)
    .filter((name) => name.startsWith('virtio-')),
]);

/**
 * Finds the type that a name on the command line stands for: `virtio-blk` → `virtio-blk-pci`, on s390x
 * `virtio-blk-ccw`.
 */
export function typeOf(name: string, arch: string): string {
  if (!VIRTIO_ALIASES.has(name)) return ALIASES.get(name) ?? name;
  return `${name}-${arch === 's390x' ? 'ccw' : arch === 'm68k' ? 'device' : 'pci'}`;
}

/**
 * Names the device that an option beside `-device` makes, without its transport: `-drive if=virtio`, `-nic
 * model=virtio`, `-virtfs`. Empty if no device type is made so.
 */
export function driverOfOption(option: NonNullable<DeviceType['qemu']['option']>): string {
  return deviceTypes.find(({ qemu }) => qemu.option === option)?.layer.name ?? '';
}

/**
 * Finds the name that the section of a type's device ends with: `virtio-blk-pci` → `virtio-blk`; undefined: no virtio
 * device.
 */
export function sectionName(driver: string): string | undefined {
  const [, stem] =
    /^(virtio-.+?)(?:-pci|-ccw|-device)?(?:-transitional|-non-transitional)?$/.exec(driver) ?? [];
  if (stem === undefined) return undefined;
  return deviceTypes.find(({ qemu }) => qemu.drivers?.includes(stem))?.layer.name ?? stem;
}

/**
 * Finds the transport with which a device of this type is attached; undefined: it is no virtio device, or has none of
 * its own.
 */
export function busOf(driver: string): 'pci' | 'ccw' | 'mmio' | undefined {
  const kind = busKind(driver);
  return kind === 'virtio' ? 'mmio' : kind === 'pci' || kind === 'ccw' ? kind : undefined;
}

function names(...lines: readonly string[]): ReadonlySet<string> {
  return new Set(lines.flatMap((line) => line.split(' ')));
}

/** PCI devices that are neither virtio nor vhost, from `-device help` of QEMU 5.2, 7.2, 10.0 and 11.1. */
const PCI = names(
  'AC97 AMDVI-PCI ES1370 VGA acpi-erst am53c974 aspeed.pcie-root-port ati-vga bochs-display cirrus-vga ctucan_pci',
  'cxl-downstream cxl-rp cxl-switch-mailbox-cci cxl-type3 cxl-upstream dc390 e1000 e1000-82544gc e1000-82545em e1000e',
  'edu i6300esb i82550 i82551 i82557a i82557b i82557c i82558a i82558b i82559a i82559b i82559c i82559er i82562 i82801',
  'i82801b11-bridge ich9-ahci ich9-intel-hda ich9-usb-ehci1 ich9-usb-ehci2 ich9-usb-uhci1 ich9-usb-uhci2 ich9-usb-uhci3',
  'ich9-usb-uhci4 ich9-usb-uhci5 ich9-usb-uhci6 igb igd-passthrough-isa-bridge intel-hda ioh3420 iommu-testdev',
  'ivshmem-doorbell ivshmem-plain kvaser_pci lsi53c810 lsi53c895a megasas megasas-gen2 mioe3680_pci mptsas1068 ne2k_pci',
  'nec-usb-xhci nvme pci-bridge pci-bridge-seat pci-ipmi-bt pci-ipmi-kcs pci-ohci pci-serial pci-serial-2x pci-serial-4x',
  'pci-testdev pcie-pci-bridge pcie-root-port pcm3680_pci pcnet piix3-ide piix3-ide-xen piix3-usb-uhci piix4-ide',
  'piix4-usb-uhci pvpanic-pci pvrdma pvscsi pxb pxb-cxl pxb-pcie qemu-xhci qxl qxl-vga rocker rtl8139 sdhci-pci',
  'secondary-vga tpci200 tulip ufs usb-ehci vfio-pci vfio-pci-igd-lpc-bridge vfio-pci-nohotplug vfio-user-pci',
  'vhost-user-vga virtio-vga virtio-vga-gl vmware-svga vmxnet3 vt82c686b-usb-uhci x-pci-proxy-dev x3130-upstream',
  'xen-pci-passthrough xen-platform xen-pvdevice xio3130-downstream sungem',
);
const VIRTIO_PCI = /^(virtio|vhost)-.+-pci(-transitional|-non-transitional)?$/;

/** Devices on virtio's own bus whose name does not end in `-device`. */
const VIRTIO_BUS = names(
  'vhost-scsi vhost-user-blk vhost-user-gpu vhost-user-input vhost-user-rng vhost-user-rtc vhost-user-scmi vhost-user-scsi',
  'vhost-user-snd virtio-pmem',
  ...deviceTypes.flatMap(({ qemu }) => qemu.busType ?? []),
);

/** Devices on other buses, or on none. */
const OTHER = names(
  // USB
  'u2f-emulated u2f-passthru usb-audio usb-bot usb-braille usb-ccid usb-host usb-hub usb-kbd usb-mouse usb-mtp usb-net usb-redir',
  'usb-serial usb-storage usb-tablet usb-uas usb-wacom-tablet canokey',
  // disks, sound, smart cards
  'scsi-block scsi-cd scsi-disk scsi-generic scsi-hd ide-cd ide-drive ide-hd ide-cf floppy nvme-ns nvme-subsys ufs-lu sd-card',
  'sd-card-spi emmc hda-duplex hda-micro hda-output ccid-card-emulated ccid-card-passthru ipoctal232',
  // ISA
  'adlib cs4231a gus hyperv-testdev i8042 ib700 isa-applesmc isa-cirrus-vga isa-debug-exit isa-debugcon isa-fdc isa-ide',
  'isa-ipmi-bt isa-ipmi-kcs isa-parallel isa-serial isa-vga mc146818rtc ne2k_isa pc-testdev pvpanic sb16 sga tpm-tis vmmouse',
  // the system, and what has no bus
  'amd-iommu arm-smmuv3 intel-iommu ramfb sbsa-gwdt tpm-tis-device uefi-vars-sysbus uefi-vars-x64 vfio-amd-xgbe',
  'vfio-calxeda-xgmac vfio-platform vmbus-bridge nvdimm pc-dimm guest-loader hv-syndbg hv-balloon loader tpm-crb',
  'vmcoreinfo vmgenid vmclock ipmi-bmc-extern ipmi-bmc-sim diag288 sp-mem xen-backend xen-disk xen-cdrom xen-net-device xen-console',
  'sclpconsole sclplmconsole vfio-ap vfio-ccw zpci',
);

/** Finds the bus of a type; undefined: no such type is known here. */
export function busKind(type: string): BusKind | undefined {
  if (/^(virtconsole|virtserialport)$/.test(type)) return 'serial';
  const row = otherDevice(type);
  if (row?.bus === 'usb' || row?.bus === 'scsi') return row.bus;
  if (PCI.has(type) || VIRTIO_PCI.test(type)) return 'pci';
  if (/^(virtio|vhost)-.+-ccw$/.test(type) || type === 'x-terminal3270') return 'ccw';
  if (/^(virtio|vhost)-.+-device$/.test(type) || VIRTIO_BUS.has(type)) return 'virtio';
  return OTHER.has(type) || /-cpu$|^(cxl|spapr|smbus|i2c|at24c)-/.test(type) ? 'other' : undefined;
}

/** Types above a type, nearest first, with those of the bus that it has inside. QOM's `object_dynamic_cast` */
export interface Lineage {
  /** Types of the virtio device itself, nearest first; empty for others. */
  readonly device: readonly string[];
  /** Types of the proxy that attaches the device to its bus, nearest first. */
  readonly proxy: readonly string[];
}

/** Lists the types between a device and the common ones. */
function between(type: string, suffix: string): string[] {
  return deviceTypes.flatMap(({ qemu }) => qemu.parents?.(type, suffix) ?? []);
}

/** Lists all types that a property of `-global` may name so that it reaches a device of this type. */
export function lineageOf(type: string): Lineage {
  const [, stem, suffix] =
    /^((?:virtio|vhost)-.+?)(-pci|-ccw|-device)(?:-transitional|-non-transitional)?$/.exec(type) ?? [];
  const name = stem ?? (/^(virtio|vhost-user)-vga/.test(type) ? type.replace('vga', 'gpu') : undefined);
  const inner = VIRTIO_BUS.has(name ?? type) ? [name ?? type] : name === undefined ? [] : [`${name}-device`];
  const device =
    inner.length === 0 ? [] : [...inner, ...between(name ?? type, 'device'), 'virtio-device', 'device'];
  if (suffix === '-device' || VIRTIO_BUS.has(type)) return { device, proxy: ['virtio-mmio'] };
  if (suffix === '-ccw')
    return {
      device,
      proxy: [type, ...between(type, 'ccw'), 'virtio-ccw-device', 'ccw-device', 'device'],
    };
  const bases =
    name === undefined
      ? pciParents(type)
      : [
          `${stem ?? type}-pci-base`,
          `${stem ?? type}-pci-base-type`,
          `${type}-base-type`,
          ...between(type, 'pci'),
          'virtio-pci',
        ];
  return {
    device,
    proxy: [type, ...bases, ...(busKind(type) === 'pci' ? ['pci-device'] : []), 'device'],
  };
}

function pciParents(type: string): string[] {
  if (/^e1000(-|$)/.test(type)) return ['e1000-base'];
  if (/^(VGA|secondary-vga)$/.test(type)) return ['pci-vga'];
  if (/^(qxl|qxl-vga)$/.test(type)) return ['pci-qxl'];
  if (/^(pcie-root-port|ioh3420)$/.test(type))
    return ['pcie-root-port-base', 'pcie-slot', 'pcie-port', 'base-pci-bridge'];
  return /bridge/.test(type) ? ['base-pci-bridge'] : [];
}
