// Records of RAM, in tables of bytes: what each says, wherever it is cut, and what each wrong one is told by.
import { describe, expect, test } from 'vitest';
import { type RamOptions, RamParser } from '../src/ram.ts';
import { CallLog, errorOf } from './calls.ts';
import { be32, be64, join, text } from './made.ts';

const PAGE_BITS = 10;
const PAGE = 1 << PAGE_BITS;
const PLAIN: RamOptions = { pageBits: () => PAGE_BITS, ignoreShared: false, mappedRam: false };
/** Offset in the stream of the first byte, so that a place in the bytes is no place in the stream. */
const BASE = 5000;

const named = (name: string): Uint8Array => join(Uint8Array.of(name.length), text(name));
/** The first word of a record. */
const head = (flags: number, offset = 0): Uint8Array => be64(offset + flags);
const block = (name: string, length: number): Uint8Array => join(named(name), be64(length));
const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);
const mapped = (version: number, bitmap: number, pages: number): Uint8Array =>
  join(be32(version), be64(0x400), be64(bitmap), be64(pages));

const ZERO = 0x02;
const MEM_SIZE = 0x04;
const FULL_PAGE = 0x08;
const EOS = 0x10;
const SAME = 0x20;
const XBZRLE = 0x40;
const HOOK = 0x80;
const COMPRESSED = 0x100;
const FLUSH = 0x200;

/** The list of two blocks: `a` of four pages, `bb` of two. */
const LIST = join(head(MEM_SIZE, 0x1800), block('a', 0x1000), block('bb', 0x800));

/**
 * Reads sections of RAM whose bytes come in pieces, as a stream's reader does: what is not consumed comes once more.
 *
 * @param cut how long the next piece is
 */
function read(
  sections: readonly Uint8Array[],
  options: RamOptions = PLAIN,
  cut: (left: number) => number = (left) => left,
): readonly string[] {
  const log = new CallLog();
  const parser = new RamParser(log, options);
  const stream = join(...sections);
  let from = 0;
  let known = 0;
  for (let n = 0; n < sections.length; n++) {
    parser.begin();
    expect(parser.done).toBe(false);
    while (!parser.done) {
      if (known === stream.length) throw new Error(`section ${n} has no end`);
      known = Math.min(stream.length, Math.max(known, from) + cut(stream.length - known));
      const piece = stream.subarray(from, known);
      // two bytes in front of it that are none of its own
      const used = parser.consume(join(Uint8Array.of(0xff, 0xff), piece), 2, BASE + from - 2, false) - 2;
      if (used < 0 || used > piece.length) throw new Error(`${used} of ${piece.length} bytes`);
      from += used;
      if (parser.done) known = from;
    }
  }
  expect(from).toBe(stream.length);
  return log.calls;
}

const ORDINARY = [
  join(
    LIST,
    // the first pages name their block, the others are of the same one, across sections too
    head(FULL_PAGE, 0xc00),
    named('a'),
    filled(PAGE, 1),
    head(FULL_PAGE | SAME, 0),
    filled(PAGE, 2),
    head(ZERO | SAME, 0x400),
    Uint8Array.of(0),
    head(EOS),
  ),
  join(
    head(ZERO | SAME, 0xc00),
    Uint8Array.of(0),
    head(FULL_PAGE | SAME, 0xc00),
    filled(PAGE, 3),
    head(ZERO, 0x400),
    named('bb'),
    Uint8Array.of(0),
    head(XBZRLE | SAME, 0),
    Uint8Array.of(1, 0, 5),
    filled(5, 4),
    head(XBZRLE, 0x800),
    named('a'),
    Uint8Array.of(1, 4, 0),
    filled(PAGE, 5),
    head(FLUSH),
    head(COMPRESSED | SAME, 0x400),
    Uint8Array.of(0, 0, 0, 3),
    filled(3, 6),
    head(COMPRESSED, 0x400),
    named('bb'),
    Uint8Array.of(0, 0, 8, 0),
    filled(2 * PAGE, 7),
    head(HOOK, 0x7000),
    head(HOOK | SAME),
    head(EOS | SAME, 0x400),
  ),
  head(EOS),
];

