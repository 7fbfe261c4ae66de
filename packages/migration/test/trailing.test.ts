// A stream at the beginning of something larger, such as the volume that a Proxmox snapshot is kept in.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { NullSink, parseStream, StreamCollector, StreamParser } from '../src/index.ts';
import { parserOptions } from './registry.ts';

const streamOf = (name: string): Buffer =>
  gunzipSync(readFileSync(new URL(`../../lab/streams/${name}.mig.gz`, import.meta.url)));
const MIB = 1 << 20;

class Counter extends NullSink {
  trailed = 0;
  bodies = 0;
  override body(bytes: Uint8Array): void {
    this.bodies += bytes.length;
  }
  override trailing(bytes: Uint8Array): void {
    this.trailed += bytes.length;
  }
}

describe.each(['7.2.22/q72-pc-idle', '10.0.13/q100-s390-io', '11.1.2/q111-pc-mappedram'])('%s', (name) => {
  const stream = streamOf(name);
  const plain = new Counter();
  const parser = new StreamParser(plain, parserOptions);
  parser.push(stream);
  parser.end();

  test.each([
    ['in pieces of 64 KiB', 65_536],
    ['in pieces of 997 bytes', 997],
    ['in pieces of 1 MiB', MIB],
  ])('and zeros, %s', (_what, piece) => {
    const zeros = 8 * MIB;
    const whole = Buffer.concat([stream, new Uint8Array(zeros)]);
    const counter = new Counter();
    // there is no room for the zeros
    const small = new StreamParser(counter, { ...parserOptions, maxDeviceState: 4 * MIB });
    for (let at = 0; at < whole.length; at += piece) small.push(whole.subarray(at, at + piece));
    expect(small.atEnd).toBe(true);
    small.end();
    expect(counter).toMatchObject({ bodies: plain.bodies, trailed: plain.trailed + zeros });
  });

  test('and zeros, and something behind them', () => {
    const collector = new StreamCollector();
    const other = new StreamParser(collector, parserOptions);
    other.push(stream);
    for (const bytes of [
      new Uint8Array(9000),
      new Uint8Array(5000),
      Uint8Array.of(1, 2, 3),
      new Uint8Array(7),
    ])
      other.push(bytes);
    other.end();
    expect(collector.partial().trailing).toBe(plain.trailed + 14_010);
  });
});

test('without a vmdesc the end is where the bytes end', () => {
  const whole = Buffer.concat([streamOf('7.2.22/q72-pc-novmdesc'), new Uint8Array(2 * MIB)]);
  const parser = new StreamParser(new NullSink(), { ...parserOptions, maxDeviceState: MIB });
  expect(() => {
    for (let at = 0; at < whole.length; at += 65_536) parser.push(whole.subarray(at, at + 65_536));
  }).toThrow(/more than 1048576 bytes of device state/);
});

test('what a guest has drawn is no end, even if it looks like one', () => {
  const stream = streamOf('11.1.2/q111-q35-gpu-io');
  const { sections } = parseStream(stream, parserOptions);
  const gpu = sections.find(({ header }) => header.idstr.endsWith('virtio-gpu'));
  if (gpu === undefined) throw new Error('no GPU');
  // EOF and a vmdesc, in the middle of the picture; zeros behind it
  const json = Buffer.from('{"page_size": 4096, "devices": []}');
  const fake = Buffer.concat([Buffer.of(0, 6, 0, 0, 0, json.length), json]);
  const at = gpu.offset + 2 * MIB;
  const drawn = Buffer.from(stream);
  drawn.fill(0, at, at + 300_000);
  drawn.set(fake, at);
  const end = at + fake.length;
  const collector = new StreamCollector();
  const parser = new StreamParser(collector, parserOptions);
  for (const [from, to] of [
    [0, end],
    [end, end + 100_000],
    [end + 100_000, end + 200_000],
    [end + 200_000, drawn.length],
  ])
    parser.push(drawn.subarray(from, to));
  parser.end();
  const found = collector.partial();
  expect(found.trailing).toBe(0);
  expect(found.sections.map(({ header, body }) => [header.idstr, body.length])).toEqual(
    sections.map(({ header, body }) => [header.idstr, body.length]),
  );
});
