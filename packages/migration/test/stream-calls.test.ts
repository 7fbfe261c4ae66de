// Small streams with everything in them that a stream can have: what is told of them is written down in stream-calls.json, call by call.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { NullSink, type ParserOptions, StreamParser, type StreamSink } from '../src/index.ts';
import { CallLog, errorOf } from './calls.ts';
import {
  be32,
  be64,
  described,
  footer,
  full,
  header,
  join,
  preamble,
  ram,
  ramStart,
  text,
  vmdesc,
  vmdescOf,
} from './made.ts';

const known: Readonly<Record<string, readonly string[]>> = JSON.parse(
  readFileSync(new URL('./stream-calls.json', import.meta.url), 'utf8'),
);

const bytes = (...values: readonly number[]): Uint8Array => Uint8Array.of(...values);
const command = (number: number, payload: Uint8Array): Uint8Array =>
  join(bytes(8, 0, number, 0, payload.length), payload);
const EOF = bytes(0);
const EOS = be64(0x10);
/** A section in parts: its start with a header, then parts with its number. */
const start = (id: number, idstr: string, body: Uint8Array): Uint8Array =>
  join(bytes(1), header(id, idstr).subarray(1), body, footer(id));
const part = (id: number, body: Uint8Array): Uint8Array => join(bytes(2), be32(id), body, footer(id));
const end = (id: number, body: Uint8Array): Uint8Array => join(bytes(3), be32(id), body, footer(id));
const bare = (id: number, idstr: string, body: Uint8Array): Uint8Array => join(header(id, idstr), body);
const OLD_PREAMBLE = join(text('QEVM'), be32(3));
/** RAM of a machine type whose sections have no footers. */
const OLD_RAM = join(ramStart(), EOS, bytes(3), be32(2), EOS);
/** Looks like the end of section 7, and like the end of the stream. */
const FAKE = join(footer(7), EOF);
/** Looks like the end of section 7, behind which another one begins. */
const FAKE_NEXT = join(footer(7), header(9, 'cup'));

/** Knows by their names how long some sections are. */
const knowing: ParserOptions = {
  lengths: ({ idstr }) => {
    const counts = /^known((-\d+)+)$/.exec(idstr)?.[1];
    return counts?.slice(1).split('-').map(Number);
  },
  accepts: ({ idstr }, body) => (idstr.startsWith('counted') ? body[0] === body.length : undefined),
};

const kettle = full(40, 'kettle', bytes(1, 2, 3, 4, 5));
const pot = full(41, 'pot', bytes(6, 7, 0), 3, 2);
const [listedKettle, listedPot] = [described('kettle', 5), described('pot', 3, 'buffer', 2)];