const ORDINARY_CALLS = [
  'ramSize 6144',
  'ramBlock {"name":"a","length":4096}',
  'ramBlock {"name":"bb","length":2048}',
  'ramPage 0x8 0xc00 of 0',
  'ramData 1024 bytes 0101010101010101 to 0101010101010101',
  'ramPage 0x28 0x0 of 0',
  'ramData 1024 bytes 0202020202020202 to 0202020202020202',
  'ramPage 0x22 0x400 of 0',
  'ramData 00',
  'ramMark 0x10 0x0',
  'ramPage 0x22 0xc00 of 0',
  'ramData 00',
  'ramPage 0x28 0xc00 of 0',
  'ramData 1024 bytes 0303030303030303 to 0303030303030303',
  'ramPage 0x2 0x400 of 1',
  'ramData 00',
  'ramPage 0x60 0x0 of 1',
  'ramData 0100050404040404',
  'ramPage 0x40 0x800 of 0',
  'ramData 1027 bytes 0104000505050505 to 0505050505050505',
  'ramMark 0x200 0x0',
  'ramPage 0x120 0x400 of 0',
  'ramData 00000003060606',
  'ramPage 0x100 0x400 of 1',
  'ramData 2052 bytes 0000080007070707 to 0707070707070707',
  'ramMark 0x80 0x7000',
  'ramMark 0xa0 0x0',
  'ramMark 0x30 0x400',
  'ramMark 0x10 0x0',
];

const SHARED: RamOptions = { ...PLAIN, ignoreShared: true };
const MAPPED: RamOptions = { ...PLAIN, mappedRam: true };
const BOTH: RamOptions = { ...PLAIN, mappedRam: true, ignoreShared: true };
const OLD: RamOptions = { ...PLAIN, ignoreShared: undefined };
const longName = 'n'.repeat(255);

