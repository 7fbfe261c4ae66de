import type { Chain, Spans } from '@virtkit/core';
import type { RangeLimits, Settings } from './options.ts';
import type { Request } from './request.ts';
import { BLK_S, FLAG_UNMAP, HEADER_BYTES, REQUEST_SECTORS_MAX, SEGMENT_BYTES } from './wire.ts';

/** Why no answer is possible, in QEMU's words: the guest broke the device. Undefined if the request has a form. */
export function malformed({ out, in: into }: Chain): string | undefined {
  if (out.count < 1 || into.count < 1) return 'virtio-blk missing headers';
  if (out.length(0) < HEADER_BYTES && out.total < HEADER_BYTES) return 'virtio-blk request outhdr too short';
  if (into.length(into.count - 1) < 1) return 'virtio-blk request inhdr too short';
  return undefined;
}

/** A 32-bit field of what the driver wrote; most stand in one piece. */
export function field32(out: Spans, at: number, littleEndian: boolean): number {
  if (out.length(0) < at + 4) return out.u32(at, littleEndian);
  const bytes = out.bytes(0);
  const i = out.offset(0) + at;
  const a = bytes[i] as number;
  const b = bytes[i + 1] as number;
  const c = bytes[i + 2] as number;
  const d = bytes[i + 3] as number;
  return (littleEndian ? a | (b << 8) | (c << 16) | (d << 24) : (a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

/** A sector number. From 2^53 up it is not exact, and out of range either way. */
function sectorAt(out: Spans, at: number, littleEndian: boolean): number {
  const first = field32(out, at, littleEndian);
  const second = field32(out, at + 4, littleEndian);
  return littleEndian ? first + second * 2 ** 32 : first * 2 ** 32 + second;
}

/** QEMU: `virtio_blk_sect_range_ok`. */
function inRange(sector: number, bytes: number, { blockSize }: Settings, capacity: number): boolean {
  const count = Math.floor(bytes / 512);
  if (count > REQUEST_SECTORS_MAX) return false;
  if (sector % (blockSize / 512) !== 0 || bytes % blockSize !== 0) return false;
  return sector <= capacity && count <= capacity - sector;
}

/** Reads what IN or OUT wants into the request. The status if it cannot be done. */
export function parseTransfer(
  request: Request,
  chain: Chain,
  write: boolean,
  littleEndian: boolean,
  settings: Settings,
  capacity: number,
): number {
  request.operation = write ? 'write' : 'read';
  request.sector = sectorAt(chain.out, 8, littleEndian);
  request.length = write ? chain.out.total - HEADER_BYTES : chain.in.total - 1;
  if (!inRange(request.sector, request.length, settings, capacity)) return BLK_S.IOERR;
  // Virtio 1.3 §5.2.6.2 MUST, MUST NOT: a write to a read-only device is an I/O error, and writes nothing
  return write && settings.readOnly ? BLK_S.IOERR : BLK_S.OK;
}

/**
 * Reads the segments of DISCARD, WRITE_ZEROES or SECURE_ERASE into the request, each once. The status if they cannot be
 * done; -1 if not even one is there.
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
  for (let at = HEADER_BYTES; at < HEADER_BYTES + bytes; at += SEGMENT_BYTES) {
    const sector = sectorAt(chain.out, at, littleEndian);
    const count = field32(chain.out, at + 8, littleEndian);
    const flags = field32(chain.out, at + 12, littleEndian);
    if (count > limits.maxSectors || !inRange(sector, count * 512, settings, capacity)) return BLK_S.IOERR;
    // Virtio 1.3 §5.2.6.2 MUST: UNSUPP for unknown flags, and for unmap where nothing is written
    if ((flags & ~FLAG_UNMAP) !== 0) return BLK_S.UNSUPP;
    if (flags !== 0 && request.operation !== 'write-zeroes') return BLK_S.UNSUPP;
    if (at === HEADER_BYTES) {
      request.sector = sector;
      request.length = count * 512;
      request.mayUnmap = flags !== 0;
    } else more?.push(sector, count * 512, flags);
  }
  request.more = more;
  // a discard that changes nothing is not a write
  const writes = request.operation !== 'discard' || settings.backend.discard !== undefined;
  return writes && settings.readOnly ? BLK_S.IOERR : BLK_S.OK;
}

function limitsOf({ operation }: Request, settings: Settings): RangeLimits {
  if (operation === 'discard') return settings.discard;
  return operation === 'write-zeroes' ? settings.writeZeroes : settings.secureErase;
}