const STREAMS: Readonly<Record<string, Uint8Array>> = {
  'all kinds of structures': join(
    preamble(),
    command(1, bytes()),
    full(1, 'early', bytes(9, 9)),
    start(5, 'block', bytes(1, 1)),
    ramStart(0x2000),
    EOS,
    footer(2),
    part(5, bytes(2)),
    command(2, bytes(0, 0, 0, 7)),
    bytes(2),
    be32(2),
    be64(0x02),
    bytes(6),
    text('pc.ram'),
    bytes(0),
    EOS,
    footer(2),
    end(5, bytes(3, 3, 3)),
    bytes(3),
    be32(2),
    EOS,
    footer(2),
    kettle,
    command(11, bytes()),
    start(6, 'dirty', bytes(4)),
    end(6, bytes(5)),
    pot,
    vmdescOf(described('early', 2), listedKettle, listedPot),
  ),
  'no vmdesc': join(preamble(), ram(), kettle, pot, EOF),
  'zeros behind a vmdesc': join(preamble(), ram(), pot, vmdescOf(listedPot), new Uint8Array(20)),
  'something behind a vmdesc': join(preamble(), ram(), pot, vmdescOf(listedPot), bytes(0, 0, 1, 0)),
  'zeros behind the end': join(preamble(), ram(), pot, EOF, new Uint8Array(9)),
  'no footers': join(
    OLD_PREAMBLE,
    OLD_RAM,
    bare(40, 'kettle', bytes(9, 9, 9, 9, 9)),
    bare(41, 'pot', bytes(6, 7)),
    bare(42, 'known-3', bytes(4, 4, 4)),
    EOF,
  ),
  'no footers, and a vmdesc': join(
    OLD_PREAMBLE,
    OLD_RAM,
    bare(40, 'kettle', bytes(9, 9, 9, 9, 9)),
    bare(41, 'pot', bytes(6, 7)),
    vmdescOf(listedKettle, described('pot', 2)),
  ),
  'RAM once more behind the end of RAM': join(
    preamble(),
    ram(),
    kettle,
    bytes(1),
    be32(3),
    bytes(3),
    text('ram'),
    be32(0),
    be32(4),
    be64(0x02),
    bytes(6),
    text('pc.ram'),
    bytes(0),
    EOS,
    footer(3),
    bytes(3),
    be32(3),
    EOS,
    footer(3),
    pot,
    vmdescOf(listedKettle, listedPot),
  ),
  'no RAM': join(preamble(), kettle, pot, EOF),
  'no RAM, and a vmdesc': join(preamble(), kettle, pot, vmdescOf(listedKettle, listedPot)),
  'a last section with no end, and no RAM': join(preamble(), start(5, 'block', bytes(1)), EOF),
  'a known length, and what looks like an end before it': join(
    preamble(),
    ram(),
    full(7, 'known-20', join(bytes(1, 2, 3, 4), footer(7), header(9, 'x').subarray(0, 11))),
    pot,
    EOF,
  ),
  'two known lengths, and only one has a footer behind it': join(
    preamble(),
    ram(),
    full(7, 'known-2-4', bytes(1, 2, 3, 4)),
    pot,
    EOF,
  ),
  'two known lengths, and both fit': join(
    preamble(),
    ram(),
    full(7, 'known-2-25', join(bytes(1, 2), FAKE_NEXT, bytes(3))),
    pot,
    EOF,
  ),
  'two known lengths, both fit, and the vmdesc has one': join(
    preamble(),
    ram(),
    full(7, 'known-2-25', join(bytes(1, 2), FAKE_NEXT, bytes(3))),
    pot,
    vmdescOf(described('known-2-25', 25), listedPot),
  ),
  'a known length, and the vmdesc has another': join(
    preamble(),
    ram(),
    full(7, 'known-4', bytes(1, 2, 3, 4)),
    pot,
    vmdescOf(described('known-4', 5), listedPot),
  ),
  'a known length, and nothing fits there': join(
    preamble(),
    ram(),
    full(7, 'known-3', bytes(1, 2, 3, 4)),
    pot,
    EOF,
  ),
  'a known length in front of an end that says nothing': join(
    preamble(),
    ram(),
    full(7, 'known-4', bytes(1, 2, 3, 4)),
    EOF,
    bytes(1, 2, 3),
  ),
  'what looks like an end of an unknown section': join(
    preamble(),
    ram(),
    full(7, 'cup', join(bytes(1), FAKE_NEXT, bytes(2))),
    pot,
    EOF,
  ),
  'what looks like an end, and the vmdesc knows better': join(
    preamble(),
    ram(),
    full(7, 'cup', join(bytes(1), FAKE_NEXT, bytes(2))),
    pot,
    vmdescOf(described('cup', 24), listedPot),
  ),
  'what looks like an end in front of a command, and the vmdesc knows better': join(
    preamble(),
    ram(),
    full(7, 'cup', join(bytes(1), footer(7), command(1, bytes()), bytes(2))),
    pot,
    vmdescOf(described('cup', 12), listedPot),
  ),
  'a section that accepts no end, and the vmdesc has one': join(
    preamble(),
    ram(),
    full(7, 'counted', join(bytes(1), bytes(3), footer(7), command(1, bytes()), bytes(2))),
    pot,
    vmdescOf(described('counted', 13), listedPot),
  ),
  'what looks like the end of the stream': join(
    preamble(),
    ram(),
    full(7, 'cup', join(bytes(1), FAKE, bytes(2))),
    pot,
    EOF,
  ),
  'a wrong size in the vmdesc, of a section nobody knows': join(
    preamble(),
    ram(),
    kettle,
    pot,
    vmdescOf(described('kettle', 6), listedPot),
  ),
  'a wrong size, and what looks like an end in front of what is next': join(
    preamble(),
    ram(),
    full(7, 'cup', join(bytes(1), FAKE_NEXT, bytes(2))),
    pot,
    vmdescOf(described('cup', 3), listedPot),
  ),
  'a wrong size that QEMU 7.2 writes': join(
    preamble(),
    ram(),
    full(7, 's390_css', bytes(1, 2, 3)),
    pot,
    vmdescOf(described('s390_css', 2), listedPot),
  ),
  'a section that accepts one end of two': join(
    preamble(),
    ram(),
    full(7, 'counted', join(bytes(24), FAKE_NEXT, bytes(2))),
    pot,
    EOF,
  ),
  'a section that accepts no end': join(preamble(), ram(), full(7, 'counted', bytes(9, 1, 1)), pot, EOF),
  'a section that does not accept what the vmdesc says': join(
    preamble(),
    ram(),
    full(7, 'counted', join(bytes(24), FAKE_NEXT, bytes(2))),
    pot,
    vmdescOf(described('counted', 1), listedPot),
  ),
  'sections in parts with more footers': join(
    preamble(),
    ram(),
    start(6, 'dirty', bytes(4)),
    part(6, bytes(5)),
    end(6, bytes(5)),
    pot,
    EOF,
  ),
  'a section in parts in front of the end of RAM, and what looks like its end': join(
    preamble(),
    ramStart(),
    EOS,
    footer(2),
    start(7, 'counted', join(bytes(24), FAKE_NEXT, bytes(2))),
    end(7, join(bytes(7), footer(7), bytes(1))),
    bytes(3),
    be32(2),
    EOS,
    footer(2),
    pot,
    EOF,
  ),
  'known sections in front of the end of RAM': join(
    preamble(),
    full(7, 'known-24', join(bytes(0), FAKE_NEXT, bytes(2))),
    full(8, 'known-3', bytes(1, 2, 3)),
    ram(),
    pot,
    EOF,
  ),
  'a vmdesc that does not list a section': join(preamble(), ram(), kettle, pot, vmdescOf(listedPot)),
  'a vmdesc that lists one more': join(
    preamble(),
    ram(),
    pot,
    vmdescOf(listedKettle, listedPot, listedKettle),
  ),
  'a vmdesc that is no JSON': join(preamble(), ram(), pot, vmdesc('{"devices": [}')),
  'a section that has no end': join(preamble(), ram(), start(6, 'dirty', bytes(4)), pot, EOF),
};

