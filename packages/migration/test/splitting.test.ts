/** Where sections and streams end is not told by what a guest or a stranger has written to look like it. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  findVirtio,
  judgeStream,
  type MigrationStream,
  parseStream,
  StreamCollector,
  StreamParser,
} from '../src/index.ts';
import { described, footer, full, header, join, preamble, ram, ramStart, vmdesc, vmdescOf } from './made.ts';
import { parserOptions, registry } from './registry.ts';

const streamOf = (name: string): Uint8Array =>
  new Uint8Array(gunzipSync(readFileSync(new URL(`../../lab/streams/${name}.mig.gz`, import.meta.url))));
const small = streamOf('7.2.22/q72-pc-fullram-tiny');
const plain = parseStream(small, parserOptions);

/** The virtio devices of a stream, with all that is in them. */
function devices({ sections }: MigrationStream): string[] {
  return sections
    .filter((section) => findVirtio(section, registry) !== undefined)
    .map(({ header: { idstr }, body }) => `${idstr} ${Buffer.from(body).toString('hex')}`);
}

const codes = (stream: MigrationStream): string[] => judgeStream(stream, registry).map(({ code }) => code);
const names = ({ sections }: MigrationStream): string[] =>
  sections.map(({ header: { idstr }, body }) => `${idstr} ${body.length}`);

function sectionOf(stream: MigrationStream, name: string): MigrationStream['sections'][number] {
  const section = stream.sections.find(({ header: { idstr } }) => idstr.endsWith(name));
  if (section === undefined) throw new Error(`no section ${name}`);
  return section;
}

const net = sectionOf(plain, 'virtio-net');
const device = full(43, net.header.idstr, net.body, net.header.versionId);

describe('what the vmdesc says against the bytes', () => {
  test('hides no device by its type', () => {
    const text = Buffer.from(small).toString('latin1').replaceAll('"type": "virtio"', '"type": "buffer"');
    const stream = parseStream(Buffer.from(text, 'latin1'), parserOptions);
    expect(devices(stream)).toEqual(devices(plain));
    expect(codes(stream)).toEqual(['vmdesc-type', 'vmdesc-type']);
  });

  test('hides no device by a size, behind a section whose length is known', () => {
    const timer = full(40, 'timer', new Uint8Array(24), 2);
    const size = 24 + 5 + device.length + timer.length - 5;
    const made = join(preamble(), ram(), timer, device, timer, vmdescOf(described('timer', size)));
    const stream = parseStream(made, parserOptions);
    expect(devices(stream)).toHaveLength(1);
    expect(codes(stream)).toContain('vmdesc-size');
  });

  test('hides a device in a section that nobody knows, and that is said', () => {
    const a = full(40, 'kettle', new Uint8Array(24));
    const size = 24 + 5 + device.length + a.length - 5;
    const made = join(preamble(), ram(), a, device, a, vmdescOf(described('kettle', size)));
    expect(codes(parseStream(made, parserOptions))).toEqual(['hidden-device']);
  });

  test.each([
    ['a section is missing', [described('kettle', 4)], ['vmdesc-section']],
    [
      'a section more',
      [described('kettle', 4), described('kettle', 4, 'buffer', 1), described('pot', 3), described('pan', 1)],
      ['vmdesc-missing'],
    ],
    [
      'another order',
      [described('kettle', 4, 'buffer', 1), described('kettle', 4), described('pot', 3)],
      ['vmdesc-missing', 'vmdesc-section'],
    ],
    [
      'another size',
      [described('kettle', 4), described('kettle', 5, 'buffer', 1), described('pot', 3)],
      ['vmdesc-size'],
    ],
    ['nothing wrong', [described('kettle', 4), described('kettle', 4, 'buffer', 1), described('pot', 3)], []],
  ])('is found: %s', (_what, entries, expected) => {
    const made = join(
      preamble(),
      ram(),
      full(3, 'kettle', new Uint8Array(4)),
      full(4, 'kettle', new Uint8Array(4), 1, 1),
      full(5, 'pot', new Uint8Array(3)),
      vmdescOf(...entries),
    );
    const stream = parseStream(made, parserOptions);
    expect(names(stream)).toEqual(['kettle 4', 'kettle 4', 'pot 3']);
    expect([...new Set(codes(stream))]).toEqual(expected);
    const parser = new StreamParser(new StreamCollector(), parserOptions);
    parser.push(made);
    expect(parser.atEnd).toBe(expected.length === 0);
  });
});