const STREAMS: readonly [string, RamOptions, readonly Uint8Array[], readonly string[]][] = [
  ['every kind of record', PLAIN, ORDINARY, ORDINARY_CALLS],
  [
    'blocks with their addresses (x-ignore-shared)',
    SHARED,
    [
      join(
        head(MEM_SIZE, 0xc00),
        block(longName, 0x800),
        be64(0x1_2345_6000),
        block('b', 0x400),
        be64(0),
        head(EOS),
      ),
    ],
    [
      'ramSize 3072',
      `ramBlock {"name":"${longName}","length":2048,"address":"4886716416n"}`,
      'ramBlock {"name":"b","length":1024,"address":"0n"}',
      'ramMark 0x10 0x0',
    ],
  ],
  [
    'blocks with a region each (mapped-ram), one of them shared',
    BOTH,
    [
      join(
        head(MEM_SIZE, 0xc00),
        block('a', 0x800),
        be64(16),
        mapped(1, 100, 104),
        filled(4 + 0x800, 9),
        block('b', 0x400),
        be64(32),
        mapped(1, 0, 0),
        head(EOS),
      ),
    ],
    [
      'ramSize 3072',
      'ramBlock {"name":"a","length":2048,"address":"16n","mapped":{"version":1,"pageSize":"1024n","bitmapOffset":"100n","pagesOffset":"104n"}}',
      'ramRegion 2052 bytes 0909090909090909 to 0909090909090909',
      'ramBlock {"name":"b","length":1024,"address":"32n","mapped":{"version":1,"pageSize":"1024n","bitmapOffset":"0n","pagesOffset":"0n"}}',
      'ramMark 0x10 0x0',
    ],
  ],
  [
    'regions without addresses, the last one right in front of the end',
    MAPPED,
    [join(head(MEM_SIZE, 0x400), block('a', 0x400), mapped(1, 8, 8), filled(0x400, 9), head(EOS))],
    [
      'ramSize 1024',
      'ramBlock {"name":"a","length":1024,"mapped":{"version":1,"pageSize":"1024n","bitmapOffset":"8n","pagesOffset":"8n"}}',
      'ramRegion 1024 bytes 0909090909090909 to 0909090909090909',
      'ramMark 0x10 0x0',
    ],
  ],
  [
    'the page size of a block on huge pages, which nothing announces',
    PLAIN,
    [
      join(
        head(MEM_SIZE, 0xc00),
        block('a', 0x400),
        block('b', 0x400),
        be64(0x1_0020_0000),
        block('c', 0x400),
        be64(0x20_0000),
        head(FULL_PAGE),
        named('c'),
        filled(PAGE, 1),
        head(EOS),
      ),
    ],
    [
      'ramSize 3072',
      'ramBlock {"name":"a","length":1024}',
      'ramBlock {"name":"b","length":1024,"pageSize":4297064448}',
      'ramBlock {"name":"c","length":1024,"pageSize":2097152}',
      'ramPage 0x8 0x0 of 2',
      'ramData 1024 bytes 0101010101010101 to 0101010101010101',
      'ramMark 0x10 0x0',
    ],
  ],
  [
    'the address of a block, where no configuration section announces it',
    OLD,
    [join(head(MEM_SIZE, 0x400), block('a', 0x400), be64(0x4000_0000), head(EOS))],
    ['ramSize 1024', 'ramBlock {"name":"a","length":1024,"address":"1073741824n"}', 'ramMark 0x10 0x0'],
  ],
  [
    'a word behind a block that is not the last one, whatever its low bits are',
    OLD,
    [join(head(MEM_SIZE, 0x800), block('a', 0x400), be64(0x10), block('b', 0x400), head(EOS))],
    [
      'ramSize 2048',
      'ramBlock {"name":"a","length":1024,"address":"16n"}',
      'ramBlock {"name":"b","length":1024}',
      'ramMark 0x10 0x0',
    ],
  ],
  [
    'a page beyond 4 GiB',
    PLAIN,
    [
      join(
        head(MEM_SIZE, 0x3_0000_0000),
        block('a', 0x3_0000_0000),
        head(ZERO, 0x2_8000_0400),
        named('a'),
        Uint8Array.of(0),
        head(ZERO | SAME, 0x2_ffff_fc00),
        Uint8Array.of(0),
        head(EOS),
      ),
    ],
    [
      'ramSize 12884901888',
      'ramBlock {"name":"a","length":12884901888}',
      'ramPage 0x2 0x280000400 of 0',
      'ramData 00',
      'ramPage 0x22 0x2fffffc00 of 0',
      'ramData 00',
      'ramMark 0x10 0x0',
    ],
  ],
  [
    'the largest number of bytes',
    PLAIN,
    [join(head(MEM_SIZE, 2 ** 53 - PAGE), block('a', 2 ** 53 - PAGE), head(EOS))],
    ['ramSize 9007199254739968', 'ramBlock {"name":"a","length":9007199254739968}', 'ramMark 0x10 0x0'],
  ],
  [
    'no RAM at all, and a list behind it',
    PLAIN,
    [join(head(MEM_SIZE, 0), head(MEM_SIZE, 0x400), block('a', 0x400), head(EOS))],
    ['ramSize 0', 'ramSize 1024', 'ramBlock {"name":"a","length":1024}', 'ramMark 0x10 0x0'],
  ],
  [
    'pages of another size, which the blocks tell',
    { ...PLAIN, pageBits: (blocks) => (blocks[1]?.name === 'b' ? 11 : 10) },
    [
      join(
        head(MEM_SIZE, 0x1400),
        block('a', 0x1000),
        block('b', 0x400),
        head(FULL_PAGE, 0x800),
        named('a'),
        filled(0x800, 1),
        head(FULL_PAGE | SAME, 0),
        filled(0x800, 2),
        head(EOS),
      ),
    ],
    [
      'ramSize 5120',
      'ramBlock {"name":"a","length":4096}',
      'ramBlock {"name":"b","length":1024}',
      'ramPage 0x8 0x800 of 0',
      'ramData 2048 bytes 0101010101010101 to 0101010101010101',
      'ramPage 0x28 0x0 of 0',
      'ramData 2048 bytes 0202020202020202 to 0202020202020202',
      'ramMark 0x10 0x0',
    ],
  ],
];

describe.each(STREAMS)('%s', (_what, options, sections, calls) => {
  test('at once', () => {
    expect(read(sections, options)).toEqual(calls);
  });

  test.each([1, 7, 1031])('in pieces of %s bytes', (length) => {
    expect(read(sections, options, () => length)).toEqual(calls);
  });
});