/** All that is told of a stream that comes in pieces, and what the parser answers in between. */
function told(stream: Uint8Array, length: number): readonly string[] {
  const log = new CallLog();
  const parser = new StreamParser(log, knowing);
  for (let at = 0; at < stream.length; at += length) parser.push(stream.subarray(at, at + length));
  expect(parser.received).toBe(stream.length);
  const error = errorOf(() => parser.end());
  return [...log.calls, ...(error === 'no error' ? [] : [error])];
}

/** Runs of numbers: `3-7, 9`. */
function runs(numbers: readonly number[]): string {
  const said: string[] = [];
  for (let i = 0; i < numbers.length; i++) {
    const first = numbers[i];
    while (numbers[i + 1] === (numbers[i] ?? 0) + 1) i++;
    said.push(first === numbers[i] ? `${first}` : `${first}-${numbers[i]}`);
  }
  return said.join(', ') || 'never';
}

/** Behind which bytes the parser says that the stream is at its end, in device state, and whole so far. */
function answers(stream: Uint8Array): readonly string[] {
  const parser = new StreamParser(new CallLog(), knowing);
  const [ends, inDevices, whole]: [number[], number[], number[]] = [[], [], []];
  for (let at = 0; at < stream.length; at++) {
    parser.push(stream.subarray(at, at + 1));
    if (parser.atEnd) ends.push(at + 1);
    if (parser.inDeviceState) inDevices.push(at + 1);
    const log = new CallLog();
    if (errorOf(() => parser.preview(log)) === 'no error' && log.calls.includes('eof')) whole.push(at + 1);
  }
  return [`at end: ${runs(ends)}`, `in device state: ${runs(inDevices)}`, `whole: ${runs(whole)}`];
}

