import { latin1 } from './field.ts';
import type { Reader } from './reader.ts';

/** Byte that marks a subsection inside a section's body. QEMU: `QEMU_VM_SUBSECTION`. */
export const SUBSECTION = 0x05;

/** Header of a subsection, in front of its fields, with the versions that can be read. */
export interface SubsectionHeader {
  /** Name of the subsection: `virtio/64bit_features`. */
  readonly name: string;
  /** Version that is written. */
  readonly version: number;
  /** The oldest version that is read. */
  readonly minimum: number;
}

/**
 * Finds the name of the subsection of `vmsd` that begins at the cursor; undefined if none does. Moves nothing. The rule
 * is that of QEMU's `vmstate_subsection_load`: anything that does not begin with the vmsd's own name belongs to
 * somebody further out.
 */
export function peekSubsection(input: Reader, vmsd: string): string | undefined {
  if (input.peek() !== SUBSECTION) return undefined;
  const length = input.peek(1);
  if (length <= vmsd.length || 2 + length > input.remaining) return undefined;
  for (let i = 0; i < vmsd.length; i++) {
    if (input.peek(2 + i) !== vmsd.charCodeAt(i)) return undefined;
  }
  return latin1(input.bytes.subarray(input.offset + 2, input.offset + 2 + length));
}
