/** Finds the last byte that is not zero: its index, or -1 if there is none. */
export function lastNonZero(bytes: Uint8Array): number {
  let at = bytes.length - 1;
  while (at >= 0 && bytes[at] === 0) at--;
  return at;
}
