// Places where one byte, one more look or one more question decides: what the parser does just there.
import { describe, expect, test } from 'vitest';
import { type ParserOptions, StreamParser, type StreamSink } from '../src/index.ts';
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

const bytes = (...values: readonly number[]): Uint8Array => Uint8Array.of(...values);
const command = (number: number, payload: Uint8Array): Uint8Array =>
  join(bytes(8, 0, number, payload.length >> 8, payload.length & 0xff), payload);
const EOF = bytes(0);
const kettle = full(40, 'kettle', bytes(1, 2, 3, 4, 5));
const pot = full(41, 'pot', bytes(6, 7, 0), 3, 2);

/** What is told of a stream that is pushed in these pieces. */
function told(pieces: readonly Uint8Array[], options: ParserOptions = {}): readonly string[] {
  const log = new CallLog();
  const parser = new StreamParser(log, options);
  const error = errorOf(() => {
    for (const piece of pieces) parser.push(piece);
    parser.end();
  });
  return error === 'no error' ? log.calls : [...log.calls, error];
}

function inPieces(stream: Uint8Array, length: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < stream.length; at += length) pieces.push(stream.subarray(at, at + length));
  return pieces;
}

const bodies = (calls: readonly string[]): readonly string[] =>
  calls.filter((call) => call.startsWith('body')).map((call) => call.replace(/ at \d+$/, ''));
const findings = (calls: readonly string[]): readonly string[] =>
  calls.filter((call) => call.startsWith('finding')).map((call) => call.split(' ')[1] ?? '');

describe('a stream that ends too early says where:', () => {
  test.each([
    ['nothing', bytes(), 'there are no bytes at all'],
    ['in the magic', text('QEV'), '4 bytes wanted, 3 left'],
    ["in libvirt's magic", text('LibvirtQ'), 'not a migration stream'],
    [
      'behind the configuration',
      preamble(),
      'the stream ends where a section, a command or its end should begin',
    ],
    [
      'in a page',
      join(preamble(), ramStart(), be64(8), bytes(6), text('pc.ram'), bytes(1, 2)),
      'the stream ends in the middle of section "ram"',
    ],
    [
      'in front of a footer',
      join(preamble(), ramStart(), be64(0x10)),
      'the stream ends in the middle of section "ram"',
    ],
  ])('%s', (_where, stream, words) => {
    for (const length of [1, 1 << 16]) expect(told(inPieces(stream, length)).at(-1)).toContain(words);
  });
});

test('a structure that lies in two pieces, of which the second is large', () => {
  // larger than what is joined at once, and a command that is larger than that, too
  const commands = Array.from({ length: 450 }, (_, n) => command(1, join(be32(n), bytes(n & 0xff))));
  const stream = join(preamble(), ...commands, command(2, new Uint8Array(9_000).fill(7)), ram(), kettle, EOF);
  const whole = told([stream]);
  expect(whole.filter((call) => call.startsWith('command'))).toHaveLength(451);
  const long = stream.length - 9_000;
  for (const cut of [9, 33, long - 180, long, long + 4_300])
    expect(told([stream.subarray(0, cut), stream.subarray(cut)]), `cut at ${cut}`).toEqual(whole);
});

