/** Structures: versions, conditions, computed lengths, subsections. */
import {
  bool,
  leaves,
  list,
  nodeAt,
  Reader,
  s32,
  snakeCase,
  Trace,
  u8,
  u16,
  u32,
  u64,
  type ValueOf,
  vmstate,
  Writer,
} from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import { bytes, decode, encode, errorOf, expectTruncated, traced } from './helpers.ts';

/** Bytes of a subsection's header. */
const sub = (name: string, version = 1): string =>
  `05 ${name.length.toString(16).padStart(2, '0')} "${name}" ${version.toString(16).padStart(8, '0')}`;

describe('conditions and computed lengths', () => {
  const demo = vmstate<{ readonly legacy: boolean }>('demo', 1)
    .fields({ flags: u8 })
    .when(({ flags }) => (flags & 1) !== 0, { wide: u16 })
    .when((_state, { legacy }) => legacy, { old: u8 })
    .fields({ count: u8 })
    .unused(2)
    .array('sizes', u16, ({ count }) => count)
    .bytes('name', ({ flags }) => flags >> 4);

  test.each([
    ['nothing', '00 00 0000', { flags: 0, count: 0, sizes: [], name: bytes('') }, false],
    [
      'a field by a field',
      '01 1234 00 0000',
      { flags: 1, wide: 0x1234, count: 0, sizes: [], name: bytes('') },
      false,
    ],
    ['a field by context', '00 07 00 0000', { flags: 0, old: 7, count: 0, sizes: [], name: bytes('') }, true],
    [
      'lengths by fields',
      '20 02 0000 0001 0002 "ab"',
      { flags: 0x20, count: 2, sizes: [1, 2], name: bytes('"ab"') },
      false,
    ],
  ] as const)('%s', (_what, hex, state, legacy) => {
    expect(decode(demo, bytes(hex), { legacy })).toEqual(state);
    expect(encode(demo, state, { legacy })).toEqual(bytes(hex));
    expect(demo.fromJSON(JSON.parse(JSON.stringify(demo.toJSON(state))))).toEqual(state);
    expectTruncated(demo, bytes(hex), { legacy });
  });

  test('unused bytes may be anything, and are written as zeros', () => {
    const state = decode(demo, bytes('00 00 beef'), { legacy: false });
    expect(state).not.toHaveProperty('unused');
    expect(encode(demo, state, { legacy: false })).toEqual(bytes('00 00 0000'));
  });

  test('a state has just the fields that its conditions ask for', () => {
    const base = { flags: 0, count: 0, sizes: [], name: bytes('') };
    const error = (state: ValueOf<typeof demo>): [string, string] => {
      const { code, path } = errorOf(() => encode(demo, state, { legacy: false }));
      return [code, path];
    };
    expect(error({ ...base, flags: 1 })).toEqual(['missing', 'wide']);
    expect(error({ ...base, wide: 1 })).toEqual(['unexpected', 'wide']);
    expect(error({ ...base, old: 1 })).toEqual(['unexpected', 'old']);
    expect(error({ ...base, count: 1 })).toEqual(['length', 'sizes']);
    expect(error({ ...base, flags: 0x10 })).toEqual(['length', 'name']);
    expect(error({ ...base, count: 1, sizes: [65536] })).toEqual(['value', 'sizes[0]']);
  });

  test('a length below zero is refused before anything is made of it', () => {
    const signed = vmstate('demo', 1)
      .fields({ count: s32 })
      .array('items', u8, ({ count }) => count)
      .bytes('name', ({ count }) => count);
    expect(errorOf(() => signed.decode(new Reader(bytes('ffffffff'), 8), undefined))).toMatchObject({
      code: 'count',
      path: 'items',
      offset: 12,
      facts: { count: -1 },
    });
    expect(errorOf(() => signed.fromJSON({ count: -1, items: [], name: '' })).code).toBe('count');
    const fraction = vmstate('demo', 1)
      .fields({ count: u8 })
      .bytes('name', ({ count }) => count / 2);
    expect(errorOf(() => fraction.decode(new Reader(bytes('03 00 00')), undefined)).code).toBe('count');
  });

  test('errors say path and offset through every level', () => {
    const inner = vmstate('inner', 1).fields({
      a: u8,
      deep: list(vmstate('leaf', 1).fields({ x: u8, y: u32 }), 4),
    });
    const outer = vmstate('outer', 1).fields({ head: u16, inner });
    const error = errorOf(() =>
      outer.decode(new Reader(bytes('0001 02 01 03 00000004 01 05 00'), 0x100), undefined),
    );
    expect(error).toMatchObject({ code: 'truncated', path: 'inner.deep[1].y', offset: 0x10b });
    expect(error.message).toBe('inner.deep[1].y: 4 bytes wanted, 1 left (at byte 0x10b)');
  });
});

