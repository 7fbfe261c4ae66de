/** Every kind of field: value, bytes and JSON by hand; what is refused; cut anywhere. */
import {
  array,
  bool,
  buffer,
  counted,
  countedBytes,
  countedText,
  type Field,
  type Json,
  list,
  macAddress,
  named,
  nullable,
  Reader,
  refine,
  rest,
  s32,
  s64,
  typed,
  u8,
  u16,
  u32,
  u64,
  vmstate,
  withContext,
} from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import { bytes, decode, encode, errorOf, expectTruncated } from './helpers.ts';

interface Kind<T> {
  readonly name: string;
  readonly field: Field<T>;
  readonly type: string;
  readonly rows: readonly (readonly [value: T, hex: string, json: Json])[];
  /** Bytes that cannot be read. */
  readonly badBytes?: readonly (readonly [hex: string, code: string])[];
  /** Values that cannot be written. The compiler would refuse some. */
  readonly badValues?: readonly (readonly [value: unknown, code: string])[];
  readonly badJson?: readonly Json[];
  /** Bytes that are read as a value, which is written in another way. */
  readonly lenient?: readonly (readonly [hex: string, value: T])[];
}

/** Keeps the value type of a row together with its field's. */
const kind = <T>(row: Kind<T>): Kind<unknown> => row as unknown as Kind<unknown>;

const pair = vmstate('pair', 1).fields({ a: u8, b: u16 });
const even = refine(u8, (value) => value % 2 === 0, 'an even number');