describe.each(Object.entries(STREAMS))('%s', (name, stream) => {
  test('at once', () => {
    expect(told(stream, stream.length)).toEqual(known[name]);
  });

  test.each([1, 2, 13, 64])('in pieces of %s bytes', (length) => {
    expect(told(stream, length)).toEqual(known[name]);
  });

  test('and what is answered in between', () => {
    expect(answers(stream)).toEqual(known[`${name}: answers`]);
  });
});

describe('what is wrong is told by its place and its values', () => {
  test.each<[string, ParserOptions, Uint8Array, string]>([
    ['nothing', {}, bytes(), 'truncated: stream: there are no bytes at all (at byte 0x0) {"available":0}'],
    [
      'no magic',
      {},
      text('QEMU, and more of it'),
      'magic: stream: not a migration stream: 0x51454d55 found, 0x5145564d ("QEVM") expected (at byte 0x0) {"found":1363496277,"expected":1363498573}',
    ],
    [
      'another version',
      {},
      join(text('QEVM'), be32(2)),
      'version: stream: version: migration stream version 2, only 3 is known (at byte 0x4) {"found":2,"expected":3}',
    ],
    [
      'a header that is cut off',
      {},
      text('QEVM'),
      'truncated: stream: 4 bytes wanted, 0 left (at byte 0x4) {"wanted":4,"available":0}',
    ],
    [
      'a configuration that is cut off',
      {},
      preamble().subarray(0, 15),
      'truncated: stream: configuration.name: 10 bytes wanted, 2 left (at byte 0xd) {"wanted":10,"available":2}',
    ],
    [
      'a configuration that comes twice',
      {},
      join(preamble(), preamble().subarray(8)),
      'section-type: stream: section type 0x7 is not known (at byte 0x17) {"type":7}',
    ],
    [
      'nothing behind the configuration',
      {},
      preamble(),
      'truncated: stream: the stream ends where a section, a command or its end should begin (at byte 0x17) {"available":0}',
    ],
    [
      'a section type that there is not',
      {},
      join(preamble(), bytes(9)),
      'section-type: stream: section type 0x9 is not known (at byte 0x17) {"type":9}',
    ],
    [
      'a command that there is not',
      {},
      join(preamble(), command(12, bytes())),
      'command: stream: command 12, 1 to 11 are known (at byte 0x18) {"command":12,"limit":11}',
    ],
    [
      'a command that is cut off',
      {},
      join(preamble(), command(1, bytes(1, 2)).subarray(0, 6)),
      'truncated: stream: 2 bytes wanted, 1 left (at byte 0x1c) {"wanted":2,"available":1}',
    ],
    [
      'RAM that is cut off',
      {},
      join(preamble(), ramStart()),
      'truncated: stream: the stream ends in the middle of section "ram" (at byte 0x3f) {"available":0}',
    ],
    [
      'RAM whose record is cut off',
      {},
      join(preamble(), ramStart(), EOS.subarray(3)),
      'truncated: stream: the stream ends in the middle of section "ram" (at byte 0x44) {"available":5}',
    ],
    [
      'RAM whose footer is cut off',
      {},
      join(preamble(), ramStart(), EOS, footer(2).subarray(0, 3)),
      'truncated: stream: 5 bytes wanted, 3 left (at byte 0x47) {"wanted":5,"available":3}',
    ],
    [
      'RAM whose footer has not come',
      {},
      join(preamble(), ramStart(), EOS),
      'truncated: stream: the stream ends in the middle of section "ram" (at byte 0x47) {"available":0}',
    ],
    [
      'RAM with the footer of another section',
      {},
      join(preamble(), ramStart(), EOS, footer(3)),
      'footer: stream: ram: footer of section id 3 behind the section with id 2 (at byte 0x48) {"expected":2,"found":3,"section":"ram"}',
    ],
    [
      'a body in front of the end of RAM that is cut off',
      {},
      join(preamble(), header(7, 'cup'), bytes(1, 2)),
      'truncated: stream: cup: the end of the section is missing: 2 bytes of it are there (at byte 0x2a) {"available":2,"section":"cup"}',
    ],
    [
      'nothing behind the end of RAM',
      {},
      join(preamble(), ram()),
      'truncated: stream: the stream ends where a section, a command or its end should begin (at byte 0x5e) {"available":0}',
    ],
    [
      'a section that is cut off',
      {},
      join(preamble(), ram(), header(7, 'cup'), bytes(1, 2)),
      'truncated: stream: cup: the end of the section is missing: 2 bytes of it are there (at byte 0x71) {"available":2,"section":"cup"}',
    ],
    [
      'a section without a footer',
      {},
      join(preamble(), ram(), header(7, 'known-2'), bytes(1, 2), kettle),
      'truncated: stream: known-2: the end of the section is missing: 32 bytes of it are there (at byte 0x93) {"available":32,"section":"known-2"}',
    ],
    [
      'a part of nothing behind RAM',
      {},
      join(preamble(), ram(), end(9, bytes(1)), EOF),
      'section-id: stream: section id 9 was never started (at byte 0x5f) {"id":9}',
    ],
    [
      'a type of its own behind RAM',
      {},
      join(preamble(), ram(), pot, bytes(5)),
      'truncated: stream: pot: the end of the section is missing: 9 bytes of it are there (at byte 0x78) {"available":9,"section":"pot"}',
    ],
    [
      'no end behind a section',
      {},
      join(preamble(), ram(), pot),
      'truncated: stream: the stream ends where a section, a command or its end should begin (at byte 0x77) {"available":0}',
    ],
    [
      'a vmdesc that is cut off',
      {},
      join(preamble(), ram(), pot, vmdescOf(listedPot).subarray(0, -1)),
      'truncated: stream: pot: the end of the section is missing: 171 bytes of it are there (at byte 0x11a) {"available":171,"section":"pot"}',
    ],
    [
      'RAM behind its end that is cut off',
      {},
      join(preamble(), ram(), bytes(1), be32(3), bytes(3), text('ram'), be32(0), be32(4), EOS.subarray(1)),
      'truncated: stream: 8 bytes wanted, 7 left (at byte 0x6f) {"wanted":8,"available":7}',
    ],
    [
      'target pages that are too small',
      { pageBits: 9 },
      join(preamble(), ram()),
      'page-bits: stream: configuration.targetPageBits: target pages of 9 bits, 10 to 16 are known {"bits":9}',
    ],
    [
      'target pages that are too large',
      { pageBits: 17 },
      join(preamble(), ram()),
      'page-bits: stream: configuration.targetPageBits: target pages of 17 bits, 10 to 16 are known {"bits":17}',
    ],
    [
      'too many structures',
      { maxStructures: 3 },
      join(preamble(), ram(), kettle, kettle, pot, EOF),
      'limit: stream: more than 3 sections and commands (at byte 0x9a) {"limit":3}',
    ],
    [
      'too many commands',
      { maxStructures: 1 },
      join(preamble(), command(1, bytes()), command(1, bytes())),
      'limit: stream: more than 1 sections and commands (at byte 0x21) {"limit":1}',
    ],
    [
      'too much in commands',
      { maxDeviceState: 3 },
      join(preamble(), command(2, bytes(1, 2, 3, 4))),
      'limit: stream: more than 3 bytes of device state (at byte 0x0) {"bytes":4,"limit":3}',
    ],
  ])('%s', (_what, options, stream, said) => {
    const read = (length: number) => () => {
      const parser = new StreamParser(new CallLog(), { ...knowing, ...options });
      for (let at = 0; at < stream.length; at += length) parser.push(stream.subarray(at, at + length));
      parser.end();
    };
    expect(errorOf(read(1))).toBe(errorOf(read(1 << 20)));
    expect(errorOf(read(1 << 20))).toBe(said);
  });
});

