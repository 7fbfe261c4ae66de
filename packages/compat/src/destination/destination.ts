/** A device at the destination. */
export interface DestinationDevice {
  /** `virtio-blk-pci` */
  readonly driver: string;
  readonly properties: ReadonlyMap<string, string>;
  /** Its sections' names begin with this: `0000:00:02.0`, `/fe.0.0001`, `virtio-mmio@00000000feb02e00`. */
  readonly place?: string;
  /** Behind a PCI Express port. */
  readonly express?: boolean;
  /** What the card is connected to: `queues` of the `-netdev`, and whether it knows virtio headers. */
  readonly network?: { readonly kind: string; readonly queues: number; readonly vnetHeader: boolean };
  /** The drive is read-only. */
  readonly readOnly?: boolean;
}

/** A destination as its command line makes it. What is not said there is as QEMU's defaults are. */
export interface Destination {
  readonly machine?: string;
  /** Guest memory: block name as far as the command line decides it, size in bytes. */
  readonly memory?: { readonly block?: string; readonly bytes: number };
  readonly cpus: number;
  readonly devices: readonly DestinationDevice[];
  /** What of the command line could not be understood, and so was not looked at. */
  readonly unknown: readonly string[];
}

/** `virtio-blk-pci` → `virtio-blk`, the name that the device's section ends with; undefined: no virtio device. */
export function sectionName(driver: string): string | undefined {
  const [, type] =
    /^virtio-(.+?)(?:-pci|-ccw|-device)?(?:-transitional|-non-transitional)?$/.exec(driver) ?? [];
  if (type === undefined) return undefined;
  return SECTION[type] ?? `virtio-${type}`;
}

/** Sections whose name is not that of the driver. */
const SECTION: Readonly<Record<string, string>> = {
  serial: 'virtio-console',
  tablet: 'virtio-input',
  mouse: 'virtio-input',
  keyboard: 'virtio-input',
};

/** How the device is attached. */
export function busOf(driver: string): 'pci' | 'ccw' | 'mmio' | undefined {
  if (/-ccw$/.test(driver)) return 'ccw';
  if (/^virtio-.*-device$/.test(driver)) return 'mmio';
  return /-pci(-transitional|-non-transitional)?$/.test(driver) ? 'pci' : undefined;
}