test("a section whose version is a date, as that of QEMU's eeprom, is a section", () => {
  const kettle = full(40, 'kettle', new Uint8Array(24));
  const eeprom = full(41, '0000:00:02.0/eeprom', new Uint8Array(138), 20061113);
  const listed = [described('kettle', 24), described('0000:00:02.0/eeprom', 138)];
  for (const made of [
    join(preamble(), ram(), kettle, eeprom, vmdescOf(...listed)),
    join(preamble(), ram(), kettle, eeprom, Uint8Array.of(0)),
  ]) {
    const stream = parseStream(made, parserOptions);
    expect(names(stream)).toEqual(['kettle 24', '0000:00:02.0/eeprom 138']);
    expect(codes(stream)).toEqual([]);
  }
});

describe('an end inside of a section', () => {
  const fake = join(footer(9), vmdesc('{"page_size":4096,"devices":[]}'));
  const begin = join(preamble(), ram(), header(9, 'screen'), Uint8Array.of(1, 2, 3), fake);

  test('is none while more comes, and none when nothing comes', () => {
    const parser = new StreamParser(new StreamCollector(), parserOptions);
    parser.push(begin);
    expect(parser.atEnd).toBe(false);
    parser.push(new Uint8Array(300_000));
    expect(parser.atEnd).toBe(false);
    const collector = new StreamCollector();
    const whole = new StreamParser(collector, parserOptions);
    const rest = join(new Uint8Array(300_000), Uint8Array.of(5), footer(9));
    for (const piece of [
      begin,
      rest,
      device,
      vmdescOf(
        described('screen', 3 + fake.length + 300_001),
        described(net.header.idstr, net.body.length, 'virtio'),
      ),
    ])
      whole.push(piece);
    expect(whole.atEnd).toBe(true);
    whole.end();
    expect(devices(collector.partial())).toHaveLength(1);
    expect(codes(collector.partial())).toEqual([]);
  });

  test('is not taken silently where no vmdesc tells', () => {
    const stream = parseStream(
      join(begin, new Uint8Array(9), footer(9), device, Uint8Array.of(0)),
      parserOptions,
    );
    expect(codes(stream)).not.toEqual([]);
  });

  test('of RAM is said', () => {
    const stream = parseStream(
      join(
        preamble(),
        ramStart(),
        Buffer.from('0000000000000010', 'hex'),
        footer(2),
        vmdesc('{"devices":[]}'),
      ),
      parserOptions,
    );
    expect(codes(stream)).toEqual(['unfinished']);
  });

  test('with other bytes behind it is said', () => {
    const stream = parseStream(join(small, new Uint8Array(9), Uint8Array.of(1)), parserOptions);
    expect(devices(stream)).toEqual(devices(plain));
    expect(codes(stream)).toEqual(['trailing']);
  });
});