describe('versions', () => {
  const ranged = vmstate('demo', { minimum: 1, version: 3 })
    .fields({ a: u8 })
    .since(2, { b: u8 })
    .since(3, { c: u8 })
    .fields({ z: u8 });

  test.each([
    [1, '01 09', { version: 1, a: 1, z: 9 }],
    [2, '01 02 09', { version: 2, a: 1, b: 2, z: 9 }],
    [3, '01 02 03 09', { version: 3, a: 1, b: 2, c: 3, z: 9 }],
  ] as const)('version %i is read, kept and written again', (version, hex, state) => {
    expect(ranged.decodeVersion(new Reader(bytes(hex)), version, undefined)).toEqual(state);
    expect(encode(ranged, state, undefined)).toEqual(bytes(hex));
    expect(ranged.fromJSON(ranged.toJSON(state))).toEqual(state);
  });

  test('without a number, the newest is meant', () => {
    expect(decode(ranged, bytes('01 02 03 09'), undefined).version).toBe(3);
  });

  test.each([0, 4, 1.5, Number.NaN])('version %d is not written', (version) => {
    const error = errorOf(() => encode(ranged, { version, a: 1, z: 9 }, undefined));
    expect([error.code, error.path]).toEqual(['version', 'version']);
  });

  test('fields of another version are refused', () => {
    expect(errorOf(() => encode(ranged, { version: 1, a: 1, b: 2, z: 9 }, undefined))).toMatchObject({
      code: 'unexpected',
      path: 'b',
    });
    expect(errorOf(() => encode(ranged, { version: 2, a: 1, z: 9 }, undefined))).toMatchObject({
      code: 'missing',
      path: 'b',
    });
    expect(errorOf(() => ranged.fromJSON({ a: 1, z: 9 }))).toMatchObject({ code: 'json', path: 'version' });
  });

  test('since() without a range: the fields are there', () => {
    const plain = vmstate('demo', 2).fields({ a: u8 }).since(2, { b: u8 });
    expect(decode(plain, bytes('01 02'), undefined)).toEqual({ a: 1, b: 2 });
    expect(plain.decodeVersion(new Reader(bytes('01')), 1, undefined)).toEqual({ a: 1 });
  });
});

