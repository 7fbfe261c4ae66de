/**
 * Range of addresses behind a BAR or a capability. It is asked only for 1, 2 or 4 bytes at a multiple of that: whatever
 * else an emulator wants is cut into such pieces. The value may have more bits than were asked for; they are cut off.
 */
export interface Region {
  read(offset: number, size: number): number;
  write(offset: number, size: number, value: number): void;
}

/** Is an access a single one for a {@link Region}, or does it take several? */
export function isAligned(offset: number, size: number): boolean {
  return (size === 1 || size === 2 || size === 4) && offset % size === 0;
}

/** Cuts a value to its low bytes, as a number that is not negative. */
export function truncate(value: number, size: number): number {
  return size === 4 ? value >>> 0 : value & (size === 2 ? 0xffff : 0xff);
}

/**
 * Finds the length in bytes of the next piece of an access: no more than is left, and aligned. QEMU:
 * `memory_access_size`.
 */
export function pieceOf(offset: number, left: number): number {
  if (left >= 4 && offset % 4 === 0) return 4;
  return left >= 2 && offset % 2 === 0 ? 2 : 1;
}

/** Length in bytes of the longest access that a bus makes. */
const LONGEST = 8;

/** Can anything be at this place at all? It guards against what an emulator may hand through from a guest. */
export function isPlausible(offset: number, size: number): boolean {
  return (
    Number.isSafeInteger(offset) && offset >= 0 && Number.isInteger(size) && size >= 1 && size <= LONGEST
  );
}

/**
 * Reads any number of bytes up to 8 at any offset, piece by piece in the order of addresses, little-endian.
 *
 * @param limit size of the range; all ones come from behind it
 */
export function readPieces(region: Region, limit: number, offset: number, size: number): number {
  if (!isPlausible(offset, size)) return allOnes(size);
  let value = 0;
  for (let done = 0; done < size; ) {
    const at = offset + done;
    const piece = pieceOf(at, size - done);
    const part = at + piece <= limit ? truncate(region.read(at, piece), piece) : allOnes(piece);
    value += part * 2 ** (8 * done);
    done += piece;
  }
  return value;
}

/** Writes any number of bytes up to 8 at any offset; what lies behind the range's end is lost. */
export function writePieces(
  region: Region,
  limit: number,
  offset: number,
  size: number,
  value: number,
): void {
  if (!isPlausible(offset, size)) return;
  for (let done = 0; done < size; ) {
    const at = offset + done;
    const piece = pieceOf(at, size - done);
    const part = truncate(Math.floor(value / 2 ** (8 * done)), piece);
    if (at + piece <= limit) region.write(at, piece, part);
    done += piece;
  }
}

/** Makes the value that a bus reads where nobody answers. */
export function allOnes(size: number): number {
  return size >= 1 && size <= LONGEST ? 2 ** (8 * size) - 1 : 0xffffffff;
}