describe('bytes of a guest', () => {
  const be32 = (value: number): Uint8Array => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
  const text = Buffer.from(small)
    .toString('latin1')
    .slice(Buffer.from(small).lastIndexOf(0) + 1);
  const whole = vmdesc(text.slice(text.indexOf('{')));
  /** Pieces of a stream, as a guest could write them into a device of that id. */
  const piece = (id: number): fc.Arbitrary<Uint8Array> =>
    fc.oneof(
      fc.constant(footer(id)),
      fc.constantFrom(...plain.sections.map(({ header: { id: other } }) => footer(other))),
      fc.constant(Uint8Array.of(0)),
      fc.constant(vmdesc('{"page_size":4096,"devices":[]}')),
      fc.constant(whole),
      fc.constant(Uint8Array.of(8, 0, 2, 0, 4, 0, 0, 0, 0)),
      fc.constantFrom(...plain.sections.map(({ header: { id: other, idstr } }) => header(other, idstr))),
      fc.constant(join(Uint8Array.of(4), be32(id), header(id, net.header.idstr, 11).subarray(5))),
      fc.constant(device),
      fc.uint8Array({ maxLength: 12 }),
    );
  const attacks = fc
    .record({ index: fc.nat(plain.sections.length - 1), at: fc.double({ min: 0, max: 1, noNaN: true }) })
    .chain(({ index, at }) =>
      fc.record({
        index: fc.constant(index),
        at: fc.constant(at),
        bytes: fc
          .array(piece(plain.sections[index]?.header.id ?? 0), { minLength: 1, maxLength: 5 })
          .map((pieces) => join(...pieces)),
      }),
    );

  /** The stream with these bytes in a section, as many as there is room for. */
  function written({ index, at, bytes }: { index: number; at: number; bytes: Uint8Array }): Uint8Array {
    const section = plain.sections[index];
    if (section === undefined) throw new Error('no section');
    const room = Math.floor(at * section.body.length);
    const stream = small.slice();
    stream.set(bytes.subarray(0, section.body.length - room), section.offset + room);
    return stream;
  }

  test.each([true, false])('end nothing else than they did, or it is said; vmdesc: %s', (listed) => {
    const end = small.length - whole.length;
    let clean = 0;
    let said = 0;
    fc.assert(
      fc.property(attacks, fc.integer({ min: 500, max: 70_000 }), (attack, chunk) => {
        const made = written(attack);
        const stream = listed ? made : made.subarray(0, end + 1);
        const collector = new StreamCollector();
        const parser = new StreamParser(collector, parserOptions);
        try {
          for (let at = 0; at < stream.length; at += chunk) {
            parser.push(stream.subarray(at, at + chunk));
            if (parser.atEnd) expect(at + chunk).toBeGreaterThanOrEqual(stream.length);
          }
          parser.end();
        } catch (error) {
          if (!(error instanceof Error && error.name === 'StateError')) throw error;
          said++;
          return;
        }
        const found = collector.partial();
        if (codes(found).length > 0) said++;
        else {
          clean++;
          expect(names(found)).toEqual(names(plain));
        }
      }),
      { numRuns: 400 },
    );
    expect(clean).toBeGreaterThan(50);
    // with a vmdesc nearly nothing that a guest writes keeps its machine from being moved
    expect(said).toBeLessThan(listed ? 150 : 350);
  });
});

describe('of many findings a few are kept', () => {
  test('16 about one vmdesc', () => {
    // a name of the vmdesc in front of each section that the stream does not have
    const count = 40;
    const sections = Array.from({ length: count }, (_, n) => full(10 + n, `kettle${n}`, Uint8Array.of(1)));
    const entries = Array.from({ length: count }, (_, n) => [
      described(`pot${n}`, 1),
      described(`kettle${n}`, 1),
    ]).flat();
    const stream = parseStream(join(preamble(), ram(), ...sections, vmdescOf(...entries)), parserOptions);
    expect(stream.sections).toHaveLength(count);
    const missing = (stream.findings ?? []).filter(({ code }) => code === 'vmdesc-missing');
    expect(missing).toHaveLength(16);
    expect(missing[0]?.reason).toContain('first "pot0" 0');
  });

  test('64 about one stream', () => {
    const collector = new StreamCollector();
    for (let n = 0; n < 1000; n++)
      collector.finding({
        code: 'trailing',
        severity: 'error',
        layer: 'stream',
        path: `${n}`,
        reason: '',
        facts: {},
      });
    expect(collector.partial().findings).toHaveLength(64);
    expect(collector.partial().findings?.at(-1)?.path).toBe('63');
  });
});
