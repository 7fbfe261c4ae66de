// Any sequence of what a device may call, at any moment, on both ring formats: the driver sees the same, and so does the device.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Chain } from '../../src/contract/queue.ts';
import { isHostError } from '../../src/live/errors.ts';
import type { Ring } from '../../src/live/ring.ts';
import { type Buffer, type Driver, PackedDriver, SplitDriver } from './driver.ts';
import { Rig, type RigOptions } from './rig.ts';

type Step =
  | {
      readonly op: 'add';
      readonly lengths: readonly number[];
      readonly out: number;
      readonly indirect: boolean;
    }
  | { readonly op: 'push' | 'fill'; readonly which: number; readonly written: number; readonly ahead: number }
  | { readonly op: 'flush'; readonly count: number }
  | { readonly op: 'bytes'; readonly into: number; readonly out: number }
  | { readonly op: 'kicks'; readonly wanted: boolean }
  | { readonly op: 'pop' | 'unpop' | 'take' | 'save' };

const small = fc.nat(4);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant('add' as const),
      lengths: fc.array(fc.integer({ min: 1, max: 80 }), { minLength: 1, maxLength: 4 }),
      out: small,
      indirect: fc.boolean(),
    }),
  },
  { weight: 6, arbitrary: fc.record({ op: fc.constant('pop' as const) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constantFrom('push' as const, 'fill' as const),
      which: small,
      written: fc.nat(300),
      ahead: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.nat(3) }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('flush' as const), count: fc.nat(3) }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('bytes' as const), into: fc.nat(200), out: fc.nat(200) }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('kicks' as const), wanted: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constantFrom('unpop' as const, 'take' as const, 'save' as const) }),
  },
);

interface Taken {
  readonly serial: number;
  chain: Chain;
}

/** A driver and a device, and all that they see, told in the order in which chains were made available. */
class Play {
  readonly log: unknown[] = [];
  readonly #rig: Rig;
  readonly #driver: Driver;
  #queue: Ring;
  readonly #options: RigOptions;
  readonly #serials = new Map<number, number>();
  #serial = 0;
  #waiting = 0;
  #outstanding = 0;
  #taken: Taken[] = [];
  #popped: Taken | undefined;
  #filled = 0;
  #wanted = true;

  constructor(format: 'split' | 'packed', options: RigOptions) {
    this.#options = { size: 16, ...options };
    this.#rig = new Rig(this.#options);
    this.#driver = format === 'split' ? new SplitDriver(this.#rig) : new PackedDriver(this.#rig);
    this.#queue = this.#driver.queue as Ring;
    this.#queue.setNotification(true);
  }

  /** What a device does wrong is an error of its own, and changes nothing. */
  do(it: Step): void {
    try {
      this.#act(it);
    } catch (error) {
      if (!isHostError(error)) throw error;
      this.log.push('HostError');
    }
    this.log.push([this.#queue.isEmpty(), this.#queue.inFlight, this.#queue.held().length]);
  }

  #act(it: Step): void {
    const [queue, driver] = [this.#queue, this.#driver];
    const { log } = this;
    switch (it.op) {
      case 'add':
        this.#add(it.lengths, it.out, it.indirect);
        return;
      case 'pop':
        this.#pop();
        return;
      case 'unpop':
        if (this.#popped === undefined) return;
        queue.unpop(this.#popped.chain);
        this.#taken = this.#taken.filter((other) => other !== this.#popped);
        this.#waiting++;
        this.#popped = undefined;
        return;
      case 'push':
      case 'fill': {
        const one = this.#taken[it.which % Math.max(1, this.#taken.length)];
        if (one === undefined) return;
        if (it.op === 'push') queue.push(one.chain, it.written);
        else queue.fill(one.chain, it.written, it.ahead);
        if (it.op === 'fill') this.#filled++;
        this.#taken = this.#taken.filter((other) => other !== one);
        if (this.#popped === one) this.#popped = undefined;
        return;
      }
      case 'flush':
        queue.flush(it.count);
        this.#filled -= it.count;
        return;
      case 'bytes':
        log.push(queue.availBytes(it.into, it.out));
        return;
      case 'kicks':
        this.#wanted = it.wanted;
        queue.setNotification(it.wanted);
        return;
      case 'take':
        for (const { id, length } of driver.take()) {
          log.push(['used', this.#serials.get(id), length]);
          this.#outstanding--;
        }
        return;
      case 'save':
        // a device that fills flushes before it is left
        if (this.#filled === 0) this.#save();
    }
  }

  #add(lengths: readonly number[], out: number, indirect: boolean): void {
    // fewer chains than either ring has room for: which one is full first is not the same
    if (this.#outstanding === 4) return;
    let addr = 0x10000 + (this.#serial % 32) * 0x400;
    const buffers = lengths.map((length, i): Buffer => {
      const buffer = { addr, length, write: i >= out };
      addr += length + 1;
      return buffer;
    });
    const kicked = this.#driver.kicks();
    const id = this.#driver.add(buffers, indirect);
    if (id === undefined) throw new Error('the ring is full');
    // a device that wants kicks and has taken everything hears of what comes next
    if (this.#wanted && this.#waiting === 0) expect(kicked()).toBe(true);
    this.#serials.set(id, this.#serial++);
    this.#waiting++;
    this.#outstanding++;
  }

  #pop(): void {
    const chain = this.#queue.pop();
    if (chain === undefined) {
      expect(this.#waiting).toBe(0);
      return;
    }
    this.#waiting--;
    const serial = this.#serials.get(chain.index) ?? -1;
    this.#popped = { chain, serial };
    this.#taken.push(this.#popped);
    this.log.push(['popped', serial, chain.element().out, chain.element().in]);
  }

  /** Another queue goes on, with what a saved state has of this one. */
  #save(): void {
    const queue = this.#queue;
    const all = [...queue.held(), ...this.#taken.map(({ chain }) => chain)];
    const saved = all.map((chain) => ({ element: chain.element(), ndescs: chain.ndescs }));
    const held = queue.held().length;
    const indices = { ...queue.indices(), signalled: -1 };
    const { memory } = this.#rig;
    const rig = new Rig({ ...this.#options, memory, indices });
    this.#queue = queue.format === 'split' ? rig.split() : rig.packed();
    const chains = saved.map(({ element, ndescs }) => this.#queue.adopt(element, ndescs));
    expect(chains).not.toContain(undefined);
    expect(this.#queue.inFlight).toBe(saved.length);
    // what was done already, and not told, is done once more
    const serialOf = (chain: Chain): number => this.#serials.get(chain.index) ?? -1;
    this.#taken = chains.flatMap((chain) =>
      chain === undefined ? [] : [{ chain, serial: serialOf(chain) }],
    );
    this.#popped = undefined;
    this.log.push(['saved', held]);
  }

  end(): unknown[] {
    expect(this.#rig.owner.faults).toEqual([]);
    return this.log;
  }
}

function play(format: 'split' | 'packed', steps: readonly Step[], options: RigOptions): unknown[] {
  const one = new Play(format, options);
  for (const it of steps) one.do(it);
  return one.end();
}

describe('one contract', () => {
  test.each([
    ['flags', {}],
    ['EVENT_IDX', { eventIdx: true }],
    ['IN_ORDER', { inOrder: true, eventIdx: true }],
    ['big-endian', { littleEndian: false, eventIdx: true }],
  ] as const)(
    '%s: split and packed show a driver and a device the same, whatever is called',
    (_, options) => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 100, size: 'max' }), (steps) => {
          expect(play('packed', steps, options)).toEqual(play('split', steps, options));
        }),
        { numRuns: 200 },
      );
    },
  );
});
