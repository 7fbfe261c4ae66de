// Known attacks on QEMU's loading of streams, against ours. `pnpm cves` lists them all.
import { isStateError } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import { NullSink, parseStream, StreamParser } from '../src/index.ts';

const BLOCK_BYTES = 0x10000;
const PAGE_BYTES = 4096;
/** RAM_SAVE_FLAG_* */
const FLAG = { ZERO: 2, MEM_SIZE: 4, PAGE: 8, EOS: 16, CONTINUE: 32, XBZRLE: 64 } as const;

const be16 = (n: number): number[] => [n >> 8, n & 0xff];
const be32 = (n: number): number[] => [...be16(n >>> 16), ...be16(n & 0xffff)];
const be64 = (n: bigint): number[] => [...be32(Number(n >> 32n)), ...be32(Number(n & 0xffff_ffffn))];
const text = (words: string): number[] => [...Buffer.from(words)];
const counted = (words: string): number[] => [words.length, ...text(words)];
const footer = (id: number): number[] => [0x7e, ...be32(id)];

/** Magic, version, configuration, and the beginning of RAM: one block. */
const HEAD = [
  ...text('QEVM'),
  ...be32(3),
  ...[7, ...be32(11), ...text('pc-q35-11.1')],
  ...[1, ...be32(2), ...counted('ram'), ...be32(0), ...be32(4)],
  ...be64(BigInt(BLOCK_BYTES | FLAG.MEM_SIZE)),
  ...[...counted('pc.ram'), ...be64(BigInt(BLOCK_BYTES))],
  ...be64(BigInt(FLAG.EOS)),
  ...footer(2),
];

const PAGE = Array<number>(PAGE_BYTES).fill(0x55);

/** A second section of RAM with one record in it. */
function streamWith(record: readonly number[]): Uint8Array {
  const section = [2, ...be32(2), ...record, ...be64(BigInt(FLAG.EOS)), ...footer(2)];
  return Uint8Array.from([...HEAD, ...section, 0]);
}

function record(
  address: bigint,
  flags: number,
  block: string | undefined,
  more: readonly number[],
): number[] {
  const name = block === undefined ? [] : counted(block);
  return [...be64(address | BigInt(flags)), ...name, ...more];
}

/** Where pages were reported. */
class Pages extends NullSink {
  readonly offsets: number[] = [];
  override ramPage(_flags: number, offset: number): void {
    this.offsets.push(offset);
  }
}

function codeOf(bytes: Uint8Array): string {
  const pages = new Pages();
  const parser = new StreamParser(pages);
  try {
    parser.push(bytes);
    parser.end();
  } catch (error) {
    if (!isStateError(error)) throw error;
    // nothing outside was handed on before it was found
    for (const offset of pages.offsets) expect(offset).toBeLessThan(BLOCK_BYTES);
    expect(error.offset ?? 0).toBeLessThanOrEqual(bytes.length);
    return error.code;
  }
  return 'read';
}

describe('CVE-2014-7840: records of RAM', () => {
  test('in their block are read', () => {
    expect(codeOf(streamWith(record(0xf000n, FLAG.PAGE, 'pc.ram', PAGE)))).toBe('read');
    expect(codeOf(streamWith(record(0xf000n, FLAG.ZERO, 'pc.ram', [0])))).toBe('read');
  });

  test.each([
    ['a page behind the block', record(0x10000n, FLAG.PAGE, 'pc.ram', PAGE)],
    ['a page of zeros behind the block', record(0x10000n, FLAG.ZERO, 'pc.ram', [0])],
    ['a delta behind the block', record(0x10000n, FLAG.XBZRLE, 'pc.ram', [1, 0, 2, 1, 1])],
    ['a page far behind the block', record(2n ** 63n, FLAG.PAGE, 'pc.ram', PAGE)],
    ['an address that is negative', record(2n ** 64n - 4096n, FLAG.PAGE, 'pc.ram', PAGE)],
    ['a block that was not announced', record(0n, FLAG.PAGE, 'pc.rom', PAGE)],
    [
      'the block of the record before, where there is none',
      record(0n, FLAG.PAGE | FLAG.CONTINUE, undefined, PAGE),
    ],
    [
      'one behind the block, after one in it',
      [
        ...record(0xf000n, FLAG.PAGE, 'pc.ram', PAGE),
        ...record(0x10000n, FLAG.PAGE | FLAG.CONTINUE, undefined, PAGE),
      ],
    ],
    [
      'zeros behind the block, after zeros in it',
      [
        ...record(0xf000n, FLAG.ZERO, 'pc.ram', [0]),
        ...record(0x10000n, FLAG.ZERO | FLAG.CONTINUE, undefined, [0]),
      ],
    ],
  ])('%s is refused', (_name, one) => {
    expect(codeOf(streamWith(one))).not.toBe('read');
  });

  test('blocks whose sizes add up to something else are refused', () => {
    const bytes = Uint8Array.from(HEAD);
    // the size of the block, with that of all in place
    const at = Buffer.from(bytes).indexOf('pc.ram') + 6;
    bytes.set(be64(2n ** 64n - 4096n), at);
    expect(() => parseStream(Uint8Array.from([...bytes, 0]))).toThrow(
      expect.objectContaining({ name: 'StateError' }),
    );
  });
});
