import type { RamBlock } from './events.ts';

const PAGE_BITS = 12;
const LARGE_PAGE_BITS = 13;

/**
 * Finds the length of a target page as a power of two, where the configuration section does not tell it
 * (`configuration/target-page-bits`): 12, and 13 of Alpha, SPARC64 and OpenRISC, which is known by its memory: its
 * machine `virt` has the name that others have.
 */
export function targetPageBits(machine: string | undefined, [main]: readonly RamBlock[]): number {
  return /^(clipper|sun4|niagara)/.test(machine ?? '') || main?.name === 'openrisc.ram'
    ? LARGE_PAGE_BITS
    : PAGE_BITS;
}