describe('subsections', () => {
  const history = vmstate('demo/history', { minimum: 1, version: 2 })
    .fields({ length: u8 })
    .since(2, { depth: u8 });
  const nested = vmstate('demo/tree', 1).fields({ root: u8 }).subsection('leaves', 'demo/tree/leaves', u16);
  const demo = vmstate('demo', 1)
    .fields({ a: u8 })
    .subsection('broken', 'demo/broken', bool)
    .subsection('history', 'demo/history', history)
    .subsection('tree', 'demo/tree', nested)
    .subsection('counter', 'demo/counter', u32, { version: 3, minimum: 2 });

  test.each([
    ['none', '01', { a: 1 }],
    ['one', `01 ${sub('demo/broken')} 01`, { a: 1, broken: true }],
    [
      'a declaration in its old version',
      `01 ${sub('demo/history')} 05`,
      { a: 1, history: { version: 1, length: 5 } },
    ],
    [
      'the same in its new one',
      `01 ${sub('demo/history', 2)} 05 06`,
      { a: 1, history: { version: 2, length: 5, depth: 6 } },
    ],
    [
      'one in another',
      `01 ${sub('demo/tree')} 07 ${sub('demo/tree/leaves')} 0102`,
      { a: 1, tree: { root: 7, leaves: 0x102 } },
    ],
    [
      'all',
      `01 ${sub('demo/broken')} 00 ${sub('demo/history')} 05 ${sub('demo/tree')} 07 ${sub('demo/counter', 3)} 00000009`,
      { a: 1, broken: false, history: { version: 1, length: 5 }, tree: { root: 7 }, counter: 9 },
    ],
  ] as const)('%s', (_what, hex, state) => {
    expect(decode(demo, bytes(hex), undefined)).toEqual(state);
    expect(encode(demo, state, undefined)).toEqual(bytes(hex));
    expect(demo.fromJSON(JSON.parse(JSON.stringify(demo.toJSON(state))))).toEqual(state);
  });

  test('are read in any order, and written in the declared one', () => {
    const state = decode(
      demo,
      bytes(`01 ${sub('demo/counter', 3)} 00000009 ${sub('demo/broken')} 01`),
      undefined,
    );
    expect(state).toEqual({ a: 1, broken: true, counter: 9 });
    expect(encode(demo, state, undefined)).toEqual(
      bytes(`01 ${sub('demo/broken')} 01 ${sub('demo/counter', 3)} 00000009`),
    );
  });

  test.each([
    [
      'unknown',
      `01 ${sub('demo/brokex')} 01`,
      'unknown-subsection',
      '',
      { subsection: 'demo/brokex', vmsd: 'demo' },
    ],
    [
      'unknown, without a slash',
      `01 ${sub('demolition')}`,
      'unknown-subsection',
      '',
      { subsection: 'demolition' },
    ],
    [
      'twice',
      `01 ${sub('demo/broken')} 01 ${sub('demo/broken')} 01`,
      'duplicate-subsection',
      '',
      { subsection: 'demo/broken' },
    ],
    [
      'unknown in another',
      `01 ${sub('demo/tree')} 07 ${sub('demo/tree/x')}`,
      'unknown-subsection',
      'tree',
      {},
    ],
    [
      'too new',
      `01 ${sub('demo/broken', 2)} 01`,
      'version',
      'broken',
      { version: 2, minimum: 1, maximum: 1 },
    ],
    [
      'too old',
      `01 ${sub('demo/counter', 1)} 00000009`,
      'version',
      'counter',
      { version: 1, minimum: 2, maximum: 3 },
    ],
    ['version 0', `01 ${sub('demo/history', 0)} 05`, 'version', 'history', { version: 0 }],
  ] as const)('%s: refused', (_what, hex, code, path, facts) => {
    const error = errorOf(() => demo.decode(new Reader(bytes(hex), 64), undefined));
    expect(error).toMatchObject({ code, path, facts });
    expect(error.offset).toBeGreaterThan(64);
  });

  test("a version's low byte is what counts, as in QEMU", () => {
    expect(decode(demo, bytes(`01 ${sub('demo/broken', 257)} 01`), undefined)).toEqual({
      a: 1,
      broken: true,
    });
  });

  test('what does not begin with the own name belongs to somebody further out', () => {
    for (const behind of [
      '05',
      '05 04 "demo"',
      '05 0b "demo/broke"',
      `${sub('other/one')} 00`,
      '04 0b "demo/broken"',
    ]) {
      const input = new Reader(bytes(`01 ${behind}`));
      expect(demo.decode(input, undefined), behind).toEqual({ a: 1 });
      expect(input.offset, behind).toBe(1);
    }
  });

  test('cut inside, it is one error; cut in the name, the rest is nobody’s', () => {
    const whole = bytes(`01 ${sub('demo/tree')} 07 ${sub('demo/tree/leaves')} 0102`);
    const fine: number[] = [];
    for (let length = 0; length <= whole.length; length++) {
      try {
        demo.decode(new Reader(whole.subarray(0, length)), undefined);
        fine.push(length);
      } catch (error) {
        expect(
          errorOf(() => {
            throw error;
          }).code,
        ).toBe('truncated');
      }
    }
    const first = 1 + 2 + 'demo/tree'.length;
    const second = first + 5 + 2 + 'demo/tree/leaves'.length;
    const range = (from: number, to: number): number[] =>
      Array.from({ length: to - from }, (_, i) => from + i);
    expect(fine).toEqual([...range(1, first), ...range(first + 5, second), whole.length]);
  });

  test('`needed` is the sender’s rule: missing state is an error, surplus is left out', () => {
    const ruled = vmstate<{ readonly modern: boolean }>('demo', 1)
      .fields({ a: u8 })
      .subsection('extra', 'demo/extra', u8, { needed: ({ a }, { modern }) => modern && a > 1 });
    expect(encode(ruled, { a: 2, extra: 3 }, { modern: true })).toEqual(bytes(`02 ${sub('demo/extra')} 03`));
    expect(encode(ruled, { a: 1, extra: 3 }, { modern: true })).toEqual(bytes('01'));
    expect(encode(ruled, { a: 2, extra: 3 }, { modern: false })).toEqual(bytes('02'));
    expect(errorOf(() => encode(ruled, { a: 2 }, { modern: true }))).toMatchObject({
      code: 'missing',
      path: 'extra',
    });
    // the reader takes what is there
    expect(decode(ruled, bytes(`01 ${sub('demo/extra')} 03`), { modern: false })).toEqual({ a: 1, extra: 3 });
  });

  test('JSON: names that nobody declared are refused, with their path', () => {
    expect(errorOf(() => demo.fromJSON({ a: 1, tree: { root: 1, leafs: 2 } }))).toMatchObject({
      code: 'json',
      path: 'tree.leafs',
    });
    expect(errorOf(() => demo.fromJSON({ broken: true }))).toMatchObject({ code: 'json', path: 'a' });
    expect(errorOf(() => demo.fromJSON(JSON.parse('{"a":1,"__proto__":{}}')))).toMatchObject({
      code: 'json',
    });
    expect(demo.fromJSON({ a: 1 })).toEqual({ a: 1 });
  });
});