describe('the configuration', () => {
  const subsection = (name: string, version: number, body: Uint8Array): Uint8Array =>
    join(bytes(5, name.length), text(name), be32(version), body);
  const stream = join(
    preamble('none'),
    subsection('configuration/target-page-bits', 1, be32(13)),
    subsection('configuration/capabilities', 1, join(be32(1), bytes(3), text('xyz'))),
    ram(0x2000),
    EOF,
  );

  test('has its subsections, however it is cut', () => {
    const whole = told([stream]);
    expect(whole[1]).toBe('configuration {"name":"none","targetPageBits":13,"capabilities":["xyz"]}');
    for (const length of [1, 2, 7]) expect(told(inPieces(stream, length))).toEqual(whole);
    for (let cut = 1; cut < 90; cut++)
      expect(told([stream.subarray(0, cut), stream.subarray(cut)]), `cut at ${cut}`).toEqual(whole);
  });

  test('is told before the end', () => {
    const log = new CallLog();
    const parser = new StreamParser(log);
    parser.push(join(stream.subarray(0, -1), full(50, 'long', new Uint8Array(600))));
    expect(log.calls[1]).toBe('configuration {"name":"none","targetPageBits":13,"capabilities":["xyz"]}');
  });

  test('is not waited for when there may be no more of it', () => {
    const log = new CallLog();
    const parser = new StreamParser(log);
    parser.push(join(preamble(), command(1, bytes())));
    expect(log.calls.map((call) => call.split(' ')[0])).toEqual(['header', 'configuration', 'command']);
  });

  test('comes once, and in front of everything else', () => {
    const config = preamble().subarray(8);
    const twice = told([join(preamble(), config, ram(), EOF)]);
    const late = told([join(text('QEVM'), be32(3), command(1, bytes()), config, ram(), EOF)]);
    for (const calls of [twice, late]) expect(calls.at(-1)).toMatch(/^section-type: .*7/);
  });
});

describe('a section in front of RAM', () => {
  const behind = join(ram(), EOF);

  test('may be empty', () => {
    const calls = told(inPieces(join(preamble(), full(1, 'early', bytes()), behind), 3));
    expect(bodies(calls)).toEqual(['body  of early']);
    const alone = told(inPieces(join(preamble(), header(1, 'early'), footer(1), EOF), 5));
    expect(bodies(alone)).toEqual(['body  of early']);
    expect(alone.at(-1)).toBe('eof');
  });

  test('does not end where what follows cannot', () => {
    const body = join(bytes(1), footer(1), bytes(0x55, 2), footer(1), bytes(4, 0, 0, 0, 0x55));
    const stream = join(preamble(), full(1, 'early', body), behind);
    for (const length of [1, 2, 5, stream.length])
      expect(bodies(told(inPieces(stream, length)))).toEqual([
        `body ${Buffer.from(body).toString('hex')} of early`,
      ]);
  });

  /** So many places at which it could end, in front of the one at which it does. */
  const many = (count: number): Uint8Array =>
    join(...Array.from({ length: count }, () => join(footer(1), header(9, 'cup'))));

  test('is asked of its device 64 times, and then ends at the next place', () => {
    for (const [places, ends] of [
      [63, 63],
      [64, 64],
      [65, 64],
      [90, 64],
    ] as const) {
      const body = many(places);
      let questions = 0;
      const accepts = (_header: unknown, some: Uint8Array): boolean => {
        questions++;
        return some.length === body.length;
      };
      const calls = told([join(preamble(), full(1, 'early', body), behind)], { accepts });
      const [first = ''] = bodies(calls);
      expect(first.length, `${places} places`).toBe(
        `body ${'00'.repeat(ends * many(1).length)} of early`.length,
      );
      // the others come from what is behind RAM, or from sections that the guest has made of them
      expect(questions).toBeGreaterThanOrEqual(Math.min(places + 1, 64));
      expect(questions).toBeLessThan(200);
    }
  });

  test('whose device knows no length is asked whether it accepts a body', () => {
    const body = join(footer(1), header(9, 'cup'), bytes(3));
    const options: ParserOptions = {
      lengths: () => [],
      accepts: (_header, some) => some.length === body.length,
    };
    expect(bodies(told([join(preamble(), full(1, 'early', body), behind)], options))).toHaveLength(1);
  });
});

