/** Sections decoded by what the stream says of them: every kind of field, and texts that lie. */
import { leaves, nodeAt, type TraceNode, vmdescText } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import { byVmdesc, describeSection, parseVmdesc, type StreamSection, showValue } from '../src/index.ts';

/** A section with that body, described by that text: the members of a device. */
function section(hex: string, members: string, idstr = 'thing'): StreamSection {
  const text = `{"page_size": 4096, "devices": [{"name": "${idstr}", "instance_id": 0, ${members}}]}`;
  const [description] = parseVmdesc(Buffer.from(text)).devices;
  return {
    header: { kind: 'full', id: 1, idstr, instanceId: 0, versionId: 1, offset: 0 },
    offset: 0x100,
    body: Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex')),
    ...(description !== undefined && { description }),
  };
}

function decoded(hex: string, members: string): TraceNode | undefined {
  const made = section(hex, members);
  return made.description && byVmdesc(made, made.description);
}

/** `path = value` of every field that has bytes. */
function fields(root: TraceNode | undefined): string[] | undefined {
  return root && [...leaves(root)].map(({ path, node }) => `${path} = ${showValue(node.value)}`);
}

const vmsd = (name: string, ...fieldTexts: readonly string[]): string =>
  `"vmsd_name": "${name}", "version": 1, "fields": [${fieldTexts.join(', ')}]`;
const field = (name: string, type: string, size: number, more = ''): string =>
  `{"name": "${name}", ${more}"type": "${type}", "size": ${size}}`;
const x = field('x', 'uint8', 1);

describe('a section by its vmdesc', () => {
  test.each([
    [
      'numbers',
      '01 fffe 80000000 fffffffffffffffe',
      [x, field('a', 'int16', 2), field('b', 'uint32', 4), field('c', 'int64', 8)],
      ['x = 1', 'a = -2', 'b = 2147483648 (0x80000000)', 'c = -0x2'],
    ],
    [
      'numbers that must be equal',
      'ffffffffffffffff ffffffff',
      [field('a', 'int64 equal', 8), field('b', 'int32 le', 4)],
      ['a = 0xffffffffffffffff', 'b = -1'],
    ],
    ['truth', '00 01', [field('a', 'bool', 1), field('b', 'bool', 1)], ['a = false', 'b = true']],
    ['bytes', '0102', [field('a', 'buffer', 2)], ['a = 0102']],
    ['a type of its own', '0102', [field('a', 'msix state', 2)], ['a = 0102']],
    ['an array', '0001 0002', [field('a', 'uint16', 2, '"array_len": 2, ')], ['a[0] = 1', 'a[1] = 2']],
    [
      'an array by index',
      '01 0002',
      [field('a', 'uint8', 1, '"index": 0, '), field('a', 'uint16', 2, '"index": 1, ')],
      ['a[0] = 1', 'a[1] = 2'],
    ],
    [
      'a structure',
      '01 02',
      [`{"name": "s", "type": "struct", "struct": {${vmsd('s', x, x)}}, "size": 2}`],
      ['s.x[0] = 1', 's.x[1] = 2'],
    ],
    [
      'an array of them',
      '01 02',
      [`{"name": "s", "array_len": 2, "type": "struct", "struct": {${vmsd('s', x)}}, "size": 1}`],
      ['s[0].x = 1', 's[1].x = 2'],
    ],
    ['a helper', '07', [`{"name": "tmp", "type": "tmp", ${vmsd('t', x)}, "size": 1}`], ['tmp.x = 7']],
    ['an empty list', '00', [field('l', 'qtailq', 1)], ['l = 00']],
    [
      'a list',
      '01 07 01 08 00',
      [`{"name": "l", "type": "qtailq", ${vmsd('e', x)}, ${vmsd('e', x)}, "size": 5}`],
      ['l[0].x = 7', 'l[1].x = 8'],
    ],
    [
      'a list of different elements',
      '01 07 01 0008 00',
      [`{"name": "l", "type": "qlist", ${vmsd('e', x)}, ${vmsd('e', field('y', 'uint16', 2))}, "size": 6}`],
      ['l[0].x = 7', 'l[1].y = 8'],
    ],
    [
      'a tree with numbers for keys',
      '00000002 01 0000000000000005 07 01 0000000000000006 08 00',
      [`{"name": "t", "type": "gtree", ${vmsd('v', x)}, ${vmsd('v', x)}, "size": 25}`],
      ['t[0].key = 0x5', 't[0].x = 7', 't[1].key = 0x6', 't[1].x = 8'],
    ],
    [
      'a tree with structures for keys',
      '00000001 01 0005 07 00',
      [`{"name": "t", "type": "gtree", ${vmsd('k', field('k', 'uint16', 2))}, ${vmsd('v', x)}, "size": 9}`],
      ['t[0].k = 5', 't[0].x = 7'],
    ],
    [
      'null pointers in an array',
      '30 30 01 30',
      [
        field('p', 'nullptr', 1, '"array_len": 2, '),
        `{"name": "p", "type": "struct", "struct": {${vmsd('s', x)}}, "size": 1}`,
        field('p', 'ptr-marker', 1),
      ],
      ['p[0] = null', 'p[1] = null', 'p[2].x = 1', 'p[3] = null'],
    ],
  ])('%s', (_what, hex, texts, expected) => {
    const root = decoded(hex, vmsd('thing', ...texts));
    expect(fields(root)).toEqual(expected);
    expect([root?.start, root?.end]).toEqual([0x100, 0x100 + hex.replaceAll(' ', '').length / 2]);
  });

  test('with subsections, that are where they are said to be', () => {
    const text = `${vmsd('thing', x)}, "subsections": [{${vmsd('thing/more', x)}}]`;
    const name = Buffer.from('thing/more').toString('hex');
    const root = decoded(`01 05 0a ${name} 00000001 02`, text);
    expect(fields(root)).toEqual(['x = 1', 'thing/more.x = 2']);
    expect(nodeAt(root ?? expect.fail(), 'thing/more.x')?.start).toBe(0x100 + 17);
    expect(decoded(`01 05 0a ${name.replace('6d', '6e')} 00000001 02`, text)).toBeUndefined();
    expect(decoded(`01 06 0a ${name} 00000001 02`, text)).toBeUndefined();
  });

  test('keeps the bytes of what does not add up', () => {
    // a list that says nothing of its elements, a structure of another size, lists whose marks are missing or wrong
    expect(fields(decoded('01 07 00', vmsd('thing', field('l', 'qtailq', 3))))).toEqual(['l = 010700']);
    const wrong = `{"name": "s", "type": "struct", "struct": {${vmsd('s', x)}}, "size": 2}`;
    expect(fields(decoded('01 02', vmsd('thing', wrong)))).toEqual(['s = 0102']);
    const list = `{"name": "l", "type": "qtailq", ${vmsd('e', x)}, "size": 2}`;
    expect(fields(decoded('01 07', vmsd('thing', list)))).toEqual(['l = 0107']);
    const marked = `{"name": "l", "type": "qtailq", ${vmsd('e', x)}, "size": 3}`;
    expect(fields(decoded('01 07 00', vmsd('thing', marked)))).toEqual(['l[0].x = 7']);
    expect(decoded('00 07 00', vmsd('thing', marked))).toBeUndefined();
    expect(decoded('01 07 01', vmsd('thing', marked))).toBeUndefined();
    expect(decoded('01 02', vmsd('thing', x))).toBeUndefined();
    expect(decoded('', vmsd('thing', x))).toBeUndefined();
  });
});