test.each([10, 16])('target pages of %s bits are known', (pageBits) => {
  const stream = join(preamble(), ram(1 << 16), pot, EOF);
  const parser = new StreamParser(new CallLog(), { pageBits });
  parser.push(stream);
  expect(errorOf(() => parser.end())).toBe('no error');
});

test('behind its end a stream takes no more bytes, and ends once', () => {
  const log = new CallLog();
  const parser = new StreamParser(log);
  parser.push(join(preamble(), ram(), pot, EOF));
  parser.end();
  const calls = log.calls;
  parser.end();
  expect(log.calls).toEqual(calls);
  expect(errorOf(() => parser.push(EOF))).toBe(
    'ended: stream: the stream has ended: no more bytes can be pushed {}',
  );
});

test.each([1, 1 << 20])('too much device state, in pieces of %s bytes', (length) => {
  const stream = join(preamble(), ram(), kettle, pot, EOF);
  const parser = new StreamParser(new CallLog(), { maxDeviceState: 30 });
  const said = errorOf(() => {
    for (let at = 0; at < stream.length; at += length) parser.push(stream.subarray(at, at + length));
  });
  // all that came with the last piece would have been kept
  const wanted = length === 1 ? 31 : stream.length - 94;
  expect(said).toBe(
    `limit: stream: more than 30 bytes of device state (at byte 0x5e) {"bytes":${wanted},"limit":30}`,
  );
});

