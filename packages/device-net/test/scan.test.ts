// A guest whose mergeable ring holds many long chains, and yet too few bytes for a frame: what a frame costs then.
import { describe, expect, test } from 'vitest';
import { frame, Machine } from './machine.ts';

const SEGMENTS = 512;
const CHAINS = 15;
/** More than all chains hold. */
const LARGE = SEGMENTS * CHAINS;

/** A machine whose receive ring has chains of one byte a descriptor, in tables of their own. */
class Scanned {
  readonly machine: Machine;
  /** Times that something was looked up in guest memory. */
  #lookedUp = 0;

  constructor(packed: boolean) {
    this.machine = new Machine({ rings: { packed }, indirect: true });
    const { memory } = this.machine;
    const at = memory.at.bind(memory);
    memory.at = (gpa) => {
      this.#lookedUp++;
      return at(gpa);
    };
  }

  add(chains: number): void {
    const { machine } = this;
    const addr = machine.alloc(SEGMENTS);
    for (let chain = 0; chain < chains; chain++)
      machine.add(
        0,
        Array.from({ length: SEGMENTS }, (_, i) => ({ addr: addr + i, len: 1, write: true })),
      );
  }

  /** Look-ups that a frame costs, and what became of it. */
  receive(bytes: number): { readonly taken: boolean; readonly work: number } {
    const before = this.#lookedUp;
    const taken = this.machine.card.receive(frame(bytes));
    return { taken, work: this.#lookedUp - before };
  }
}

describe.each([
  ['split', false],
  ['packed', true],
] as const)('%s: a mergeable ring without enough bytes', (_name, packed) => {
  test('is walked once, and not for each frame', () => {
    const ring = new Scanned(packed);
    ring.add(CHAINS);
    const first = ring.receive(LARGE);
    expect(first.taken).toBe(false);
    expect(first.work).toBeGreaterThan(SEGMENTS * CHAINS);
    for (let n = 0; n < 5; n++) {
      const next = ring.receive(LARGE + n);
      expect(next.taken).toBe(false);
      expect(next.work).toBeLessThan(first.work / 50);
    }
    expect(ring.machine.card.counters.rxRefused).toBe(6);
  });

  test('costs the walk of what the driver adds, and of no more', () => {
    const ring = new Scanned(packed);
    ring.add(CHAINS - 1);
    const first = ring.receive(LARGE);
    ring.add(1);
    const second = ring.receive(LARGE);
    expect(second.taken).toBe(false);
    expect(second.work).toBeGreaterThan(SEGMENTS);
    expect(second.work).toBeLessThan((2 * first.work) / (CHAINS - 1));
  });

  test('is not walked anew when a frame has taken some of it', () => {
    const ring = new Scanned(packed);
    ring.add(CHAINS);
    const first = ring.receive(LARGE);
    expect(ring.receive(60).taken).toBe(true);
    expect(ring.machine.used(0)).toHaveLength(1);
    const after = ring.receive(LARGE);
    expect(after.taken).toBe(false);
    expect(after.work).toBeLessThan(first.work / 50);
  });
});
