/** Tables of which only the beginning is in use. */
import { Reader, sparseArray, Trace, u8, u16, u32, vmstate, Writer } from '@virtkit/vmstate';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bytes, decode, encode, errorOf, expectTruncated } from './helpers.ts';

const entry = vmstate('entry', 1).fields({ index: u16, wrap: u8 });
/** Unused entries are zeros. */
const zeros = sparseArray(entry, 9, new Uint8Array(3));
/** Unused entries have the wrap counter set. */
const wraps = sparseArray(entry, 9, bytes('0000 01'));

describe.each([
  ['zeros', zeros, '000000'],
  ['a pattern', wraps, '000001'],
] as const)('an absent entry is %s', (_what, table, absent) => {
  test.each([
    ['none in use', absent.repeat(9), 0],
    ['the first', `000502${absent.repeat(8)}`, 1],
    ['with a gap', `${absent.repeat(3)}000502${absent.repeat(5)}`, 4],
    ['the last', `${absent.repeat(8)}000502`, 9],
    ['one bit of the last byte', `${absent.repeat(8)}0000${absent === '000000' ? '80' : '00'}`, 9],
    ['all', '000502'.repeat(9), 9],
  ] as const)('%s', (_case, hex, length) => {
    const value = decode(table, bytes(hex), undefined);
    expect(value).toHaveLength(length);
    expect(encode(table, value, undefined)).toEqual(bytes(hex));
    expect(table.fromJSON(JSON.parse(JSON.stringify(table.toJSON(value))))).toEqual(value);
    expectTruncated(table, bytes(hex), undefined);
  });

  test('any bytes come back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 27, maxLength: 27 }), fc.nat(27), (random, used) => {
        const input = bytes(absent.repeat(9));
        input.set(random.subarray(0, used));
        expect(encode(table, decode(table, input, undefined), undefined)).toEqual(input);
      }),
    );
  });

  test('takes at most what it has room for', () => {
    const many = Array.from({ length: 10 }, () => ({ index: 1, wrap: 1 }));
    expect(errorOf(() => encode(table, many, undefined))).toMatchObject({
      code: 'count',
      facts: { count: 10, limit: 9 },
    });
    expect(errorOf(() => table.fromJSON(many)).code).toBe('count');
    expect(errorOf(() => table.fromJSON({})).code).toBe('json');
  });
});

describe('a sparse array', () => {
  test('says in a trace what it left out', () => {
    const input = new Reader(bytes(`000502${'000000'.repeat(8)}`), 100);
    const trace = new Trace('', 100);
    input.trace = trace;
    zeros.decode(input, undefined);
    expect(trace.root.children.map(({ name, type, start, end }) => [name, type, start, end])).toEqual([
      ['[0]', 'struct', 100, 103],
      ['[1..8]', 'absent', 103, 127],
    ]);
    const full = new Reader(bytes(`${'000000'.repeat(7)}000502000000`));
    full.trace = new Trace();
    zeros.decode(full, undefined);
    expect(full.trace.root.children.at(-1)).toMatchObject({ name: '[8]', type: 'absent' });
  });

  test('writes over what a used-again writer had there', () => {
    const output = new Writer();
    output.raw(new Uint8Array(64).fill(0xee));
    output.reset();
    zeros.encode(output, [{ index: 1, wrap: 0 }], undefined);
    expect(output.finish()).toEqual(bytes(`000100${'000000'.repeat(8)}`));
  });

  test('names the entry that cannot be written', () => {
    expect(errorOf(() => encode(sparseArray(u32, 4, new Uint8Array(4)), [1, -1], undefined))).toMatchObject({
      code: 'value',
      path: '[1]',
    });
  });
});
