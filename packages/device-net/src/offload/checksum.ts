/**
 * Adds up 16-bit words in network order, not folded; an odd byte at the end is the upper half of a word. RFC 1071 §4.1
 */
export function sumWords(bytes: Uint8Array, start: number, end: number): number {
  let sum = 0;
  let i = start;
  // eight bytes a turn: twice as fast as two
  for (const eights = end - 7; i < eights; i += 8) {
    sum +=
      (((bytes[i] as number) +
        (bytes[i + 2] as number) +
        (bytes[i + 4] as number) +
        (bytes[i + 6] as number)) <<
        8) +
      (bytes[i + 1] as number) +
      (bytes[i + 3] as number) +
      (bytes[i + 5] as number) +
      (bytes[i + 7] as number);
  }
  for (const even = end - 1; i < even; i += 2) sum += ((bytes[i] as number) << 8) | (bytes[i + 1] as number);
  return i < end ? sum + ((bytes[i] as number) << 8) : sum;
}

/** Folds a sum to 16 bits, with the carries added in. For sums below 2^32, which 128 KiB do not reach. */
export function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** Makes the checksum for a sum. UDP: 0 would say that there is none, and 0xffff is the same number. RFC 768 */
export function complement(sum: number): number {
  const folded = fold(sum);
  return folded === 0xffff ? 0xffff : ~folded & 0xffff;
}
