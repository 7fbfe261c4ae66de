import type { RamBlock } from './events.ts';

/** Alpha and SPARC64. */
const MACHINES_8K = new Set(['clipper', 'sun4u', 'sun4v', 'niagara']);

/**
 * Bits of a target page, where the configuration section does not tell (`configuration/target-page-bits`): 12, or 13 for
 * targets with pages of 8 KiB. OpenRISC is known by its memory: its machine `virt` has the name that others have.
 */
export function targetPageBits(machine = '', blocks: readonly RamBlock[] = []): number {
  return MACHINES_8K.has(machine) || blocks.some(({ name }) => name === 'openrisc.ram') ? 13 : 12;
}
