import type { Chain } from '@virtkit/core/live';
import type { RangeLimits, Settings } from './options.ts';
import type { Request } from './request.ts';
import { BLK_S, FLAG_UNMAP, HEADER_BYTES, REQUEST_SECTORS_MAX, SECTOR_BYTES, SEGMENT_BYTES } from './wire.ts';

/** Largest number of bytes of a request; what is not a whole sector does not count here. */
const REQUEST_BYTES_MAX = REQUEST_SECTORS_MAX * SECTOR_BYTES + SECTOR_BYTES - 1;

/**
 * Says why no answer to a request is possible, in QEMU's words: the guest broke the device. Undefined if the request
 * has a form.
 */
export function malformed({ out, in: into }: Chain): string | undefined {
  if (out.count < 1 || into.count < 1) return 'virtio-blk missing headers';
  if (out.total < HEADER_BYTES) return 'virtio-blk request outhdr too short';
  if (into.length(into.count - 1) < 1) return 'virtio-blk request inhdr too short';
  return undefined;
}

/** Reads a 32-bit number in the driver's byte order. */
export function word(bytes: Uint8Array, at: number, littleEndian: boolean): number {
  const a = bytes[at] as number;
  const b = bytes[at + 1] as number;
  const c = bytes[at + 2] as number;
  const d = bytes[at + 3] as number;
  return (littleEndian ? a | (b << 8) | (c << 16) | (d << 24) : (a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

/** Reads a sector number. From 2^53 up it is not exact, and out of range either way. */
function sectorAt(bytes: Uint8Array, at: number, littleEndian: boolean): number {
  const first = word(bytes, at, littleEndian);
  const second = word(bytes, at + 4, littleEndian);
  const high = littleEndian ? second : first;
  const low = littleEndian ? first : second;
  return high === 0 ? low : high * 2 ** 32 + low;
}

/** Do these bytes lie on the disk, in whole blocks? QEMU: `virtio_blk_sect_range_ok`. */
function inRange(sector: number, bytes: number, { blockSize }: Settings, capacity: number): boolean {
  if (bytes > REQUEST_BYTES_MAX) return false;
  if ((bytes & (blockSize - 1)) !== 0 || (sector & (blockSize / SECTOR_BYTES - 1)) !== 0) return false;
  return bytes >>> 9 <= capacity - sector;
}

/**
 * Reads what IN or OUT wants into the request. Answers the status if it cannot be done.
 *
 * @param header the array that the request's header lies in, from `at` on
 */
export function parseTransfer(
  request: Request,
  header: Uint8Array,
  at: number,
  littleEndian: boolean,
  settings: Settings,
  capacity: number,
): number {
  request.sector = sectorAt(header, at + 8, littleEndian);
  if (!inRange(request.sector, request.length, settings, capacity)) return BLK_S.IOERR;
  // Virtio 1.3 §5.2.6.2 MUST, MUST NOT: a write to a read-only device is an I/O error, and writes nothing
  return settings.readOnly && request.operation === 'write' ? BLK_S.IOERR : BLK_S.OK;
}

/**
 * Reads the segments of DISCARD, WRITE_ZEROES or SECURE_ERASE into the request, each once. Answers the status if they
 * cannot be done; -1 if not even one is there.
 */
export function parseRanges(
  request: Request,
  chain: Chain,
  littleEndian: boolean,
  settings: Settings,
  capacity: number,
): number {
  const limits = limitsOf(request, settings);
  const bytes = chain.out.total - HEADER_BYTES;
  if (bytes > SEGMENT_BYTES * limits.maxSegments) return BLK_S.UNSUPP;
  if (bytes < SEGMENT_BYTES) return -1;
  if (bytes % SEGMENT_BYTES !== 0) return BLK_S.UNSUPP;
  const more: number[] | undefined = bytes > SEGMENT_BYTES ? [] : undefined;
  const segment = new Uint8Array(SEGMENT_BYTES);
  let changes = false;
  for (let at = 0; at < bytes; at += SEGMENT_BYTES) {
    chain.out.copyTo(HEADER_BYTES + at, segment);
    const sector = sectorAt(segment, 0, littleEndian);
    const count = word(segment, 8, littleEndian);
    const flags = word(segment, 12, littleEndian);
    if (count > limits.maxSectors || !inRange(sector, count * SECTOR_BYTES, settings, capacity))
      return BLK_S.IOERR;
    // Virtio 1.3 §5.2.6.2 MUST: UNSUPP for unknown flags, and for unmap where nothing is written
    if ((flags & ~FLAG_UNMAP) !== 0) return BLK_S.UNSUPP;
    // Virtio 1.3 §5.2.6.2 MUST: UNSUPP for discard with unmap
    if (flags !== 0 && request.operation !== 'write-zeroes') return BLK_S.UNSUPP;
    if (count > 0) changes = true;
    if (at === 0) {
      request.sector = sector;
      request.length = count * SECTOR_BYTES;
      request.mayUnmap = flags !== 0;
    } else more?.push(sector, count * SECTOR_BYTES, flags);
  }
  request.more = more;
  if (!settings.readOnly) return BLK_S.OK;
  // a discard that changes nothing is not a write, nor are ranges of no sectors
  const able = request.operation !== 'discard' || settings.backend.discard !== undefined;
  return able && changes ? BLK_S.IOERR : BLK_S.OK;
}

function limitsOf({ operation }: Request, settings: Settings): RangeLimits {
  if (operation === 'discard') return settings.discard;
  return operation === 'write-zeroes' ? settings.writeZeroes : settings.secureErase;
}
