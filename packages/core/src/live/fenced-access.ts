import type { Gpa } from '../contract/memory.ts';
import type { MappedMemory } from './memory.ts';

const fenceWord =
  typeof SharedArrayBuffer === 'undefined' ? undefined : new Int32Array(new SharedArrayBuffer(4));

/** Orders memory accesses before and after it, for a ring that another thread sees. */
function fence(): void {
  if (fenceWord !== undefined) Atomics.add(fenceWord, 0, 0);
}

/**
 * Reads a half-word of a ring number by number; 0 where there is no memory, as in QEMU.
 *
 * @param shared the driver may write on another thread: what the value shows to be there is read after it
 */
export function readHalf(memory: MappedMemory, at: Gpa, littleEndian: boolean, shared: boolean): number {
  if (shared) fence();
  const value = Math.max(0, memory.readU16(at, littleEndian));
  if (shared) fence();
  return value;
}

/**
 * Writes a half-word of a ring number by number; nothing where there is no RAM, as in QEMU.
 *
 * @param shared the driver may read on another thread: it sees what was written before this first, and what comes after it later
 */
export function writeHalf(
  memory: MappedMemory,
  at: Gpa,
  value: number,
  littleEndian: boolean,
  shared: boolean,
): void {
  if (shared) fence();
  memory.writeU16(at, value, littleEndian);
  if (shared) fence();
}
