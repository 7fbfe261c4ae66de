import { describe, expect, test } from 'vitest';
import { INDIRECT, NEXT, Rig, WRITE } from './rig.ts';

const pieces = (spans: { count: number; offset(i: number): number; length(i: number): number }) =>
  Array.from({ length: spans.count }, (_, i) => [spans.offset(i), spans.length(i)]);

describe('a chain through a split ring', () => {
  test('direct: two to read, one to write', () => {
    const rig = new Rig();
    rig.desc(0x1000, 3, 0x10000, 16, NEXT, 5);
    rig.desc(0x1000, 5, 0x10100, 512, NEXT, 1);
    rig.desc(0x1000, 1, 0x10400, 1, WRITE, 0);
    const queue = rig.split();
    expect(queue.pop()).toBeUndefined();
    expect(queue.isEmpty()).toBe(true);
    rig.offer(3);
    expect(queue.isEmpty()).toBe(false);
    const chain = queue.pop();
    if (chain === undefined) throw new Error('no chain');
    expect(chain.index).toBe(3);
    expect(pieces(chain.out)).toEqual([
      [0x10000, 16],
      [0x10100, 512],
    ]);
    expect(pieces(chain.in)).toEqual([[0x10400, 1]]);
    expect([chain.out.total, chain.in.total]).toEqual([528, 1]);
    expect(queue.inFlight).toBe(1);
    queue.push(chain, 1);
    expect(queue.inFlight).toBe(0);
    expect(rig.bytes(0x3000, 12)).toEqual([0, 0, 1, 0, 3, 0, 0, 0, 1, 0, 0, 0]);
    queue.notify();
    expect(rig.owner.interrupts).toBe(1);
    expect(rig.owner.faults).toEqual([]);
  });

  test('indirect', () => {
    const rig = new Rig();
    rig.desc(0x1000, 0, 0x8000, 32, INDIRECT, 0);
    rig.desc(0x8000, 0, 0x10000, 16, NEXT, 1);
    rig.desc(0x8000, 1, 0x10100, 64, WRITE, 0);
    rig.offer(0);
    const chain = rig.split().pop();
    expect(chain && pieces(chain.out)).toEqual([[0x10000, 16]]);
    expect(chain && pieces(chain.in)).toEqual([[0x10100, 64]]);
    expect(chain?.element()).toEqual({
      index: 0,
      out: [{ addr: 0x10000n, len: 16n }],
      in: [{ addr: 0x10100n, len: 64n }],
    });
  });
});