test('a record is read as soon as it is there, and not before', () => {
  const records: readonly [string, Uint8Array, number][] = [
    ['mark', head(FLUSH), 8],
    ['zero', join(head(ZERO | SAME), Uint8Array.of(0)), 9],
    ['named zero', join(head(ZERO), named('bb'), Uint8Array.of(0)), 12],
    // a page and what is compressed are passed on in pieces: their heads are enough
    ['page', join(head(FULL_PAGE | SAME), filled(PAGE, 1)), 8],
    ['named page', join(head(FULL_PAGE), named('bb'), filled(PAGE, 1)), 11],
    ['xbzrle', join(head(XBZRLE | SAME), Uint8Array.of(1, 0, 9), filled(9, 1)), 11],
    ['compressed', join(head(COMPRESSED | SAME), Uint8Array.of(0, 0, 0, 9), filled(9, 1)), 12],
  ];
  for (const [name, record, enough] of records) {
    for (let there = 0; there <= Math.min(record.length, 24); there++) {
      const parser = new RamParser(new CallLog(), PLAIN);
      const first = join(LIST, head(ZERO), named('a'), Uint8Array.of(0));
      const bytes = join(first, record.subarray(0, there));
      const used = parser.consume(bytes, 0, BASE, false);
      expect([name, there, used]).toEqual([name, there, first.length + (there < enough ? 0 : there)]);
    }
  }
});

test.each([
  ['plain', PLAIN, block('a', 0x400)],
  ['with an address', SHARED, join(block('a', 0x400), be64(0x1000))],
  ['with a header', MAPPED, join(block('a', 0x400), mapped(1, 8, 16))],
  ['with both', BOTH, join(block('a', 0x400), be64(0x1000), mapped(1, 8, 16))],
])("a block's head %s is read when whatever may belong to it is there", (_what, options, first) => {
  const start = head(MEM_SIZE, 0x800);
  // the word behind a plain block may belong to it, and a header is waited for with an address that is not sent
  const wanted = 1 + 1 + 8 + 8 + (options.mappedRam ? 28 : 0);
  for (let there = 0; there <= first.length + 8; there++) {
    const log = new CallLog();
    const parser = new RamParser(log, options);
    const bytes = join(start, first, block('b', 0x400)).subarray(0, start.length + there);
    parser.consume(bytes, 0, BASE, false);
    const blocks = log.calls.filter((call) => call.startsWith('ramBlock'));
    expect([there, blocks.length]).toEqual([there, there < wanted ? 0 : 1]);
  }
});

