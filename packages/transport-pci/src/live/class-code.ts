/** Class, subclass and programming interface of what no class of PCI describes. QEMU: `PCI_CLASS_OTHERS`. */
const OTHERS = 0x00ff00;

/** QEMU's class code of each device type, by the number that Virtio 1.3 §5 gives the type. */
const CLASS_CODES: Readonly<Record<number, number>> = {
  // network card: Ethernet controller
  1: 0x020000,
  // block device: SCSI controller
  2: 0x010000,
  // console: communication controller, other
  3: 0x078000,
  // SCSI host: SCSI controller
  8: 0x010000,
  // 9P transport: a network controller of the first version of PCI's classes
  9: 0x000200,
  // GPU: display controller, other
  16: 0x038000,
  // input device: input device controller, other
  18: 0x098000,
  // socket device: communication controller, other
  19: 0x078000,
  // sound device: audio device
  25: 0x040100,
  // file system device: mass storage controller, other
  26: 0x018000,
};

/**
 * The class code of a device type's PCI function as QEMU has it: 24 bits, class in the upper 8, then subclass, then
 * programming interface.
 *
 * @param virtioId number of the device type, Virtio 1.3 §5; undefined for a type that has none
 */
export function classCodeOf(virtioId: number | undefined): number {
  return (virtioId === undefined ? undefined : CLASS_CODES[virtioId]) ?? OTHERS;
}
