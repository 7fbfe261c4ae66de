import { SECTOR_BYTES } from './wire.ts';

/** Geometry of a disk: cylinders, heads, sectors per track. */
export interface Geometry {
  /** Number of cylinders, 1 to 65535. */
  readonly cylinders: number;
  /** Number of heads, 1 to 255. */
  readonly heads: number;
  /** Number of sectors of 512 bytes in a track, 1 to 255. */
  readonly sectors: number;
}

/**
 * Offset of the table of four partitions in the first sector; an entry has {@link PARTITION_BYTES}, and the signature
 * stands behind the table.
 */
const PARTITION_TABLE = 446;
const PARTITION_BYTES = 16;
const SIGNATURE = { AT: 510, BYTES: [0x55, 0xaa] } as const;
/** Offsets in an entry of the partition table: last head, last sector of its track (6 bits), sectors in all. */
const PARTITION = { END_HEAD: 5, END_SECTOR: 6, SECTORS: 12 } as const;
const SECTOR_BITS = 63;
/** Largest number of heads of a disk: more are a BIOS's translation. */
const HEADS_MAX = 16;
/** Number of sectors of a track that is guessed. */
const TRACK_SECTORS = 63;
const CYLINDERS_MAX = 16383;

/**
 * Guesses the geometry that QEMU gives a disk (`hd_geometry_guess`): what a PC's partition table was made for, else one
 * that fits the size.
 *
 * @param sectors of 512 bytes
 * @param firstSector the first 512 bytes of the disk, if they can be had
 */
export function guessGeometry(sectors: number, firstSector?: Uint8Array): Geometry {
  const found = firstSector === undefined ? undefined : fromPartitions(sectors, firstSector);
  // more than 16 heads: the table was made under a BIOS's translation, and says nothing about the disk
  if (found !== undefined && found.heads <= HEADS_MAX) return found;
  const cylinders = Math.floor(sectors / (HEADS_MAX * TRACK_SECTORS));
  return {
    cylinders: Math.min(CYLINDERS_MAX, Math.max(2, cylinders)),
    heads: HEADS_MAX,
    sectors: TRACK_SECTORS,
  };
}

/** Derives the geometry from the first partition that ends somewhere: partitions are taken to end with a cylinder. */
function fromPartitions(total: number, mbr: Uint8Array): Geometry | undefined {
  if (mbr.length < SECTOR_BYTES || SIGNATURE.BYTES.some((byte, i) => mbr[SIGNATURE.AT + i] !== byte))
    return undefined;
  const view = new DataView(mbr.buffer, mbr.byteOffset, mbr.length);
  for (let at = PARTITION_TABLE; at < SIGNATURE.AT; at += PARTITION_BYTES) {
    const endHead = view.getUint8(at + PARTITION.END_HEAD);
    const sectors = view.getUint8(at + PARTITION.END_SECTOR) & SECTOR_BITS;
    if (view.getUint32(at + PARTITION.SECTORS, true) === 0 || endHead === 0 || sectors === 0) continue;
    const heads = endHead + 1;
    const cylinders = Math.floor(total / (heads * sectors));
    if (cylinders >= 1 && cylinders <= CYLINDERS_MAX) return { cylinders, heads, sectors };
  }
  return undefined;
}