describe('zeros for which there is no room', () => {
  const stream = join(preamble(), ram(), pot, vmdescOf(listedPot));
  const read = (pieces: readonly Uint8Array[], maxDeviceState: number): readonly string[] => {
    const log = new CallLog();
    const parser = new StreamParser(log, { maxDeviceState });
    for (const piece of pieces) parser.push(piece);
    const atEnd = parser.atEnd;
    parser.end();
    const from = log.calls.findIndex((call) => call.startsWith('vmdesc'));
    return [...log.calls.slice(from + 1), `${atEnd}`];
  };
  /** Bytes behind the end of RAM. */
  const kept = stream.length - 94;

  test('stand behind the end, and what comes behind them is told once', () => {
    const zeros = new Uint8Array(50);
    const pieces = [stream, zeros, zeros, bytes(0, 1, 2), bytes(0), bytes(3)];
    const told =
      'finding trailing error stream  @383: bytes stand behind the end: QEMU does not read them, unless the stream ends elsewhere {}';
    const at = stream.length + 100;
    expect(read(pieces, kept + 102)).toEqual([
      `trailing 100 bytes ${'00'.repeat(8)} to ${'00'.repeat(8)}`,
      told.replace('@383', `@${at}`),
      'trailing 0001020003',
      'true',
    ]);
  });

  test('and with room for them nothing is decided before the end', () => {
    const zeros = new Uint8Array(100);
    const calls = read([stream, zeros, bytes(0, 1, 2)], kept + 103);
    expect(calls.slice(0, 1)).toEqual([
      `finding trailing error stream  @${stream.length}: 103 bytes stand behind the end: QEMU does not read them, unless the stream ends elsewhere {"bytes":103}`,
    ]);
    expect(calls.at(-1)).toBe('false');
  });

  test('are told in pieces of 64 KiB', () => {
    const lengths: number[] = [];
    class Pieces extends NullSink {
      override trailing(some: Uint8Array): void {
        lengths.push(some.length);
      }
    }
    const parser = new StreamParser(new Pieces(), {});
    parser.push(stream);
    parser.push(new Uint8Array(150_000));
    parser.end();
    expect(lengths).toEqual([65_536, 65_536, 18_928]);
  });
});

test('without a list of findings a sink is told the rest', () => {
  const { finding: _none, ...rest } = plainSink();
  const parser = new StreamParser(rest, knowing);
  parser.push(join(preamble(), ram(), full(7, 'known-4', bytes(1, 2, 3, 4)), EOF, bytes(1, 2, 3)));
  expect(errorOf(() => parser.end())).toBe('no error');
});

/** A sink that has nothing to say. */
function plainSink(): StreamSink {
  const nothing = (): void => {};
  return {
    libvirt: nothing,
    header: nothing,
    configuration: nothing,
    section: nothing,
    body: nothing,
    ramSize: nothing,
    ramBlock: nothing,
    ramRegion: nothing,
    ramPage: nothing,
    ramData: nothing,
    ramMark: nothing,
    footer: nothing,
    command: nothing,
    eof: nothing,
    vmdesc: nothing,
    trailing: nothing,
    finding: nothing,
  };
}
