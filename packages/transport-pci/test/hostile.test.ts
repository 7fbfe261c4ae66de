import fc from 'fast-check';
import { expect, test } from 'vitest';
import { makeRig, type RigOptions } from './rig.ts';

const VARIANTS: readonly (readonly [string, RigOptions])[] = [
  ['legacy', { mode: 'legacy' }],
  ['transitional', { modernPioNotify: true, rom: new Uint8Array(100) }],
  ['modern, packed', { mode: 'modern', rings: { packed: true }, pagePerVq: true }],
  ['express, 2048 vectors', { express: true, vectors: 2048, aer: true, ats: true }],
];

/** Anywhere in a BAR, more often where something is; and where nothing can be. */
const offset = fc.oneof(
  { weight: 6, arbitrary: fc.nat(0x40) },
  { weight: 2, arbitrary: fc.nat(0x60).map((at) => 0x2000 + at) },
  { weight: 2, arbitrary: fc.nat(0x20).map((at) => 0x3000 + at) },
  { weight: 2, arbitrary: fc.nat(0x900) },
  { weight: 1, arbitrary: fc.nat(0x900000) },
  { weight: 1, arbitrary: fc.constantFrom(-1, -4, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, 1.5) },
);
const size = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(1, 2, 4) },
  { weight: 1, arbitrary: fc.constantFrom(0, 3, 8, 9, -1, Number.NaN, 2.5, 2 ** 40) },
);
const value = fc.oneof(
  fc.nat(20),
  fc.nat(0xffffffff),
  fc.constantFrom(-1, Number.NaN, 2 ** 63, 0x1000, 0x10),
);

const access = fc.record({
  target: fc.constantFrom('config', 'bar', 'bar', 'bar', 'memory'),
  bar: fc.constantFrom(0, 1, 2, 4, 4, 4, 6, 3, 9),
  write: fc.boolean(),
  offset,
  size,
  value,
});

test.each(VARIANTS)('%s: whatever a guest does, calls return and one fault is told', (_name, options) => {
  fc.assert(
    fc.property(fc.array(access, { minLength: 50, maxLength: 200 }), (accesses) => {
      const { fn, memory, events } = makeRig(options);
      fn.configWrite(4, 2, 7);
      let breaks = 0;
      for (const one of accesses) {
        const { broken } = fn.device;
        if (one.target === 'memory') memory.writeU32((one.offset & 0xffff) as never, one.value, true);
        else if (one.target === 'config' && one.write) fn.configWrite(one.offset, one.size, one.value);
        else if (one.target === 'config') expect(typeof fn.configRead(one.offset, one.size)).toBe('number');
        else if (one.write) fn.barWrite(one.bar, one.offset, one.size, one.value);
        else expect(fn.barRead(one.bar, one.offset, one.size)).toBeGreaterThanOrEqual(0);
        // an access that is two may break the device and reset it
        if (!broken && (fn.device.broken || one.size > 4)) breaks++;
      }
      const faults = events.filter(({ name }) => name === 'fault').length;
      expect(faults).toBeLessThanOrEqual(breaks);
      // what it has become can be saved
      expect(fn.device.capture().transport.config).toHaveLength(fn.configSize);
    }),
    { numRuns: 60 },
  );
});