describe('the end', () => {
  const ended = join(preamble(), ram(), kettle, vmdescOf(described('kettle', 5)));

  test('is looked for once at each place', () => {
    let looks = 0;
    const lengths = (): undefined => void looks++;
    const parser = new StreamParser(new CallLog(), { lengths });
    parser.push(ended);
    expect(parser.atEnd).toBe(true);
    const once = looks;
    expect(once).toBeGreaterThan(0);
    for (let n = 0; n < 1000; n++) expect(parser.atEnd).toBe(true);
    expect(looks).toBe(once);
  });

  test('is looked for at 64 places', () => {
    let questions = 0;
    const lengths = (): undefined => void questions++;
    const parser = new StreamParser(new CallLog(), { lengths });
    parser.push(join(preamble(), ram(), header(40, 'kettle'), bytes(1, 2, 3, 4, 5)));
    // each looks like the end, and is in the body of the first section
    const fake = join(footer(40), vmdescOf(described('kettle', 5)));
    const looked: boolean[] = [];
    for (let n = 0; n < 68; n++) {
      parser.push(fake);
      questions = 0;
      expect(parser.atEnd).toBe(n === 0);
      looked.push(questions > 0);
    }
    expect(looked.lastIndexOf(true)).toBe(63);
    expect(looked.indexOf(false)).toBe(64);
  });

  test('is none where the sections in front of it are not whole, and an error of the device is told', () => {
    const wrong = join(preamble(), ram(), kettle, bytes(0x55), vmdescOf(described('kettle', 5)));
    const parser = new StreamParser(new CallLog(), {});
    parser.push(wrong);
    expect(parser.atEnd).toBe(false);
    const lengths = (): never => {
      throw new TypeError('of the device');
    };
    const other = new StreamParser(new CallLog(), { lengths });
    other.push(ended);
    expect(() => other.atEnd).toThrow(new TypeError('of the device'));
  });

  test('has zeros behind it that are nothing, and a first byte that is something', () => {
    const kept = ended.length - join(preamble(), ram()).length;
    const read = (...pieces: readonly Uint8Array[]): readonly string[] =>
      findings(told([ended, new Uint8Array(50), ...pieces], { maxDeviceState: kept + 51 }));
    expect(read(bytes(0, 0))).toEqual([]);
    expect(read(bytes(1, 0, 0))).toEqual(['trailing']);
    expect(read(bytes(0, 0, 1), bytes(2))).toEqual(['trailing']);
  });
});

test('what comes behind an end that fills all the room is too much, unless zeros have come between', () => {
  const ended = join(preamble(), ram(), kettle, vmdescOf(described('kettle', 5)));
  const maxDeviceState = ended.length - join(preamble(), ram()).length;
  expect(told([ended, bytes(1)], { maxDeviceState }).at(-1)).toMatch(/^limit: /);
  expect(findings(told([ended, bytes(0), bytes(1)], { maxDeviceState }))).toEqual(['trailing']);
  // a sink need not listen to findings
  const { finding: _none, ...rest } = sinkOf();
  const parser = new StreamParser(rest, { maxDeviceState });
  parser.push(ended);
  parser.push(bytes(0));
  expect(errorOf(() => parser.push(bytes(1)))).toBe('no error');
});

/** A sink that has nothing to say. */
function sinkOf(): StreamSink {
  const nothing = (): void => {};
  return {
    ...{ libvirt: nothing, header: nothing, configuration: nothing, section: nothing, body: nothing },
    ...{ ramSize: nothing, ramBlock: nothing, ramRegion: nothing, ramPage: nothing, ramData: nothing },
    ...{
      ramMark: nothing,
      footer: nothing,
      command: nothing,
      eof: nothing,
      vmdesc: nothing,
      trailing: nothing,
    },
    finding: nothing,
  };
}

test("what may become libvirt's header is waited for", () => {
  const parser = new StreamParser(new CallLog());
  expect(errorOf(() => parser.push(text('LibvirtQ')))).toBe('no error');
});

test('a vmdesc that is cut off is told as such', () => {
  const stream = join(preamble(), ram(), bytes(0, 6), be32(9), text('{}'));
  expect(told([stream]).at(-1)).toBe(
    `truncated: stream: vmdesc: 9 bytes wanted, 2 left (at byte 0x${(stream.length - 2).toString(16)}) {"wanted":9,"available":2}`,
  );
});

test('an empty section at the very end is whole', () => {
  const calls = told([join(preamble(), header(1, 'early'), footer(1))]);
  expect(bodies(calls)).toEqual(['body  of early']);
  expect(calls.at(-1)).toContain('the stream ends where a section');
});