describe('a wrong record is told by its place and its values', () => {
  const many = Array.from({ length: 4097 }, (_, n) => block(`b${n}`, PAGE));
  test.each<[string, RamOptions, Uint8Array, string]>([
    [
      'flags',
      PLAIN,
      join(LIST, head(0x18)),
      'ram-flags: stream: ram: RAM record with flags 0x18, which no QEMU writes (at byte 0x13a5) {"flags":24}',
    ],
    [
      'no flags',
      PLAIN,
      join(LIST, head(FLUSH), head(0)),
      'ram-flags: stream: ram: RAM record with flags 0x0, which no QEMU writes (at byte 0x13ad) {"flags":0}',
    ],
    [
      'two lists',
      PLAIN,
      join(LIST, head(MEM_SIZE, 0x400)),
      'ram-blocks: stream: ram: the list of RAM blocks comes twice (at byte 0x13a5) {}',
    ],
    [
      'a size that is no number',
      PLAIN,
      head(MEM_SIZE, 2 ** 53),
      'ram-size: stream: ram: 9007199254740992 bytes of RAM (at byte 0x1388) {"total":9007199254740992}',
    ],
    [
      'a block larger than the total',
      PLAIN,
      join(head(MEM_SIZE, 0x400), block('a', 0x800), head(EOS)),
      'ram-size: stream: blocks[0].ram: block "a" of 0x800 bytes, 0x400 are left of the total (at byte 0x1390) {"length":2048,"left":1024}',
    ],
    [
      'a second block larger than what is left',
      PLAIN,
      join(head(MEM_SIZE, 0xc00), block('a', 0x800), block('b', 0x800), head(EOS)),
      'ram-size: stream: blocks[1].ram: block "b" of 0x800 bytes, 0x400 are left of the total (at byte 0x139a) {"length":2048,"left":1024}',
    ],
    [
      'a block without a name',
      PLAIN,
      join(head(MEM_SIZE, 0x400), block('', 0x400), head(EOS)),
      'ram-block: stream: blocks[0].ram: block "" of 1024 bytes (at byte 0x1390) {"block":"","length":1024}',
    ],
    [
      'a length that is no number',
      PLAIN,
      join(head(MEM_SIZE, 0x400), named('a'), be64(2 ** 53), head(EOS)),
      'ram-block: stream: blocks[0].ram: block "a" of 9007199254740992 bytes (at byte 0x1390) {"block":"a","length":9007199254740992}',
    ],
    [
      'too many blocks',
      PLAIN,
      join(head(MEM_SIZE, 4097 * PAGE), ...many, head(EOS)),
      'count: stream: blocks[4096].ram: more than 4096 RAM blocks (at byte 0xef3a) {"limit":4096}',
    ],
    [
      'a list that ends early',
      PLAIN,
      join(head(MEM_SIZE, 0x400), Uint8Array.of(9)),
      'truncated: stream: blocks[0]: 9 bytes wanted, 0 left (at byte 0x1391) {"wanted":9,"available":0}',
    ],
    [
      'a page of the same block without one',
      PLAIN,
      join(LIST, head(ZERO | SAME), Uint8Array.of(0)),
      'ram-continue: stream: ram: a page of "the same block", and there was none before (at byte 0x13a5) {"flags":34}',
    ],
    [
      'a whole page of the same block without one',
      PLAIN,
      join(LIST, head(FULL_PAGE | SAME), filled(PAGE, 0)),
      'ram-continue: stream: ram: a page of "the same block", and there was none before (at byte 0x13a5) {"flags":40}',
    ],
    [
      'a block that is not in the list',
      PLAIN,
      join(LIST, head(ZERO), named('c'), Uint8Array.of(0)),
      'ram-block: stream: ram: page of RAM block "c", which the list does not have (at byte 0x13ad) {"block":"c"}',
    ],
    [
      'a page behind the end of its block',
      PLAIN,
      join(LIST, head(FULL_PAGE, 0x1000), named('a'), filled(PAGE, 0)),
      'ram-offset: stream: ram: page at 0x1000 of block "a", which has 0x1000 bytes (at byte 0x13a5) {"offset":4096,"length":4096,"block":"a"}',
    ],
    [
      'a page behind the end of the same block',
      PLAIN,
      join(LIST, head(ZERO), named('bb'), Uint8Array.of(0), head(FULL_PAGE | SAME, 0x800), filled(PAGE, 0)),
      'ram-offset: stream: ram: page at 0x800 of block "bb", which has 0x800 bytes (at byte 0x13b1) {"offset":2048,"length":2048,"block":"bb"}',
    ],
    [
      'a zero page behind the end of the same block',
      PLAIN,
      join(LIST, head(ZERO), named('bb'), Uint8Array.of(0), head(ZERO | SAME, 0x800), Uint8Array.of(0)),
      'ram-offset: stream: ram: page at 0x800 of block "bb", which has 0x800 bytes (at byte 0x13b1) {"offset":2048,"length":2048,"block":"bb"}',
    ],
    [
      'a zero page that is none',
      PLAIN,
      join(LIST, head(ZERO), named('a'), Uint8Array.of(10)),
      'ram-fill: stream: ram: "zero" page filled with 0xa (at byte 0x13af) {"fill":10}',
    ],
    [
      'a zero page of the same block that is none',
      PLAIN,
      join(LIST, head(ZERO), named('a'), Uint8Array.of(0), head(ZERO | SAME), Uint8Array.of(255)),
      'ram-fill: stream: ram: "zero" page filled with 0xff (at byte 0x13b8) {"fill":255}',
    ],
    [
      'XBZRLE of another kind',
      PLAIN,
      join(LIST, head(XBZRLE), named('a'), Uint8Array.of(2, 0, 1)),
      'ram-xbzrle: stream: ram: XBZRLE record with flag 2 and 1 bytes (at byte 0x13af) {"flag":2,"length":1}',
    ],
    [
      'XBZRLE that is too long',
      PLAIN,
      join(LIST, head(XBZRLE), named('a'), Uint8Array.of(1, 4, 1)),
      'ram-xbzrle: stream: ram: XBZRLE record with flag 1 and 1025 bytes (at byte 0x13af) {"flag":1,"length":1025}',
    ],
    [
      'a compressed page that is too long',
      PLAIN,
      join(LIST, head(COMPRESSED), named('a'), Uint8Array.of(0, 0, 8, 1)),
      'ram-compressed: stream: ram: compressed page of 2049 bytes (at byte 0x13af) {"length":2049,"limit":2048}',
    ],
    [
      'a compressed page that is far too long',
      PLAIN,
      join(LIST, head(COMPRESSED), named('a'), Uint8Array.of(0xf0, 1, 2, 3)),
      'ram-compressed: stream: ram: compressed page of 4026597891 bytes (at byte 0x13af) {"length":4026597891,"limit":2048}',
    ],
    [
      'a page whose name is cut off',
      PLAIN,
      join(LIST, head(ZERO), Uint8Array.of(5, 0x61)),
      'truncated: stream: ram: 15 bytes wanted, 10 left (at byte 0x13a5) {"wanted":15,"available":10}',
    ],
    [
      'a page whose head is cut off',
      PLAIN,
      join(LIST, head(COMPRESSED), named('a'), Uint8Array.of(0)),
      'truncated: stream: ram: 14 bytes wanted, 11 left (at byte 0x13a5) {"wanted":14,"available":11}',
    ],
    [
      'a mapped-ram header of another version',
      MAPPED,
      join(head(MEM_SIZE, 0x400), block('a', 0x400), mapped(2, 8, 16)),
      'mapped-ram: stream: blocks[0].ram: mapped-ram header of version 2, bitmap at 8, pages at 16 (at byte 0x139a) {"version":2,"pageSize":"1024n","bitmapOffset":"8n","pagesOffset":"16n"}',
    ],
    [
      'pages in front of their bitmap',
      MAPPED,
      join(head(MEM_SIZE, 0x400), block('a', 0x400), mapped(1, 16, 8)),
      'mapped-ram: stream: blocks[0].ram: mapped-ram header of version 1, bitmap at 16, pages at 8 (at byte 0x139a) {"version":1,"pageSize":"1024n","bitmapOffset":"16n","pagesOffset":"8n"}',
    ],
    [
      'a bitmap that is no number of bytes long',
      MAPPED,
      join(head(MEM_SIZE, 0x400), block('a', 0x400), mapped(1, 0, 2 ** 53)),
      'mapped-ram: stream: blocks[0].ram: mapped-ram header of version 1, bitmap at 0, pages at 9007199254740992 (at byte 0x139a) {"version":1,"pageSize":"1024n","bitmapOffset":"0n","pagesOffset":"9007199254740992n"}',
    ],
  ])('%s', (_what, options, bytes, said) => {
    const parser = new RamParser(new CallLog(), options);
    expect(errorOf(() => parser.consume(bytes, 0, BASE, true))).toBe(said);
  });
});

