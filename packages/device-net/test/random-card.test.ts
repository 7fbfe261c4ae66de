// A card between a driver and a back end that do what they like: frames that it took arrive whole and in order, and a back end that
// was refused hears when there is room.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hex, Machine } from './machine.ts';

const MERGEABLE = 15;
const EVENT_IDX = 29;
const HEADER = 12;

const operation = fc.oneof(
  fc.record({
    name: fc.constant('offer' as const),
    sizes: fc.array(fc.integer({ min: 100, max: 1700 }), { minLength: 1, maxLength: 3 }),
  }),
  {
    arbitrary: fc.record({
      name: fc.constant('frame' as const),
      bytes: fc.uint8Array({ minLength: 60, maxLength: 1500 }),
    }),
    weight: 2,
  },
  fc.record({
    name: fc.constant('transmit' as const),
    bytes: fc.uint8Array({ minLength: 14, maxLength: 1500 }),
  }),
  fc.record({ name: fc.constant('link' as const), up: fc.boolean() }),
  fc.constant({ name: 'pause' as const }),
  fc.constant({ name: 'announce' as const }),
);

const runs = process.env['VIRTKIT_SLOW'] === undefined ? 150 : 5000;

test('whatever both sides do, no frame that was taken is lost, cut or out of order', {
  timeout: 1_200_000,
}, () => {
  fc.assert(
    fc.property(
      fc.record({ packed: fc.boolean(), mergeable: fc.boolean(), eventIdx: fc.boolean() }),
      fc.array(operation, { minLength: 20, maxLength: 120 }),
      ({ packed, mergeable, eventIdx }, operations) => {
        const without = [...(mergeable ? [] : [MERGEABLE]), ...(eventIdx ? [] : [EVENT_IDX])];
        const machine = new Machine({ rings: { packed }, without });
        const [taken, arrived, sent]: [string[], string[], string[]] = [[], [], []];
        // by chain: where its buffer is
        const buffers = new Map<number, number>();
        let [up, refusedAt] = [true, -1];
        const collect = (): void => {
          const list = machine.used(0);
          for (let i = 0; i < list.length; ) {
            const at = (n: number): number => buffers.get(list[n]?.id ?? -1) ?? 0;
            const count = machine.view.getUint16(at(i) + 10, true);
            let text = '';
            for (let n = 0; n < count; n++) {
              const bytes = machine.read(at(i + n), list[i + n]?.len ?? 0);
              text += hex(n === 0 ? bytes.subarray(HEADER) : bytes);
            }
            arrived.push(text);
            i += count;
          }
        };
        for (const step of operations) {
          collect();
          if (step.name === 'offer') {
            if (machine.ring(0).free.length < 8) continue;
            for (const size of step.sizes) {
              // without merging, a buffer has to hold a whole frame
              const length = mergeable ? size : 1600 + size;
              const addr = machine.alloc(length);
              buffers.set(machine.add(0, [{ addr, len: length, write: true }]), addr);
            }
            machine.driver.kick(0);
            if (refusedAt >= 0) expect(machine.sink.rxReadyCalls).toBeGreaterThan(refusedAt);
            refusedAt = -1;
          } else if (step.name === 'frame') {
            const bytes = Uint8Array.from(step.bytes);
            bytes[0] = 0xff;
            bytes.fill(0xff, 0, 6);
            if (!machine.card.receive(bytes)) refusedAt = machine.sink.rxReadyCalls;
            else if (up) taken.push(hex(bytes));
          } else if (step.name === 'transmit') {
            machine.transmit(step.bytes);
            if (up) sent.push(hex(step.bytes));
            expect(machine.used(1)).toHaveLength(1);
          } else if (step.name === 'link') {
            up = step.up;
            machine.card.setLink(up);
          } else if (step.name === 'announce') machine.card.announce();
          else {
            machine.live.pause();
            machine.live.resume();
          }
        }
        collect();
        expect(machine.faults).toEqual([]);
        expect(arrived).toEqual(taken);
        expect(machine.sink.frames.map(hex)).toEqual(sent);
      },
    ),
    { numRuns: runs },
  );
});