test('a section whose end is missing is no finding of its size', () => {
  const calls = told([
    join(preamble(), ram(), header(40, 'kettle'), bytes(1, 2), vmdescOf(described('kettle', 2))),
  ]);
  expect(calls.at(-1)).toContain('the end of the section is missing');
  expect(findings(calls)).toEqual([]);
});

describe('a size that somebody says of a section', () => {
  const body = join(bytes(1, 2, 3), footer(40), bytes(0x55, 9, 9), footer(41), bytes(4, 5, 6, 0));
  const old = join(
    text('QEVM'),
    be32(3),
    ramStart(),
    be64(0x10),
    bytes(3),
    be32(2),
    be64(0x10),
    header(40, 'kettle'),
    body,
    header(41, 'pot'),
    bytes(6, 7, 0),
  );
  const stream = join(preamble(), ram(), full(40, 'kettle', body), pot);
  const expected = [`body ${Buffer.from(body).toString('hex')} of kettle`, 'body 060700 of pot'];
  const sizes = [...Array.from({ length: 46 }, (_, n) => n), 80, 4096, 0x7fffffff];

  test('in the vmdesc counts where it can be, and is a finding everywhere else', () => {
    for (const size of sizes) {
      const calls = told([
        join(stream, vmdescOf(described('kettle', size), described('pot', 3, 'buffer', 2))),
      ]);
      expect(bodies(calls), `${size} bytes`).toEqual(expected);
      expect(findings(calls).includes('vmdesc-size'), `${size} bytes`).toBe(size !== body.length);
    }
  });

  test('by its device counts where it can be', () => {
    for (const size of [-1, -100, ...sizes]) {
      const lengths: ParserOptions['lengths'] = ({ idstr }) => (idstr === 'kettle' ? [size] : undefined);
      expect(bodies(told([join(stream, EOF)], { lengths })), `${size} bytes`).toEqual(expected);
      const both = join(stream, vmdescOf(described('kettle', body.length), described('pot', 3, 'buffer', 2)));
      expect(bodies(told([both], { lengths })), `${size} bytes`).toEqual(expected);
    }
  });

  test('counts without footers as well', () => {
    const end = vmdescOf(described('kettle', body.length), described('pot', 3));
    const others = ['body 060700 of pot'];
    // at the one place where the stream could end, the vmdesc is believed
    const whole = body.length + header(41, 'pot').length + 3;
    for (const size of sizes.filter((each) => each !== whole)) {
      const calls = told([join(old, vmdescOf(described('kettle', size), described('pot', 3)))]);
      expect(bodies(calls).slice(1), `${size} bytes`).toEqual(others);
    }
    expect(bodies(told([join(old, end)]))).toEqual(expected);
    expect(findings(told([join(old, end)]))).toEqual([]);
  });

  test('is asked of a device that never says it right some 64 times', () => {
    let questions = 0;
    const lengths = (): readonly number[] => {
      questions++;
      return [3000];
    };
    const sections = Array.from({ length: 200 }, (_, n) => full(100 + n, `s${n}`, bytes(1, 2)));
    const calls = told([join(preamble(), ram(), ...sections, EOF)], { lengths });
    expect(bodies(calls)).toHaveLength(200);
    expect(questions).toBe(65);
    questions = 0;
    const right = (): readonly number[] => {
      questions++;
      return [2];
    };
    told([join(preamble(), ram(), ...sections, EOF)], { lengths: right });
    expect(questions).toBe(200);
  });
});

test('an end that lies in a section is none where a vmdesc stands further behind', () => {
  const body = join(bytes(1), footer(40), EOF, bytes(2), footer(40), vmdesc('{}'), bytes(3));
  const stream = join(
    preamble(),
    ram(),
    full(40, 'kettle', body),
    vmdescOf(described('kettle', body.length)),
  );
  for (const length of [1, 17, stream.length]) {
    const calls = told(inPieces(stream, length));
    expect(bodies(calls)).toEqual([`body ${Buffer.from(body).toString('hex')} of kettle`]);
    expect(findings(calls)).toEqual([]);
  }
});

