/**
 * One thing done to both sides. Addresses are the guest's: an operation means the same wherever in a sequence it stands,
 * so that a sequence can be shortened.
 */
export type Operation =
  | { readonly kind: 'config-read'; readonly at: number; readonly size: number }
  | { readonly kind: 'config-write'; readonly at: number; readonly size: number; readonly value: number }
  /** I/O space */
  | { readonly kind: 'in'; readonly at: number; readonly size: number }
  | { readonly kind: 'out'; readonly at: number; readonly size: number; readonly value: number }
  /** Memory space, outside RAM */
  | { readonly kind: 'load'; readonly at: number; readonly size: number }
  | { readonly kind: 'store'; readonly at: number; readonly size: number; readonly value: number }
  /** Guest RAM, written by the driver */
  | { readonly kind: 'memory'; readonly at: number; readonly bytes: Uint8Array };

/** One line for people. */
export function describeOperation(operation: Operation): string {
  const at = `0x${operation.at.toString(16)}`;
  switch (operation.kind) {
    case 'memory':
      return `memory       ${at.padEnd(12)} ${operation.bytes.length} bytes: ${toHex(operation.bytes.subarray(0, 48))}${operation.bytes.length > 48 ? '…' : ''}`;
    case 'config-read':
    case 'in':
    case 'load':
      return `${operation.kind.padEnd(12)} ${at.padEnd(12)} ${operation.size}`;
    default:
      return `${operation.kind.padEnd(12)} ${at.padEnd(12)} ${operation.size} 0x${operation.value.toString(16)}`;
  }
}

const HEX: readonly string[] = Array.from({ length: 256 }, (_, value) => value.toString(16).padStart(2, '0'));

export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const value of bytes) text += HEX[value] ?? '';
  return text;
}