const kinds: readonly Kind<unknown>[] = [
  kind({
    name: 'u8',
    field: u8,
    type: 'uint8',
    rows: [
      [0, '00', 0],
      [255, 'ff', 255],
    ],
    badValues: [-1, 256, 1.5, Number.NaN, '1', 1n, undefined].map((value) => [value, 'value'] as const),
    badJson: [null, '1', -1, 256, 0.5, [], {}],
  }),
  kind({
    name: 'u16',
    field: u16,
    type: 'uint16',
    rows: [
      [0x1234, '1234', 0x1234],
      [0xffff, 'ffff', 0xffff],
    ],
    badValues: [[0x10000, 'value']],
    badJson: ['0x1234', 0x10000],
  }),
  kind({
    name: 'u32',
    field: u32,
    type: 'uint32',
    rows: [
      [0x12345678, '12345678', 0x12345678],
      [0xffffffff, 'ffffffff', 0xffffffff],
    ],
    badValues: [
      [2 ** 32, 'value'],
      [-1, 'value'],
    ],
    badJson: [2 ** 32, true],
  }),
  kind({
    name: 's32',
    field: s32,
    type: 'int32',
    rows: [
      [-1, 'ffffffff', -1],
      [-0x80000000, '80000000', -0x80000000],
      [0x7fffffff, '7fffffff', 0x7fffffff],
    ],
    badValues: [[0x80000000, 'value']],
    badJson: [0x80000000, '-1'],
  }),
  kind({
    name: 'u64',
    field: u64,
    type: 'uint64',
    rows: [
      [0n, '0000000000000000', '0x0'],
      [0x123456789abcdef0n, '123456789abcdef0', '0x123456789abcdef0'],
      [0xffffffffffffffffn, 'ffffffffffffffff', '0xffffffffffffffff'],
    ],
    badValues: [
      [1n << 64n, 'value'],
      [-1n, 'value'],
      [1, 'value'],
      ['0x1', 'value'],
    ],
    badJson: ['0x10000000000000000', '-1', '', '0x', 'x', 1.5, 2 ** 53, null],
  }),
  kind({
    name: 's64',
    field: s64,
    type: 'int64',
    rows: [
      [-1n, 'ffffffffffffffff', '-0x1'],
      [-(1n << 63n), '8000000000000000', '-0x8000000000000000'],
      [(1n << 63n) - 1n, '7fffffffffffffff', '0x7fffffffffffffff'],
    ],
    badValues: [[1n << 63n, 'value']],
    badJson: ['0x8000000000000000', '--1'],
  }),
  kind({
    name: 'bool',
    field: bool,
    type: 'bool',
    rows: [
      [false, '00', false],
      [true, '01', true],
    ],
    lenient: [
      ['02', true],
      ['ff', true],
    ],
    badJson: [0, 1, 'true', null],
  }),
  kind({
    name: 'buffer',
    field: buffer(3),
    type: 'buffer',
    rows: [[bytes('00 7f ff'), '00 7f ff', '007fff']],
    badValues: [
      [bytes('00'), 'length'],
      [bytes('00000000'), 'length'],
    ],
    badJson: ['007f', '007fff0', '007fgg', 3, [0, 1, 2]],
  }),
  kind({
    name: 'rest',
    field: rest,
    type: 'buffer',
    rows: [
      [bytes(''), '', ''],
      [bytes('05 06'), '05 06', '0506'],
    ],
    badJson: ['0', null],
  }),
  kind({
    name: 'MAC address',
    field: macAddress,
    type: 'buffer',
    rows: [[bytes('52 54 00 12 34 56'), '525400123456', '52:54:00:12:34:56']],
    badValues: [[bytes('52'), 'length']],
    badJson: ['525400123456', '52:54:00:12:34', '52:54:00:12:34:5g', 6],
  }),
  kind({
    name: 'array',
    field: array(u16, 2),
    type: 'uint16',
    rows: [[[1, 0xffff], '0001 ffff', [1, 0xffff]]],
    badValues: [
      [[1], 'length'],
      [[1, 2, 3], 'length'],
      [[1, -1], 'value'],
    ],
    badJson: [[1], [1, 2, 3], [1, 'x'], '1,2', null],
  }),
  kind({
    name: 'array of nothing',
    field: array(u64, 0),
    type: 'uint64',
    rows: [[[], '', []]],
    badJson: [[1]],
  }),
  kind({
    name: 'array of structures',
    field: array(pair, 2),
    type: 'struct',
    rows: [
      [
        [
          { a: 1, b: 2 },
          { a: 3, b: 4 },
        ],
        '01 0002 03 0004',
        [
          { a: 1, b: 2 },
          { a: 3, b: 4 },
        ],
      ],
    ],
    badJson: [[{ a: 1, b: 2 }, { a: 1 }]],
  }),
  kind({
    name: 'counted',
    field: counted(u8, u16, 3),
    type: 'uint16',
    rows: [
      [[], '00', []],
      [[7, 8, 9], '03 0007 0008 0009', [7, 8, 9]],
    ],
    badBytes: [
      ['04 0001 0002 0003 0004', 'count'],
      ['03 0001', 'truncated'],
    ],
    badValues: [[[1, 2, 3, 4], 'count']],
    badJson: ['x', [70_000]],
  }),
  kind({
    name: 'counted by a signed number',
    field: counted(s32, u8, 3),
    type: 'uint8',
    rows: [[[9], '00000001 09', [9]]],
    badBytes: [
      ['ffffffff', 'count'],
      ['7fffffff', 'count'],
    ],
  }),
  kind({
    name: 'counted bytes',
    field: countedBytes(u32, 4),
    type: 'buffer',
    rows: [
      [bytes(''), '00000000', ''],
      [bytes('01020304'), '00000004 01020304', '01020304'],
    ],
    badBytes: [
      ['00000005 0102030405', 'count'],
      ['00000004 010203', 'truncated'],
    ],
    badValues: [[bytes('0102030405'), 'count']],
  }),
  kind({
    name: 'bytes counted by a signed number',
    field: countedBytes(s32, 4),
    type: 'buffer',
    rows: [[bytes('01'), '00000001 01', '01']],
    badBytes: [['ffffffff', 'count']],
  }),
  kind({
    name: 'counted text',
    field: countedText(u8, 8),
    type: 'buffer',
    rows: [
      ['pc', '02 "pc"', 'pc'],
      ['\0\u00ff', '02 00 ff', '\0\u00ff'],
    ],
    badBytes: [['09 "ninechars"', 'count']],
    badValues: [
      ['ninechars', 'count'],
      ['\u0100', 'value'],
    ],
    badJson: [null, 1, ['pc']],
  }),
  kind({
    name: 'list',
    field: list(u16, 2),
    type: 'qtailq',
    rows: [
      [[], '00', []],
      [[1, 2], '01 0001 01 0002 00', [1, 2]],
    ],
    lenient: [['07 0001 00', [1]]],
    badBytes: [
      ['01 0001 01 0002 01 0003 00', 'count'],
      ['01 0001', 'truncated'],
    ],
    badValues: [[[1, 2, 3], 'count']],
    badJson: [{ 0: 1 }],
  }),
  kind({
    name: 'nullable',
    field: nullable(pair),
    type: 'struct',
    rows: [
      [null, '30', null],
      [{ a: 0x31, b: 1 }, '31 0001', { a: 0x31, b: 1 }],
    ],
    // it would come back as null
    badValues: [[{ a: 0x30, b: 1 }, 'value']],
    badJson: [[], { a: 1 }],
  }),
  kind({
    name: 'refined',
    field: even,
    type: 'uint8',
    rows: [[4, '04', 4]],
    badBytes: [['05', 'value']],
    badValues: [[5, 'value']],
    badJson: [5, '4'],
  }),
  kind({
    name: 'typed and named',
    field: named('wire', typed('int32 le', s32)),
    type: 'int32 le',
    rows: [[2, '00000002', 2]],
  }),
  kind({
    name: 'structure',
    field: pair,
    type: 'struct',
    rows: [[{ a: 1, b: 2 }, '01 0002', { a: 1, b: 2 }]],
    badValues: [
      [{ a: 1 }, 'missing'],
      [{ a: 1, b: 70_000 }, 'value'],
    ],
    badJson: [{ a: 1 }, { a: 1, b: 2, c: 3 }, [1, 2], null, 7],
  }),
];