test('a section whose two lengths are both possible is said to be ambiguous, at both places', () => {
  const inner = join(bytes(1, 2), footer(40), header(41, 'pot'), bytes(5));
  const stream = join(preamble(), ram(), full(40, 'kettle', inner), EOF);
  const lengths: ParserOptions['lengths'] = ({ idstr }) =>
    idstr === 'kettle' ? [inner.length, 2] : undefined;
  const calls = told([stream], { lengths });
  expect(bodies(calls)).toEqual([`body ${Buffer.from(inner).toString('hex')} of kettle`]);
  const [finding = ''] = calls.filter((call) => call.startsWith('finding'));
  const [, one, other] = /ends at byte (\d+) or at byte (\d+):/.exec(finding) ?? [];
  expect(Number(one) - Number(other)).toBe(inner.length - 2);
});

test('what is asked of devices that never agree has a budget: 64 bytes for each byte of device state', () => {
  // a section with many places at which it could end, each of them followed by another section
  const stream = (places: number): Uint8Array =>
    join(
      preamble(),
      ram(),
      full(
        40,
        'kettle',
        join(...Array.from({ length: places }, (_, n) => join(footer(40), header(99, `n${n}`)))),
      ),
      pot,
      EOF,
    );
  for (const places of [10, 600]) {
    let asked = 0;
    const accepts = (_header: unknown, some: Uint8Array): boolean => {
      asked += some.length;
      return false;
    };
    const calls = told([stream(places)], { accepts });
    const kept = stream(places).length;
    // each of them whole, where there is room for that
    const all = Array.from({ length: places }, (_, n) => (n * kept) / places).reduce(
      (sum, each) => sum + each,
      0,
    );
    expect(asked, `${places} places`).toBeGreaterThan(Math.min(all * 0.5, 40 * kept));
    expect(asked, `${places} places`).toBeLessThan(70 * kept);
    const isCut = calls.some((call) => call.includes('at more places than could be looked at'));
    expect(isCut, `${places} places`).toBe(places === 600);
  }
});

test('a vmdesc that lists other sections than there are leaves the first place at which a section can end', () => {
  const inner = join(bytes(1, 2), footer(40), header(99, 'cup'), bytes(5));
  const one = join(preamble(), ram(), full(40, 'kettle', inner), pot);
  const sizes = (size: number, ...behind: readonly string[]): Uint8Array =>
    join(one, vmdescOf(described('kettle', size), ...behind));
  const whole = Buffer.from(inner).toString('hex');
  // the vmdesc knows what comes next: the first place at which that begins
  expect(bodies(told([sizes(3, described('pot', 3, 'buffer', 2))]))).toEqual([
    `body ${whole} of kettle`,
    'body 060700 of pot',
  ]);
  // it lists neither: the first place of all
  const lost = told([sizes(3, described('lamp', 3))]);
  expect(bodies(lost)[0]).toBe('body 0102 of kettle');
  expect(findings(lost)).toContain('ambiguous');
  expect(lost.find((call) => call.startsWith('finding ambiguous'))).toMatch(
    /ends at byte \d+ or at byte \d+:/,
  );
});

test('without footers a section ends where the next one that is listed begins', () => {
  const old = join(text('QEVM'), be32(3), ramStart(), be64(0x10), bytes(3), be32(2), be64(0x10));
  const inner = join(bytes(1, 2), header(99, 'cup'), bytes(5));
  const stream = join(old, header(40, 'kettle'), inner, header(41, 'pot'), bytes(6, 7));
  const whole = Buffer.from(inner).toString('hex');
  const read = (...entries: readonly string[]): readonly string[] =>
    bodies(told([join(stream, vmdescOf(...entries))]));
  expect(read(described('kettle', inner.length), described('pot', 2))).toEqual([
    `body ${whole} of kettle`,
    'body 0607 of pot',
  ]);
  expect(read(described('kettle', 3), described('pot', 2))).toEqual([
    `body ${whole} of kettle`,
    'body 0607 of pot',
  ]);
  const known: ParserOptions = { lengths: ({ idstr }) => (idstr === 'kettle' ? [inner.length] : undefined) };
  expect(bodies(told([join(stream, EOF)], known))).toEqual([`body ${whole} of kettle`, 'body 0607 of pot']);
  const wrong: ParserOptions = {
    lengths: ({ idstr }) => (idstr === 'kettle' ? [inner.length - 1] : undefined),
  };
  expect(bodies(told([join(stream, EOF)], wrong))[0]).toBe('body 0102 of kettle');
});