test('4096 blocks are believed', () => {
  const blocks = Array.from({ length: 4096 }, (_, n) => block(`b${n}`, PAGE));
  expect(read([join(head(MEM_SIZE, 4096 * PAGE), ...blocks, head(EOS))])).toHaveLength(4098);
});

test('what is cut off behind a head is left for whoever knows that nothing comes', () => {
  const parser = new RamParser(new CallLog(), PLAIN);
  const bytes = join(LIST, head(FULL_PAGE), named('a'), filled(5, 1));
  expect(parser.consume(bytes, 0, BASE, true)).toBe(bytes.length);
  expect(parser.done).toBe(false);
  expect(parser.consume(Uint8Array.of(1, 2), 2, BASE, true)).toBe(2);
});

test('the size of a page is asked for without blocks, and once more when all are known', () => {
  const asked: string[] = [];
  const pageBits: RamOptions['pageBits'] = (blocks) => {
    asked.push(blocks.map(({ name }) => name).join(' '));
    return PAGE_BITS;
  };
  new RamParser(new CallLog(), { ...PLAIN, pageBits }).consume(LIST, 0, BASE, true);
  expect(asked).toEqual(['', 'a bb']);
});

test.each([0, 1, 7])('a list with %s bytes behind it, and no more to come, is whole', (count) => {
  const log = new CallLog();
  const bytes = join(LIST, new Uint8Array(count));
  expect(new RamParser(log, PLAIN).consume(bytes, 0, BASE, true)).toBe(LIST.length);
  expect(log.calls).toHaveLength(3);
});
