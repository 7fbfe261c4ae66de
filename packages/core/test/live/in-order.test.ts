// The list that keeps chains in the order in which they were taken, against a plain array.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FILLED, RingChain, TAKEN } from '../../src/live/chain.ts';
import { HostError } from '../../src/live/errors.ts';
import { InOrder } from '../../src/live/in-order.ts';
import { Rig } from './rig.ts';

const rig = new Rig();
const queue = rig.split();

function chainOf(id: number, state = TAKEN): RingChain {
  const chain = new RingChain(queue, rig.memory, id);
  chain.index = id;
  chain.state = state;
  return chain;
}

interface Place {
  readonly id: number;
  chain: RingChain | undefined;
}

type Step = readonly ['append' | 'expect' | 'adopt' | 'finish' | 'publish' | 'unpop' | 'remove', number];
const step: fc.Arbitrary<Step> = fc.tuple(
  fc.constantFrom(
    ...(['append', 'append', 'append', 'expect', 'adopt', 'adopt'] as const),
    ...(['finish', 'finish', 'finish', 'publish', 'publish', 'unpop', 'remove'] as const),
  ),
  fc.nat(5),
);

describe('chains in the order in which they were taken', () => {
  test('whatever is taken, expected, finished, put back or taken out: published is the oldest, once it is finished', () => {
    // what was published behind the end of the list's own ring
    let laps = 0;
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.array(step, { maxLength: 60, size: 'max' }),
        (size, steps) => {
          const order = new InOrder(size);
          let model: Place[] = [];
          let credit = 0;
          let published = 0;
          for (const [op, n] of steps) {
            const place = model[n % Math.max(1, model.length)];
            const last = model.at(-1);
            if (op === 'append' && model.length < size) {
              const chain = chainOf(n);
              order.append(chain);
              model.push({ id: n, chain });
            } else if (op === 'expect') {
              order.expect(n);
              // more than the ring has places for cannot come back
              if (model.length < size) model.push({ id: n, chain: undefined });
            } else if (op === 'adopt') {
              const id = n === 5 ? n : (model.find((one) => one.chain === undefined)?.id ?? n);
              const chain = chainOf(id);
              const awaited = model.find((one) => one.chain === undefined && one.id === id);
              expect(order.adopt(chain)).toBe(awaited !== undefined);
              if (awaited !== undefined) awaited.chain = chain;
            } else if (op === 'finish' && place?.chain?.state === TAKEN) {
              place.chain.state = FILLED;
              order.credit++;
              credit++;
            } else if (op === 'unpop') {
              const chain = place?.chain ?? chainOf(n);
              if (chain === last?.chain) {
                order.unpop(chain);
                model.pop();
              } else expect(() => order.unpop(chain)).toThrow(HostError);
            } else if (op === 'remove' && place?.chain !== undefined) {
              const { chain } = place;
              order.remove(chain);
              model = model.filter((other) => other !== place);
            } else if (op === 'publish') {
              const oldest = model[0]?.chain;
              const next = credit > 0 && oldest?.state === FILLED ? oldest : undefined;
              expect(order.ready()).toBe(next);
              if (next === undefined) continue;
              order.shift();
              model.shift();
              credit--;
              if (published++ >= size) laps++;
            }
            expect(order.held()).toEqual(
              model.flatMap(({ chain }) => (chain?.state === FILLED ? [chain] : [])),
            );
            expect(order.credit).toBe(credit);
          }
        },
      ),
      { numRuns: 500 },
    );
    expect(laps).toBeGreaterThan(10);
  });

  test('what is finished is not shown before the device has flushed it', () => {
    const order = new InOrder(2);
    order.append(chainOf(0, FILLED));
    expect(order.ready()).toBeUndefined();
    order.credit = 1;
    expect(order.ready()?.index).toBe(0);
  });

  test('after a load each expected id comes back once, twice if it was expected twice', () => {
    const order = new InOrder(4);
    for (const id of [3, 1, 3]) order.expect(id);
    const chains = [3, 3, 3, 2, 1].map((id) => chainOf(id, FILLED));
    expect(chains.map((chain) => order.adopt(chain))).toEqual([true, true, false, false, true]);
    expect(order.held()).toEqual([chains[0], chains[4], chains[1]]);
  });

  test('an id of 0 that is expected is no free place', () => {
    const order = new InOrder(4);
    expect(order.adopt(chainOf(0))).toBe(false);
    order.expect(0);
    expect(order.adopt(chainOf(0))).toBe(true);
  });

  test('nothing was taken: nothing can be put back', () => {
    const order = new InOrder(2);
    expect(() => order.unpop(chainOf(0))).toThrow('only the chain that was taken last can be put back');
  });

  test('a chain that was published cannot be put back, though its place is the last one', () => {
    const order = new InOrder(1);
    const chain = chainOf(0, FILLED);
    order.append(chain);
    order.credit = 1;
    order.shift();
    expect(() => order.unpop(chain)).toThrow(HostError);
  });

  test('taken out once is taken out: what moved up is not found again at its old place', () => {
    const order = new InOrder(2);
    const [first, second] = [chainOf(0), chainOf(1)];
    order.append(first);
    order.append(second);
    order.remove(first);
    order.unpop(second);
    expect(() => order.unpop(second)).toThrow(HostError);
    expect(order.held()).toEqual([]);
  });
});