describe('a vmdesc from a stranger', () => {
  test.each([
    ['no JSON', 'nonsense'],
    ['cut', '{"devices": [{"name": "a"'],
    ['something behind it', '{"devices": []} x'],
    ['no devices', '{"page_size": 4096}'],
    ['devices of another kind', '{"devices": 7}'],
    ['a list', '[]'],
    ['nothing', ''],
    ['nested too deep', `{"devices": ${'['.repeat(100_000)}`],
    ['a bad string', '{"devices": ["\\x"]}'],
  ])('%s: one error', (_what, text) => {
    expect(() => parseVmdesc(Buffer.from(text))).toThrow(
      expect.objectContaining({ code: 'vmdesc', layer: 'stream', path: 'vmdesc' }),
    );
  });

  test.each([
    '"fields": 5',
    '"fields": [5, null, "x", []]',
    '"fields": [{"name": {}, "type": 5, "size": -1}]',
    '"fields": [{"size": 1e99}]',
    '"fields": [{"type": "struct", "struct": [], "size": 1}]',
    '"subsections": {"a": 1}',
    '"vmsd_name": null',
    '"__proto__": {"fields": []}',
    '"fields": [{"name": "constructor", "type": "toString", "size": 1, "array_len": "x"}]',
  ])('%s does no harm', (members) => {
    expect(() => fields(decoded('00', members))).not.toThrow();
  });

  test('cannot ask for more fields than memory has', () => {
    const none = Array.from({ length: 1000 }, () => field('n', 'uint8', 0));
    const inner = `{"name": "s", "array_len": 60000, "type": "struct", "struct": {${vmsd('s', x, ...none)}}, "size": 1}`;
    const start = performance.now();
    expect(decoded('00'.repeat(60_000), vmsd('thing', inner))).toBeUndefined();
    expect(
      decoded('00', vmsd('thing', x, field('a', 'uint8', 0, '"array_len": 9007199254740991, '))),
    ).toBeDefined();
    expect(
      decoded('00', vmsd('thing', field('a', 'uint8', 1, '"array_len": 9007199254740991, '))),
    ).toBeUndefined();
    expect(performance.now() - start).toBeLessThan(5000);
  });

  test('is kept as it was, repeated keys and all', () => {
    const text = `{"page_size": 4096, "devices": [{"name": "a", "instance_id": 0, ${vmsd('a', `{"name": "l", "type": "qtailq", ${vmsd('e', x)}, ${vmsd('e', x)}, "size": 5}`)}}]}`;
    expect(vmdescText(parseVmdesc(Buffer.from(text)))).toBe(text);
    expect(vmdescText(parseVmdesc(Buffer.from(text.replaceAll(', ', ' ,\n').replaceAll(': ', ':'))))).toBe(
      text,
    );
  });
});

describe('sections that every stream has', () => {
  const { description: _none, ...timer } = section(
    '0000000000000001 0000000000000000 fffffffffffffffe',
    '"x": 1',
    'timer',
  );

  test('need no vmdesc', () => {
    expect(fields(describeSection(timer, { transports: [], devices: [] }))).toEqual([
      'cpuTicksOffset = 0x1',
      'unused1 = undefined',
      'cpuClockOffset = -0x2',
    ]);
    const state = {
      ...timer,
      header: { ...timer.header, idstr: 'globalstate' },
      body: new Uint8Array(104).fill(0x61, 4, 8),
    };
    expect(fields(describeSection(state, { transports: [], devices: [] }))?.[1]).toMatch(
      /^runstate = 61616161/,
    );
  });

  test('are only what they are: other lengths, other names', () => {
    const registry = { transports: [], devices: [], sections: {} };
    expect(describeSection({ ...timer, body: timer.body.subarray(1) }, registry)).toBeUndefined();
    expect(
      describeSection({ ...timer, header: { ...timer.header, idstr: 'constructor' } }, registry),
    ).toBeUndefined();
  });
});
