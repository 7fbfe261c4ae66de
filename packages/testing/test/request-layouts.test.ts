import { virtioDevice } from '@virtkit/core';
import { type BlkState, blk } from '@virtkit/device-blk';
import { mmio } from '@virtkit/transport-mmio';
import fc from 'fast-check';
import { expect, test } from 'vitest';

const codec = virtioDevice(mmio, blk);

const segments = fc.array(
  fc.record({ addr: fc.bigInt({ min: 0n, max: 1n << 40n }), len: fc.bigInt({ min: 1n, max: 0x10000n }) }),
  { minLength: 1, maxLength: 5 },
);

/** A list of requests as one device writes it. */
const device: fc.Arbitrary<BlkState> = fc
  .record({
    queue: fc.boolean(),
    ndescs: fc.constantFrom('none' as const, 'before' as const, 'after' as const),
    byteOrder: fc.constantFrom('little' as const, 'big' as const),
  })
  .chain((layout) =>
    fc
      .uniqueArray(fc.record({ index: fc.nat(255), out: segments, in: segments }), {
        minLength: 1,
        maxLength: 4,
        selector: ({ index }) => index,
      })
      .map((elements) => ({
        layout,
        requests: elements.map((element) => ({
          ...(layout.queue && { queue: element.index % 2 }),
          ...(layout.ndescs !== 'none' && { ndescs: element.out.length + element.in.length }),
          element,
        })),
      })),
  );

test('every layout of the request list is recognised by what it holds', () => {
  fc.assert(
    fc.property(device, (state) => {
      const queue = { num: 256, align: 4096, desc: 0n, lastAvailIdx: 0, transport: {} };
      const whole = {
        transport: { hostFeaturesSel: 0, guestFeaturesSel: 0, guestPageShift: 0 },
        status: 15,
        isr: 0,
        queueSel: 0,
        guestFeatures: 0,
        config: new Uint8Array(60),
        queues: state.layout?.queue ? [queue, queue] : [queue],
        device: state,
        subsections: { features64: 0n, started: true },
      };
      expect(codec.decode(codec.encode(whole)).device).toEqual(state);
    }),
    { numRuns: 300 },
  );
});
