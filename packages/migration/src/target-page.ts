import type { RamBlock } from './events.ts';

/**
 * Bits of a target page, where the configuration section does not tell (`configuration/target-page-bits`): 12, and 13 of Alpha,
 * SPARC64 and OpenRISC, which is known by its memory: its machine `virt` has the name that others have.
 */
export function targetPageBits(machine: string | undefined, [main]: readonly RamBlock[]): number {
  return /^(clipper|sun4|niagara)/.test(machine ?? '') || main?.name === 'openrisc.ram' ? 13 : 12;
}
