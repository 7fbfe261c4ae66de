// Fewer inputs that reach as much: the engine tells which blocks of the sources each input runs.
import { Session } from 'node:inspector/promises';
import type { FuzzTarget } from './target.ts';

/** A block of a source file, and how often it ran: once, a few times, often. */
type Block = string;

/** Numbers of runs of a block from which on more is kept for an input. */
const LEVELS = [1, 2, 4, 8, 32, 128] as const;

function level(count: number): number {
  return LEVELS.findLastIndex((least) => count >= least);
}

/** Finds what an input reaches in the packages' sources. */
async function reach(session: Session, target: FuzzTarget, input: Uint8Array): Promise<Block[]> {
  await session.post('Profiler.takePreciseCoverage');
  await target.run(input.slice());
  const { result } = await session.post('Profiler.takePreciseCoverage');
  const blocks: Block[] = [];
  for (const { url, functions } of result)
    if (/\/packages\/[\w-]+\/src\//.test(url) && !url.includes('/packages/fuzz/'))
      for (const { ranges } of functions)
        for (const { startOffset, endOffset, count } of ranges)
          if (count > 0) blocks.push(`${url}:${startOffset}-${endOffset}*${level(count)}`);
  return blocks;
}

/**
 * Inputs that together reach all that these reach, small ones first. Inputs that the target throws at are left out: they
 * are defects, and belong into tests.
 */
export async function minimise(target: FuzzTarget, inputs: readonly Uint8Array[]): Promise<Uint8Array[]> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  const kept: Uint8Array[] = [];
  const reached = new Set<Block>();
  for (const input of [...inputs].sort((a, b) => a.length - b.length)) {
    let blocks: Block[];
    try {
      blocks = await reach(session, target, input);
    } catch {
      continue;
    }
    const fresh = blocks.filter((block) => !reached.has(block));
    if (fresh.length === 0) continue;
    for (const block of fresh) reached.add(block);
    kept.push(input);
  }
  session.disconnect();
  return kept;
}
