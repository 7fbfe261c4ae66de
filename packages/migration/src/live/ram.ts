import { HostError, type LoggedMemory } from '@virtkit/core';
import { bytesOf, type LiveRam, type LiveRamBlock, PAGE } from './machine.ts';

/**
 * Makes RAM blocks of the regions of a guest memory, with its own dirty log: devices mark it, and whoever else writes
 * (the processor above all) must say so with `memory.markDirty`. A machine that cannot takes {@link comparedRam}.
 *
 * @param nameOf a region's name; default `ram`, and for several regions with the address: `ram@0x100000000`
 */
export function mappedRam(
  memory: LoggedMemory,
  nameOf: (gpa: number, index: number) => string = (gpa) =>
    memory.regions.length === 1 ? 'ram' : `ram@0x${gpa.toString(16)}`,
): LiveRam {
  const { regions } = memory;
  return {
    blocks: regions.map((region, index) => ({
      name: nameOf(region.gpa, index),
      length: region.bytes.length,
      bytes: () => {
        memory.sync();
        return region.bytes;
      },
    })),
    startLog: () => memory.startDirtyLog(),
    stopLog: () => memory.stopDirtyLog(),
    takeDirty: (visit) => {
      memory.takeDirty((gpa, length) => {
        for (const [index, region] of regions.entries()) {
          const from = Math.max(gpa, region.gpa);
          const to = Math.min(gpa + length, region.gpa + region.bytes.length);
          if (from < to) visit(index, from - region.gpa, to - from);
        }
      });
    },
  };
}

/**
 * Makes RAM of a machine that has no dirty log: a copy of each page is kept as it was sent, and a page that is not as
 * its copy has changed. It costs as much memory again, and a look at all of it in each round.
 */
export function comparedRam(blocks: readonly LiveRamBlock[]): LiveRam {
  let copies: Uint8Array[] = [];
  /** Copies one page. Answers it, as the copy has it. */
  const keep = (block: number, bytes: Uint8Array, offset: number): Uint8Array => {
    const page = bytes.subarray(offset, offset + PAGE);
    const copy = copies[block];
    if (copy === undefined) return page;
    copy.set(page, offset);
    return copy.subarray(offset, offset + PAGE);
  };
  return {
    blocks,
    startLog: () => {
      copies = blocks.map((block) => bytesOf(block).slice());
    },
    stopLog: () => {
      copies = [];
    },
    takeDirty: (visit) => {
      for (const [index, copy] of copies.entries()) {
        const block = blocks[index];
        if (block === undefined) continue;
        const bytes = bytesOf(block);
        for (let at = 0; at < copy.length; at += PAGE) {
          if (samePage(bytes, copy, at)) continue;
          // for who sends without asking for it: the page is sent as it is from now on
          keep(index, bytes, at);
          visit(index, at, PAGE);
        }
      }
    },
    snapshot: (index, offset) => {
      const block = blocks[index];
      if (block === undefined) throw new HostError(`RAM block ${index} of ${blocks.length}`);
      return keep(index, bytesOf(block), offset);
    },
  };
}

function samePage(a: Uint8Array, b: Uint8Array, offset: number): boolean {
  for (let at = offset; at < offset + PAGE; at++) if (a[at] !== b[at]) return false;
  return true;
}
