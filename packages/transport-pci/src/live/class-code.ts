import { VIRTIO_ID } from './virtio-ids.ts';

/** Class code of what no class of PCI describes: class, subclass, programming interface. QEMU: `PCI_CLASS_OTHERS`. */
const OTHERS = 0x00ff00;

/** Class codes of QEMU for device types, by the number that Virtio 1.3 §5 gives the type. */
const CLASS_CODES: Readonly<Record<number, number>> = {
  // network card: Ethernet controller
  [VIRTIO_ID.NET]: 0x020000,
  // block device: SCSI controller
  [VIRTIO_ID.BLK]: 0x010000,
  // console: communication controller, other
  [VIRTIO_ID.CONSOLE]: 0x078000,
  // SCSI host: SCSI controller
  [VIRTIO_ID.SCSI]: 0x010000,
  // 9P transport: a network controller of the first version of PCI's classes
  [VIRTIO_ID.P9]: 0x000200,
  // GPU: display controller, other
  [VIRTIO_ID.GPU]: 0x038000,
  // input device: input device controller, other
  [VIRTIO_ID.INPUT]: 0x098000,
  // socket device: communication controller, other
  [VIRTIO_ID.VSOCK]: 0x078000,
  // sound device: audio device
  [VIRTIO_ID.SOUND]: 0x040100,
  // file system device: mass storage controller, other
  [VIRTIO_ID.FS]: 0x018000,
};

/**
 * Finds the class code of a device type's PCI function as QEMU has it: 24 bits, class in the upper 8, then subclass,
 * then programming interface.
 *
 * @param virtioId number of the device type, Virtio 1.3 §5; undefined for a type that has none
 */
export function classCodeOf(virtioId: number | undefined): number {
  return (virtioId === undefined ? undefined : CLASS_CODES[virtioId]) ?? OTHERS;
}
