import type { Random } from './random.ts';
import type { Setup } from './setup.ts';

/** Families of machines, for `--mode`. */
export type Mode = 'legacy' | 'modern' | 'transitional';
export const MODES: readonly Mode[] = ['legacy', 'modern', 'transitional'];

/** A machine of a family, by chance. */
export function chooseSetup(random: Random, mode: Mode, device?: 'blk' | 'net'): Setup {
  const chosen = device ?? random.pick(['blk', 'net'] as const);
  const modern = mode !== 'legacy';
  const express = mode === 'modern' && random.once(2);
  const queues = chosen === 'blk' ? random.pick([1, 1, 2, 3]) : 1;
  return {
    device: chosen,
    interface: mode,
    packed: modern && random.once(2),
    vectors: random.pick([0, 1, 2, 3, 4, 4, 4, 33]),
    express,
    queues,
    queueSize: random.pick([4, 8, 16, 64, 256]),
    pagePerVq: modern && random.once(6),
    notifyPio: modern && random.once(5),
    content: chosen === 'blk' && random.once(5),
  };
}
