/** The vmdesc of structures, in QEMU's words and spacing. Real text is compared in `packages/migration`. */
import {
  array,
  bool,
  counted,
  countedBytes,
  describe as describeNode,
  type Field,
  list,
  named,
  nullable,
  Reader,
  sparseArray,
  Trace,
  typed,
  u8,
  u16,
  u32,
  vmdescText,
  vmstate,
  Writer,
} from '@virtkit/vmstate';
import { expect, test } from 'vitest';
import { bytes, traced } from './helpers.ts';

const point = vmstate('point', 2).fields({ x: u8, yPos: u16 });
const pointText =
  '"struct": {"vmsd_name": "point", "version": 2, "fields": [{"name": "x", "type": "uint8", "size": 1}, {"name": "y_pos", "type": "uint16", "size": 2}]}';
/** Elements of it may differ. */
const optional = vmstate('optional', 1)
  .fields({ x: u8 })
  .when(({ x }) => x > 1, { y: u8 });
const late = vmstate('late', 1).fields({ x: u8 }).subsection('more', 'late/more', u8);

const x = '{"name": "x", "type": "uint8", "size": 1}';
const of = (field: Field<unknown>) => vmstate('demo', 1).fields({ theField: field as Field<number> });

test.each([
  ['a number', of(u32), '00000001', '{"name": "the_field", "type": "uint32", "size": 4}'],
  ['another name', of(named('f.g', u8)), '01', '{"name": "f.g", "type": "uint8", "size": 1}'],
  ['a structure', of(point), '01 0002', `{"name": "the_field", "type": "struct", ${pointText}, "size": 3}`],
  [
    'an array',
    of(array(u16, 2)),
    '0001 0002',
    '{"name": "the_field", "array_len": 2, "type": "uint16", "size": 2}',
  ],
  ['an array of one', of(array(u16, 1)), '0001', '{"name": "the_field", "type": "uint16", "size": 2}'],
  [
    'an array of arrays',
    of(array(array(u8, 2), 2)),
    '01020304',
    '{"name": "the_field", "array_len": 4, "type": "uint8", "size": 1}',
  ],
  [
    'an array of structures',
    of(array(point, 2)),
    '01 0002 03 0004',
    `{"name": "the_field", "array_len": 2, "type": "struct", ${pointText}, "size": 3}`,
  ],
  [
    'elements with a condition in them, alike or not',
    of(array(optional, 2)),
    '01 01',
    [0, 1]
      .map(
        (i) =>
          `{"name": "the_field", "index": ${i}, "type": "struct", "struct": {"vmsd_name": "optional", "version": 1, "fields": [${x}]}, "size": 1}`,
      )
      .join(', '),
  ],
  [
    'elements that could have subsections',
    of(array(late, 2)),
    '01 01',
    [0, 1]
      .map(
        (i) =>
          `{"name": "the_field", "index": ${i}, "type": "struct", "struct": {"vmsd_name": "late", "version": 1, "fields": [${x}]}, "size": 1}`,
      )
      .join(', '),
  ],
  [
    'an array with a condition',
    vmstate('demo', 1).when(() => true, { a: array(u8, 2) }),
    '01 02',
    '{"name": "a", "index": 0, "type": "uint8", "size": 1}, {"name": "a", "index": 1, "type": "uint8", "size": 1}',
  ],
  [
    'a type of its own',
    of(typed('pci irq state', array(u32, 2))),
    '0000000000000001',
    '{"name": "the_field", "type": "pci irq state", "size": 8}',
  ],
  [
    'a length in front',
    of(countedBytes(u8, 9, 'len')),
    '02 0102',
    '{"name": "len", "type": "uint8", "size": 1}, {"name": "the_field", "type": "buffer", "size": 2}',
  ],
  [
    'a count in front',
    of(counted(u8, u16, 9, 'things', 'n')),
    '02 0001 0002',
    '{"name": "n", "type": "uint8", "size": 1}, {"name": "the_field", "array_len": 2, "type": "uint16", "size": 2}',
  ],
  [
    'a count of none',
    of(counted(u8, u16, 9, 'things', 'n')),
    '00',
    '{"name": "n", "type": "uint8", "size": 1}',
  ],
  [
    'null pointers',
    of(array(nullable(point), 4)),
    '30 30 01 0002 30',
    `{"name": "the_field", "array_len": 2, "type": "nullptr", "size": 1}, {"name": "the_field", "type": "struct", ${pointText}, "size": 3}, {"name": "the_field", "type": "nullptr", "size": 1}`,
  ],
  [
    'null pointers only',
    of(array(nullable(point), 2)),
    '3030',
    '{"name": "the_field", "array_len": 2, "type": "nullptr", "size": 1}',
  ],
  ['an empty list', of(list(point, 9)), '00', '{"name": "the_field", "type": "qtailq", "size": 1}'],
  [
    'a list: keys repeat',
    of(list(vmstate('e', 1).fields({ x: u8 }), 9, 'qlist')),
    '01 07 01 08 00',
    `{"name": "the_field", "type": "qlist", "vmsd_name": "e", "version": 1, "fields": [${x}], "vmsd_name": "e", "version": 1, "fields": [${x}], "size": 5}`,
  ],
  [
    'an array of lists: a field each',
    of(array(list(vmstate('e', 1).fields({ x: u8 }), 9, 'qlist'), 2)),
    '00 01 07 00',
    `{"name": "the_field[0]", "type": "qlist", "size": 1}, {"name": "the_field[1]", "type": "qlist", "vmsd_name": "e", "version": 1, "fields": [${x}], "size": 3}`,
  ],
  [
    'a sparse array',
    of(sparseArray(point, 4, new Uint8Array(3))),
    '010002 000000 000000 000000',
    `{"name": "the_field", "array_len": 4, "type": "struct", ${pointText}, "size": 3}`,
  ],
  [
    'a sparse array of nothing',
    of(sparseArray(u16, 4, new Uint8Array(2))),
    '0000000000000000',
    '{"name": "the_field", "array_len": 4, "type": "uint16", "size": 2}',
  ],
  [
    'bytes that nobody uses',
    vmstate('demo', 1).unused(3),
    '000000',
    '{"name": "unused", "type": "unused_buffer", "size": 3}',
  ],
])('%s', (_what, field, hex, expected) => {
  const { root } = traced(field as Field<unknown>, bytes(hex), undefined);
  expect(vmdescText(describeNode(root))).toBe(`{"vmsd_name": "demo", "version": 1, "fields": [${expected}]}`);
  // the same from the other side
  const output = new Writer();
  output.trace = new Trace();
  const any = field as Field<unknown>;
  any.encode(output, any.decode(new Reader(bytes(hex)), undefined), undefined);
  expect(vmdescText(describeNode(output.trace.root))).toBe(vmdescText(describeNode(root)));
});

