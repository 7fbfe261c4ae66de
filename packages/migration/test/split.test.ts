// What could begin at a place of a stream, byte by byte: a section whose length nobody knows ends where something can begin.
import { describe, expect, test } from 'vitest';
import type { SectionHeader } from '../src/events.ts';
import { findFooter, findHeader, plausibleNext } from '../src/split.ts';
import { footer, header, join } from './made.ts';

const known: SectionHeader = {
  kind: 'start',
  id: 0x01020304,
  idstr: 'block',
  instanceId: 0,
  versionId: 1,
  offset: 0,
};
const started = new Map([[known.id, known]]);
const pad = Uint8Array.of(0xee, 0xee, 0xee);
const bytes = (...values: readonly number[]): Uint8Array => Uint8Array.of(...values);
const name = (text: string): Uint8Array => header(1, text);
const startOf = (whole: Uint8Array): Uint8Array => {
  const some = whole.slice();
  some[0] = 1;
  return some;
};

describe('what could begin here', () => {
  test.each<[string, Uint8Array, 'yes' | 'no' | 'unknown']>([
    ['nothing is there', bytes(), 'unknown'],
    ['the end of the stream, last', bytes(0), 'yes'],
    ['an end, and too little behind it', bytes(0, 6), 'unknown'],
    ['an end, and one byte too few for a vmdesc', bytes(0, 6, 0, 0, 0, 2), 'unknown'],
    ['an end and a vmdesc', bytes(0, 6, 0, 0, 0, 2, 0x7b), 'yes'],
    ['an end and a vmdesc that is no object', bytes(0, 6, 0, 0, 0, 2, 0x5b), 'no'],
    ['an end and something else', bytes(0, 5, 0, 0, 0, 2, 0x7b), 'no'],
    ['a whole section', name('kettle'), 'yes'],
    ['the start of a section', startOf(name('kettle')), 'yes'],
    ['a section without its number', bytes(4, 0, 0, 0, 1), 'unknown'],
    ['a section without a name', bytes(4, 0, 0, 0, 1, 0), 'no'],
    ['a name that has not come', bytes(4, 0, 0, 0, 1, 3, 0x61), 'unknown'],
    ['a name with a control character, cut off', bytes(4, 0, 0, 0, 1, 3, 0x61, 0x1f), 'no'],
    ['a name with a byte behind ASCII, cut off', bytes(4, 0, 0, 0, 1, 3, 0x61, 0x7f), 'no'],
    ['a header without its last byte', name('kettle').subarray(0, -1), 'unknown'],
    ['a name that begins with a control character', name('\x1fb'), 'no'],
    ['a name that ends with one', name('b\x1f'), 'no'],
    ['a name of the first and the last letter there may be', name(' ~'), 'yes'],
    ['a name of one letter', name('~'), 'yes'],
    ['control characters behind the name', header(1, 'kettle', 1, 0x01020304), 'yes'],
    ['the largest small version', header(1, 'kettle', 0xffff), 'yes'],
    ['a larger one', header(1, 'kettle', 0x10000), 'no'],
    ['the day before the first', header(1, 'kettle', 1990_01_00), 'no'],
    ['the first day', header(1, 'kettle', 1990_01_01), 'yes'],
    ['the last day', header(1, 'kettle', 2099_12_31), 'yes'],
    ['the day behind the last', header(1, 'kettle', 2099_12_32), 'no'],
    ['a part of a section that was started', bytes(2, 1, 2, 3, 4), 'yes'],
    ['the end of one', bytes(3, 1, 2, 3, 4), 'yes'],
    ['a part of none', bytes(2, 1, 2, 3, 5), 'no'],
    ['the end of none', bytes(3, 1, 2, 3, 5), 'no'],
    ['a part whose number is cut off', bytes(2, 1, 2, 3), 'unknown'],
    ['an end whose number is cut off', bytes(3, 9, 9, 9), 'unknown'],
    ['the last command', bytes(8, 0, 11, 0, 0), 'yes'],
    ['a command behind the last', bytes(8, 0, 12, 0, 0), 'no'],
    ['a command of another kind', bytes(8, 1, 1, 0, 0), 'no'],
    ['a command that is cut off', bytes(8, 0, 1, 0), 'unknown'],
    ['a subsection', bytes(5, 1, 2, 3, 4, 5, 6, 7), 'no'],
    ['a footer', footer(1), 'no'],
    ['a configuration', bytes(7, 0, 0, 0, 1, 0x61, 0, 0), 'no'],
  ])('%s', (_what, some, said) => {
    expect(plausibleNext(some, 0, started)).toBe(said);
    // and at a place that is not the first one
    expect(plausibleNext(join(pad, some), pad.length, started)).toBe(said);
  });
});

test('the end is that of the stream only where nothing else is there', () => {
  expect(plausibleNext(bytes(9, 9, 0), 2, started)).toBe('yes');
  expect(plausibleNext(bytes(9, 0, 9), 1, started)).toBe('unknown');
});

describe('the next footer', () => {
  const some = join(bytes(0x7e, 0x7e), footer(5), bytes(1), footer(6), footer(5), bytes(0x7e, 0, 0, 0));

  test('of that section', () => {
    expect(findFooter(some, 0, 5)).toBe(2);
    expect(findFooter(some, 2, 5)).toBe(2);
    expect(findFooter(some, 3, 5)).toBe(13);
    expect(findFooter(some, 0, 6)).toBe(8);
  });

  test('is not there', () => {
    expect(findFooter(some, 14, 5)).toBe(-1);
    expect(findFooter(some, 0, 7)).toBe(-1);
    // its number is cut off, of which nothing is known
    expect(findFooter(some, 14, 0)).toBe(-1);
    expect(findFooter(footer(0).subarray(0, 4), 0, 0)).toBe(-1);
    expect(findFooter(bytes(), 0, 0)).toBe(-1);
  });

  test('is found where it is the last thing there is', () => {
    expect(findFooter(footer(0x7e7e7e7e), 0, 0x7e7e7e7e)).toBe(0);
  });
});

describe('without footers the next header', () => {
  test('of a section, whole or in parts', () => {
    expect(findHeader(join(pad, name('pot')), 0, started)).toBe(3);
    expect(findHeader(join(pad, startOf(name('pot')), name('pan')), 0, started)).toBe(3);
    expect(findHeader(join(pad, startOf(name('pot')), name('pan')), 4, started)).toBe(3 + name('pot').length);
  });

  test('or the end of the stream', () => {
    expect(findHeader(join(pad, bytes(0)), 0, started)).toBe(3);
    expect(findHeader(join(pad, bytes(0, 6, 0, 0, 0, 2, 0x7b, 0x7d)), 0, started)).toBe(3);
  });

  test('and no part, whose number could be anything, nor what has not all come', () => {
    expect(findHeader(join(pad, bytes(2, 1, 2, 3, 4), pad), 0, started)).toBe(-1);
    expect(findHeader(join(pad, bytes(3, 1, 2, 3, 4), pad), 0, started)).toBe(-1);
    expect(findHeader(join(pad, bytes(8, 0, 1, 0, 0), pad), 0, started)).toBe(-1);
    const cutOff = header(0x11111111, 'pot', 1, 0x11111111).subarray(0, -4);
    expect(findHeader(join(pad, cutOff), 0, started)).toBe(-1);
    expect(findHeader(pad, 0, started)).toBe(-1);
  });
});