describe.each(kinds)('$name', ({ field, type, rows, badBytes, badValues, badJson, lenient }) => {
  test('has its type in the vmdesc, and a size that is not too large', () => {
    expect(field.type).toBe(type);
    for (const [, hex] of rows) expect(field.minSize).toBeLessThanOrEqual(bytes(hex).length);
  });

  test('is these bytes and this JSON', () => {
    for (const [value, hex, json] of rows) {
      expect(encode(field, value, undefined), hex).toEqual(bytes(hex));
      expect(decode(field, bytes(hex), undefined), hex).toEqual(value);
      expect(field.toJSON(value), hex).toEqual(json);
      expect(field.fromJSON(JSON.parse(JSON.stringify(json))), hex).toEqual(value);
    }
  });

  test('says when bytes are missing', () => {
    for (const [, hex] of rows) {
      if (field === rest) continue;
      expectTruncated(field, bytes(hex), undefined);
    }
  });

  test('reads what others may have written', () => {
    for (const [hex, value] of lenient ?? []) expect(decode(field, bytes(hex), undefined)).toEqual(value);
  });

  test('refuses', () => {
    for (const [hex, code] of badBytes ?? []) {
      const error = errorOf(() => field.decode(new Reader(bytes(hex), 500), undefined));
      expect([error.code, error.offset], hex).toEqual([code, expect.any(Number)]);
      expect(error.offset, hex).toBeGreaterThanOrEqual(500);
    }
    for (const [value, code] of badValues ?? [])
      expect(errorOf(() => encode(field, value, undefined)).code, String(value)).toBe(code);
    for (const json of badJson ?? []) expect(() => field.fromJSON(json), JSON.stringify(json)).toThrow();
    for (const json of badJson ?? [])
      expect(['json', 'value', 'length', 'count'], JSON.stringify(json)).toContain(
        errorOf(() => field.fromJSON(json)).code,
      );
  });
});

describe('fields', () => {
  test('copy bytes: a value does not change with the input', () => {
    const input = bytes('01 02 03');
    const value = buffer(3).decode(new Reader(input), undefined);
    input.fill(0);
    expect(value).toEqual(bytes('01 02 03'));
  });

  test('take Buffers for what they are', () => {
    const input = Buffer.from([1, 2, 3]);
    const value = buffer(3).decode(new Reader(input), undefined);
    input.fill(0);
    expect(value).toEqual(bytes('01 02 03'));
    expect(value.constructor).toBe(Uint8Array);
  });

  test('accept 64-bit numbers in JSON as small numbers and decimal text, too', () => {
    expect(u64.fromJSON(7)).toBe(7n);
    expect(u64.fromJSON('18446744073709551615')).toBe(0xffffffffffffffffn);
    expect(s64.fromJSON('-9')).toBe(-9n);
  });

  test('name the element that is wrong', () => {
    const table = array(array(u8, 2), 2);
    expect(
      errorOf(() =>
        encode(
          table,
          [
            [1, 2],
            [3, 400],
          ],
          undefined,
        ),
      ).path,
    ).toBe('[1][1]');
    expect(
      errorOf(() =>
        table.fromJSON([
          [1, 2],
          [3, 'x'],
        ]),
      ).path,
    ).toBe('[1][1]');
    expect(errorOf(() => list(even, 9).decode(new Reader(bytes('01 02 01 03 00')), undefined))).toMatchObject(
      {
        path: '[1]',
        offset: 3,
        facts: { value: 3, expected: 'an even number' },
      },
    );
  });

  test('allocate nothing from a count that the bytes cannot hold', () => {
    const huge = counted(u32, u64, 0xffffffff);
    const error = errorOf(() => huge.decode(new Reader(bytes('ffffffff 00')), undefined));
    expect(error).toMatchObject({ code: 'truncated', facts: { count: 0xffffffff, available: 1 } });
    const empty = counted(u32, vmstate('nothing', 1), 0xffffffff);
    expect(errorOf(() => empty.decode(new Reader(bytes('ffffffff')), undefined)).code).toBe('truncated');
  });

  test('know their context where it was decided', () => {
    const field = vmstate<{ readonly wide: boolean }>('demo', 1)
      .when((_state, { wide }) => wide, { high: u8 })
      .fields({ low: u8 });
    expect(decode(withContext(field, { wide: true }), bytes('01 02'), undefined)).toEqual({
      high: 1,
      low: 2,
    });
    expect(decode(withContext(field, { wide: false }), bytes('02'), undefined)).toEqual({ low: 2 });
    expect(encode(withContext(field, { wide: true }), { high: 1, low: 2 }, undefined)).toEqual(
      bytes('01 02'),
    );
  });
});
