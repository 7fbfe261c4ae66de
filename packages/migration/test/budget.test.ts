/** What a hostile stream may cost: time that grows with its bytes and not faster, and objects in proportion to them. */
import { cost } from '@virtkit/lab/growth.ts';
import { describe, expect, test } from 'vitest';
import { NullSink, parseStream, parseVmdesc, RamImage, StreamCollector, StreamParser } from '../src/index.ts';
import { footer, full, header, join, preamble, ram, ramStart, vmdesc } from './made.ts';
import { parserOptions } from './registry.ts';

/** Sixteen times the input may cost so many times as much. What is quadratic costs 256 times as much. */
const SIXTEENFOLD_MAX = 90;

describe('a vmdesc', () => {
  test.each([
    ['devices of one name', (n: number) => Array(n).fill('{"name": "x", "instance_id": 0, "fields": []}')],
    [
      'devices without a name',
      (n: number) => Array(n).fill('{"vmsd_name": "nobody", "version": 1, "fields": []}'),
    ],
    [
      'elements in one field',
      (n: number) => [
        `{"fields": [{${Array(n).fill('"vmsd_name": "an-element", "version": 1').join(', ')}}]}`,
      ],
    ],
  ])('of many %s is read in time that grows with it', (_what, devices) => {
    const made = (n: number): Uint8Array =>
      join(
        preamble(),
        ram(),
        full(3, 'x', new Uint8Array(4)),
        vmdesc(`{"page_size": 4096, "devices": [${devices(n).join(', ')}]}`),
      );
    const [small, large] = [made(5000), made(80_000)];
    expect(cost(() => parseStream(large)) / cost(() => parseStream(small))).toBeLessThan(SIXTEENFOLD_MAX);
  });

  const texts = (item: string, n: number): Uint8Array =>
    Buffer.from(`{"devices": [{"fields": [${Array(n).fill(item).join(',')}]}]}`);

  test('of more objects than an honest one has is not made into objects', () => {
    expect(() => parseVmdesc(texts('{}', 100_000))).toThrow(
      /the vmdesc has more than \d+ objects in 300028 bytes/,
    );
    expect(() => parseVmdesc(texts('{"fields":[{}]}', 100_000))).toThrow(/more than \d+ objects/);
    expect(() => parseVmdesc(texts('{"vmsd_name":1,"vmsd_name":1}', 100_000))).toThrow(
      /more than \d+ objects/,
    );
  });

  test('of honest objects is read, however many', () => {
    const field = '{"name": "x", "type": "bool", "size": 1}';
    expect(parseVmdesc(texts(field, 100_000)).devices[0]?.fields).toHaveLength(100_000);
  });

  test('is read up to a length that can be chosen', () => {
    const text = Buffer.from('{"devices": []}');
    expect(parseVmdesc(text, text.length).devices).toEqual([]);
    expect(() => parseVmdesc(text, text.length - 1)).toThrow('a vmdesc of 15 bytes, at most 14 are read');
  });
});