describe('traces', () => {
  const demo = vmstate('demo', 1)
    .fields({ head: u8 })
    .unused(1)
    .array('items', vmstate('item', 1).fields({ firstOne: u16, second: u8 }), ({ head }) => head)
    .subsection('late', 'demo/late', u64);
  const body = bytes(`02 00 0001 02 0003 04 ${sub('demo/late')} 0000000000000005`);

  test('say of every byte which field it is in', () => {
    const trace = traced(demo, body, undefined, 0x40);
    expect(
      [...leaves(trace.root)].map(({ path, node }) => [
        path,
        node.wire,
        node.type,
        node.start - 0x40,
        node.end - 0x40,
      ]),
    ).toEqual([
      ['head', 'head', 'uint8', 0, 1],
      ['unused1', 'unused', 'unused_buffer', 1, 2],
      ['items[0].firstOne', 'first_one', 'uint16', 2, 4],
      ['items[0].second', 'second', 'uint8', 4, 5],
      ['items[1].firstOne', 'first_one', 'uint16', 5, 7],
      ['items[1].second', 'second', 'uint8', 7, 8],
      ['late', 'demo/late', 'uint64', 8, 8 + 6 + 9 + 8],
    ]);
    expect(nodeAt(trace.root, 'items[1].firstOne')?.value).toBe(3);
    expect(nodeAt(trace.root, 'items[2]')).toBeUndefined();
    expect(nodeAt(trace.root, 'item')).toBeUndefined();
    expect(nodeAt(trace.root, '')).toBe(trace.root);
  });

  test('are the same when encoding', () => {
    const output = new Writer();
    output.trace = new Trace();
    demo.encode(output, decode(demo, body, undefined), undefined);
    const shape = (trace: Trace): unknown[] =>
      [...leaves(trace.root)].map(({ path, node }) => [path, node.type, node.start, node.end]);
    expect(shape(output.trace)).toEqual(shape(traced(demo, body, undefined)));
  });

  test('can be wound back', () => {
    const trace = new Trace();
    trace.enter('kept', 'kept', 'uint8', 0);
    trace.leave(1, 1);
    const mark = trace.mark();
    trace.enter('tried', 'tried', 'struct', 1);
    trace.enter('deep', 'deep', 'uint8', 1);
    trace.rewind(mark);
    trace.enter('chosen', 'chosen', 'uint8', 1);
    trace.leave(2, 2);
    expect(trace.root.children.map(({ name }) => name)).toEqual(['kept', 'chosen']);
    expect(trace.current).toBe(trace.root);
  });
});

test('names are as QEMU spells them', () => {
  expect(['lastAvailIdx', 'num', 'ccwFmt1', 'migratedSchid'].map(snakeCase)).toEqual([
    'last_avail_idx',
    'num',
    'ccw_fmt1',
    'migrated_schid',
  ]);
});