test('subsections: structures, and single fields', () => {
  const demo = vmstate('demo', 3)
    .fields({ a: u8 })
    .subsection('flag', 'demo/is_broken', bool)
    .subsection('address', 'demo/uuid', named('uuid.data', { ...u32, repeat: 4 }))
    .subsection('place', 'demo/place', point, { version: 2 });
  const output = new Writer();
  output.trace = new Trace();
  demo.encode(output, { a: 1, flag: true, address: 7, place: { x: 1, yPos: 2 } }, undefined);
  const text = `{"vmsd_name": "demo", "version": 3, "fields": [{"name": "a", "type": "uint8", "size": 1}], "subsections": [${[
    '{"vmsd_name": "demo/is_broken", "version": 1, "fields": [{"name": "flag", "type": "bool", "size": 1}]}',
    '{"vmsd_name": "demo/uuid", "version": 1, "fields": [{"name": "uuid.data", "array_len": 4, "type": "uint32", "size": 1}]}',
    '{"vmsd_name": "point", "version": 2, "fields": [{"name": "x", "type": "uint8", "size": 1}, {"name": "y_pos", "type": "uint16", "size": 2}]}',
  ].join(', ')}]}`;
  expect(vmdescText(describeNode(output.trace.root))).toBe(text);
  expect(vmdescText(describeNode(traced(demo, output.finish(), undefined).root))).toBe(text);
});

test('null pointers are called as the version does', () => {
  const { root } = traced(of(array(nullable(u16), 2)) as Field<unknown>, bytes('30 30'), undefined);
  expect(vmdescText(describeNode(root, { nullType: 'ptr-marker' }))).toContain('"type": "ptr-marker"');
});