describe('a stream', () => {
  const begin = join(preamble(), ram(), header(9, 'x'));

  test('is asked whether it has ended at the same cost however much was kept', () => {
    const asked = (kept: number): number => {
      const parser = new StreamParser(new NullSink(), parserOptions);
      parser.push(begin);
      parser.push(new Uint8Array(kept).fill(0x7d));
      return cost(() => {
        for (let n = 0; n < 20_000; n++) {
          parser.push(Uint8Array.of(0x7d));
          if (parser.atEnd) throw new Error('no end was sent');
        }
      });
    };
    // what looks at all that is kept takes 256 times as long
    expect(asked(1 << 24) / asked(1 << 16)).toBeLessThan(40);
  });

  test.each([
    ['footers of the section', (n: number) => [header(9, 'x'), repeat(footer(9), n)]],
    [
      'footers and commands',
      (n: number) => [
        header(9, 'x'),
        repeat(join(footer(9), Uint8Array.of(8, 0, 1, 0, 0)), Math.min(n, 200_000)),
      ],
    ],
    ['braces', (n: number) => [header(9, 'x'), new Uint8Array(5 * n).fill(0x7d)]],
    ['ends', (n: number) => [header(9, 'x'), repeat(join(footer(9), vmdesc('{}')), n)]],
    ['sections', (n: number) => [repeat(full(9, 'x', new Uint8Array(1)), n)]],
    ['zeros', (n: number) => [header(9, 'x'), new Uint8Array(5 * n)]],
    ['headers', (n: number) => [header(9, 'x'), repeat(header(9, 'x'.repeat(200)), n / 20)]],
  ])('of many %s costs in proportion to its bytes', (_what, pieces) => {
    const made = (n: number): Uint8Array => join(preamble(), ram(), ...pieces(n));
    const [few, many] = [made(10_000), made(160_000)];
    const read = (bytes: Uint8Array): void => {
      try {
        parseStream(bytes, parserOptions);
      } catch {
        // whatever is said of it
      }
    };
    expect(
      cost(() => read(many)) /
        Math.max(
          cost(() => read(few)),
          1000,
        ),
    ).toBeLessThan(SIXTEENFOLD_MAX);
  });

  test.each([
    [
      'commands',
      join(preamble(), repeat(Uint8Array.of(8, 0, 1, 0, 0), 300_000)),
      /more than 131072 sections and commands/,
    ],
    [
      'sections',
      join(preamble(), ram(), repeat(full(9, 'x', new Uint8Array(0)), 300_000)),
      /more than 131072 sections and commands/,
    ],
  ])('of more %s than any has is refused', (_what, bytes, message) => {
    const parser = new StreamParser(new NullSink());
    expect(() => {
      parser.push(bytes);
      parser.end();
    }).toThrow(message);
  });

  test('of commands that carry more than may be kept is refused', () => {
    const parser = new StreamParser(new StreamCollector(), { maxDeviceState: 1 << 20 });
    parser.push(preamble());
    const ping = join(Uint8Array.of(8, 0, 2, 0xea, 0x60), new Uint8Array(60_000));
    expect(() => {
      for (let n = 0; n < 20; n++) parser.push(ping);
    }).toThrow('more than 1048576 bytes of device state');
  });
});

describe('what a stream says of itself is believed up to a bound:', () => {
  const refused = (bytes: Uint8Array, message: RegExp): void =>
    expect(() => parseStream(bytes, parserOptions)).toThrow(message);
  const be32 = (value: number): Uint8Array => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);

  test('RAM blocks', () => {
    const block = join(Uint8Array.of(1, 0x61), be32(0), be32(1));
    const start = ramStart(1 << 20);
    const head = start.subarray(0, start.length - 7 - 8);
    refused(join(preamble(), head, repeat(block, 5000)), /more than 4096 RAM blocks/);
  });

  test('the XML of a libvirt header', () => {
    const bytes = new Uint8Array(92);
    bytes.set(Buffer.from('LibvirtQemudSave'));
    new DataView(bytes.buffer).setUint32(16, 2, true);
    new DataView(bytes.buffer).setUint32(20, (1 << 24) + 1, true);
    refused(bytes, /libvirt header announces 16777217 bytes of XML, at most 16777216 believed/);
  });

  test('the configuration', () => {
    refused(preamble('x'.repeat(1025)), /1025/);
    const name = preamble().subarray(0, -'pc-q35-7.2'.length - 4);
    refused(join(name, be32(0xffff_ffff)), /4294967295/);
  });

  test('a vmdesc nested deep', () => {
    const deep = `{"devices": [${'['.repeat(200)}${']'.repeat(200)}]}`;
    expect(() => parseVmdesc(Buffer.from(deep))).toThrow('the vmdesc is not JSON');
    const most = `{"devices": [], "x": ${'['.repeat(99)}${']'.repeat(99)}}`;
    expect(parseVmdesc(Buffer.from(most)).devices).toEqual([]);
    expect(() => parseVmdesc(Buffer.from(most.replace('[[', '[[[').replace(']]', ']]]')))).toThrow(
      'not JSON',
    );
  });

  test('RAM that a RamImage is to hold', () => {
    const image = new RamImage({ maxBytes: 1 << 20 });
    image.ramSize(1n << 40n);
    expect(() => image.ramBlock({ name: 'pc.ram', length: 2 ** 40 })).toThrow(/1048576/);
  });
});

function repeat(bytes: Uint8Array, count: number): Uint8Array {
  const all = new Uint8Array(bytes.length * Math.floor(count));
  for (let at = 0; at < all.length; at += bytes.length) all.set(bytes, at);
  return all;
}