describe('what the vmdesc does not list', () => {
  const inner = join(bytes(1, 2), footer(40), header(99, 'cup'), bytes(5));
  const stream = join(preamble(), ram(), full(40, 'kettle', inner), pot);
  const potOnly = join(stream, vmdescOf(described('pot', 3, 'buffer', 2)));

  test('ends at the first place', () => {
    expect(bodies(told([potOnly]))[0]).toBe('body 0102 of kettle');
  });

  test('has no size that could be wrong', () => {
    const lengths: ParserOptions['lengths'] = ({ idstr }) =>
      idstr === 'kettle' ? [inner.length] : undefined;
    const calls = told([potOnly], { lengths });
    expect(bodies(calls)).toHaveLength(2);
    expect(findings(calls)).not.toContain('vmdesc-size');
  });
});

test('an end of the stream inside of a section is none, whoever says so', () => {
  const fakes: readonly Uint8Array[] = [
    join(bytes(1, 2), footer(40), EOF, bytes(5)),
    join(bytes(1, 2), footer(40), bytes(0, 9), be32(2), text('{}'), bytes(5)),
  ];
  for (const inner of fakes) {
    const stream = join(preamble(), ram(), full(40, 'kettle', inner), pot);
    const expected = [`body ${Buffer.from(inner).toString('hex')} of kettle`, 'body 060700 of pot'];
    const saidWrongly = join(stream, vmdescOf(described('kettle', 3), described('pot', 3, 'buffer', 2)));
    expect(bodies(told([saidWrongly]))).toEqual(expected);
    expect(bodies(told([join(stream, EOF)]))).toEqual(expected);
    const lengths: ParserOptions['lengths'] = ({ idstr }) =>
      idstr === 'kettle' ? [inner.length, 2] : undefined;
    const measured = told([join(stream, EOF)], { lengths });
    expect(bodies(measured)).toEqual(expected);
    expect(findings(measured)).toEqual([]);
  }
});

test('the last part of a section may end at two places, the others at more', () => {
  const two = join(bytes(1, 2), footer(6), header(99, 'cup'), bytes(5));
  const start = join(bytes(1), header(6, 'dirty').subarray(1), bytes(4), footer(6));
  const end = join(bytes(3), be32(6), two, footer(6));
  const calls = told([join(preamble(), ram(), start, end, EOF)]);
  expect(findings(calls)).toContain('ambiguous');
  // the same where nobody listens to findings
  const { finding: _none, ...rest } = sinkOf();
  const parser = new StreamParser(rest, {});
  parser.push(join(preamble(), ram(), start, end, EOF));
  expect(errorOf(() => parser.end())).toBe(calls.at(-1));
});

test('where the vmdesc confirms an end that the device does not, no other place is told', () => {
  const stream = join(
    preamble(),
    ram(),
    kettle,
    full(41, 'pot', join(bytes(6), footer(40), header(98, 'cup'))),
    vmdescOf(described('kettle', 5), described('pot', 1 + 5 + header(98, 'cup').length)),
  );
  const calls = told([stream], { accepts: () => false });
  expect(bodies(calls)[0]).toBe('body 0102030405 of kettle');
  expect(findings(calls)).not.toContain('ambiguous');
});

test('an end that is not known is one error, and nothing is found on the way', () => {
  const calls = told([join(preamble(), ram(), header(40, 'kettle'), bytes(1, 2, 3))]);
  expect(calls.at(-1)).toContain('the end of the section is missing: 3 bytes');
  expect(findings(calls)).toEqual([]);
});
