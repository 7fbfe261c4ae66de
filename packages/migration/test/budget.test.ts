/** What a hostile stream may cost: time that grows with its bytes and not faster, and objects in proportion to them. */
import { describe, expect, it, test } from 'vitest';
import { parseStream, parseVmdesc } from '../src/index.ts';
import { full, join, preamble, ram, vmdesc } from './made.ts';

/** Microseconds of the processor that a run takes at least: what else the machine does is not counted. */
function cost(run: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let turn = 0; turn < 4; turn++) {
    const before = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, user + system);
  }
  return least;
}

/** Sixteen times the input may cost so many times as much. What is quadratic costs 256 times as much. */
const SIXTEENFOLD_MAX = 90;

describe('a vmdesc', () => {
  it.each([
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

  it('of more objects than an honest one has is not made into objects', () => {
    expect(() => parseVmdesc(texts('{}', 100_000))).toThrow(
      /the vmdesc has more than \d+ objects in 300028 bytes/,
    );
    expect(() => parseVmdesc(texts('{"fields":[{}]}', 100_000))).toThrow(/more than \d+ objects/);
    expect(() => parseVmdesc(texts('{"vmsd_name":1,"vmsd_name":1}', 100_000))).toThrow(
      /more than \d+ objects/,
    );
  });

  it('of honest objects is read, however many', () => {
    const field = '{"name": "x", "type": "bool", "size": 1}';
    expect(parseVmdesc(texts(field, 100_000)).devices[0]?.fields).toHaveLength(100_000);
  });

  test('is read up to a length that can be chosen', () => {
    const text = Buffer.from('{"devices": []}');
    expect(parseVmdesc(text, text.length).devices).toEqual([]);
    expect(() => parseVmdesc(text, text.length - 1)).toThrow('a vmdesc of 15 bytes, at most 14 are read');
  });
});
