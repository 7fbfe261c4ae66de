/** Cylinders, heads, sectors per track. */
export interface Geometry {
  /** Cylinders, 1 to 65535. */
  readonly cylinders: number;
  /** Heads, 1 to 255. */
  readonly heads: number;
  /** Sectors of 512 bytes in a track, 1 to 255. */
  readonly sectors: number;
}

const PARTITION_TABLE = 446;
const CYLINDERS_MAX = 16383;

/**
 * The geometry that QEMU gives a disk (`hd_geometry_guess`): what a PC's partition table was made for, else one that fits
 * the size.
 *
 * @param sectors of 512 bytes
 * @param firstSector the first 512 bytes of the disk, if they can be had
 */
export function guessGeometry(sectors: number, firstSector?: Uint8Array): Geometry {
  const found = firstSector === undefined ? undefined : fromPartitions(sectors, firstSector);
  // more than 16 heads: the table was made under a BIOS's translation, and says nothing about the disk
  if (found !== undefined && found.heads <= 16) return found;
  const cylinders = Math.floor(sectors / (16 * 63));
  return { cylinders: Math.min(CYLINDERS_MAX, Math.max(2, cylinders)), heads: 16, sectors: 63 };
}

/** From the first partition that ends somewhere: partitions are taken to end with a cylinder. */
function fromPartitions(total: number, mbr: Uint8Array): Geometry | undefined {
  if (mbr.length < 512 || mbr[510] !== 0x55 || mbr[511] !== 0xaa) return undefined;
  const view = new DataView(mbr.buffer, mbr.byteOffset, mbr.length);
  for (let at = PARTITION_TABLE; at < 510; at += 16) {
    const endHead = view.getUint8(at + 5);
    const sectors = view.getUint8(at + 6) & 63;
    if (view.getUint32(at + 12, true) === 0 || endHead === 0 || sectors === 0) continue;
    const heads = endHead + 1;
    const cylinders = Math.floor(total / (heads * sectors));
    if (cylinders >= 1 && cylinders <= CYLINDERS_MAX) return { cylinders, heads, sectors };
  }
  return undefined;
}
