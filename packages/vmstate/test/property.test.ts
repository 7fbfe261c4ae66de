/** Random structures, random states of them: bytes ⇄ state ⇄ JSON lose nothing. */
import {
  array,
  bool,
  buffer,
  counted,
  countedBytes,
  countedText,
  type Field,
  isStateError,
  type Json,
  list,
  macAddress,
  nullable,
  Reader,
  s32,
  s64,
  sparseArray,
  Trace,
  type TraceNode,
  u8,
  u16,
  u32,
  u64,
  vmstate,
  Writer,
} from '@virtkit/vmstate';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decode, encode } from './helpers.ts';

/** A field, and values that it can hold. */
interface Case {
  readonly field: Field<unknown>;
  readonly value: fc.Arbitrary<unknown>;
}

const of = <T>(field: Field<T>, value: fc.Arbitrary<T>): Case => ({ field: field as Field<unknown>, value });
const byte = fc.integer({ min: 0, max: 0xff });

const scalars: readonly Case[] = [
  of(u8, byte),
  of(u16, fc.integer({ min: 0, max: 0xffff })),
  of(u32, fc.integer({ min: 0, max: 0xffffffff })),
  of(s32, fc.integer({ min: -0x80000000, max: 0x7fffffff })),
  of(u64, fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })),
  of(s64, fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n })),
  of(bool, fc.boolean()),
  of(buffer(5), fc.uint8Array({ minLength: 5, maxLength: 5 })),
  of(macAddress, fc.uint8Array({ minLength: 6, maxLength: 6 })),
  of(countedBytes(u16, 40), fc.uint8Array({ maxLength: 40 })),
  of(
    countedText(u8, 20),
    fc.array(byte, { maxLength: 20 }).map((codes) => String.fromCharCode(...codes)),
  ),
];

/** Anything, from a scalar to structures in lists in structures. */
function anyCase(depth: number): fc.Arbitrary<Case> {
  const scalar = fc.constantFrom(...scalars);
  if (depth === 0) return scalar;
  const inner = anyCase(depth - 1);
  const many = (
    value: fc.Arbitrary<unknown>,
    minLength: number,
    maxLength: number,
  ): fc.Arbitrary<unknown[]> => fc.array(value, { minLength, maxLength });
  return fc.oneof(
    scalar,
    inner.map(({ field, value }) => of(array(field, 3), many(value, 3, 3))),
    inner.map(({ field, value }) => of(counted(u8, field, 4), many(value, 0, 4))),
    inner.map(({ field, value }) => of(list(field, 4), many(value, 0, 4))),
    fc.constant(of(nullable(u16), fc.option(fc.integer({ min: 0x3100, max: 0xffff })))),
    fc.constant(
      of(
        sparseArray(u16, 8, new Uint8Array(2)),
        fc.array(fc.integer({ min: 1, max: 0xffff }), { maxLength: 8 }),
      ),
    ),
    fc.array(inner, { minLength: 1, maxLength: 4 }).map(structure),
  );
}

let made = 0;

/** A structure of these, the last one in a subsection that may be missing, and an array as long as a field says. */
function structure(cases: readonly Case[]): Case {
  const fields = Object.fromEntries(cases.map(({ field }, index) => [`field${index}`, field]));
  const last = cases.at(-1) ?? of(u8, byte);
  // no name begins with another: the format cannot tell whose a subsection is if they do
  const name = `vmsd${++made}_`;
  const declared = vmstate(name, 1)
    .fields({ count: u8 })
    .array('items', u16, ({ count }) => count)
    .when(({ count }) => count > 1, { extra: u8 })
    .fields(fields)
    .subsection('late', `${name}/late`, last.field);
  const value = fc
    .tuple(
      fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 3 }),
      fc.record(Object.fromEntries(cases.map((one, index) => [`field${index}`, one.value]))),
      fc.option(last.value, { nil: undefined }),
    )
    .map(([items, own, late]) => ({
      count: items.length,
      items,
      ...(items.length > 1 && { extra: 7 }),
      ...own,
      ...(late !== undefined && { late }),
    }));
  return { field: declared as unknown as Field<unknown>, value };
}

const anyValue = anyCase(3).chain(({ field, value }) => value.map((one) => ({ field, value: one })));

/** Children lie inside their parent, one behind the other. */
function expectOrdered(node: TraceNode): void {
  let at = node.start;
  for (const child of node.children) {
    expect(child.start).toBeGreaterThanOrEqual(at);
    expect(child.end).toBeGreaterThanOrEqual(child.start);
    at = child.end;
    expectOrdered(child);
  }
  expect(at).toBeLessThanOrEqual(node.end);
}

describe('any structure', () => {
  test('comes back from its bytes, and its bytes from it', () => {
    fc.assert(
      fc.property(anyValue, ({ field, value }) => {
        const bytes = encode(field, value, undefined);
        const back = decode(field, bytes, undefined);
        expect(back).toEqual(value);
        expect(encode(field, back, undefined)).toEqual(bytes);
        expect(field.minSize).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 300 },
    );
  });

  test('comes back from its JSON text', () => {
    fc.assert(
      fc.property(anyValue, ({ field, value }) => {
        const text = JSON.stringify(field.toJSON(value));
        expect(field.fromJSON(JSON.parse(text) as Json)).toEqual(value);
      }),
      { numRuns: 300 },
    );
  });

  test('is cut with one error of ours, and says where its fields lie', () => {
    fc.assert(
      fc.property(anyValue, fc.double({ min: 0, max: 0.999, noNaN: true }), ({ field, value }, where) => {
        const bytes = encode(field, value, undefined);
        const input = new Reader(bytes, 77);
        const trace = new Trace('', 77);
        input.trace = trace;
        field.decode(input, undefined);
        trace.root.end = input.position;
        expectOrdered(trace.root);
        try {
          field.decode(new Reader(bytes.subarray(0, Math.floor(where * bytes.length)), 77), undefined);
        } catch (error) {
          if (!isStateError(error)) throw error;
          expect(error.offset).toBeGreaterThanOrEqual(77);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('reads any bytes, or refuses them; what it reads it can write', () => {
    fc.assert(
      fc.property(anyCase(3), fc.uint8Array({ maxLength: 64 }), ({ field }, bytes) => {
        const input = new Reader(bytes);
        let value: unknown;
        try {
          value = field.decode(input, undefined);
        } catch (error) {
          if (!isStateError(error)) throw error;
          return;
        }
        const output = new Writer(1);
        field.encode(output, value, undefined);
        // not always the same bytes (any byte but 0 is true), but the same value
        expect(decode(field, output.finish(), undefined)).toEqual(value);
        expect(field.fromJSON(JSON.parse(JSON.stringify(field.toJSON(value))) as Json)).toEqual(value);
      }),
      { numRuns: 500 },
    );
  });

  test('takes any JSON, or refuses it', () => {
    fc.assert(
      fc.property(anyCase(2), fc.jsonValue(), ({ field }, json) => {
        try {
          field.fromJSON(json as Json);
        } catch (error) {
          if (!isStateError(error)) throw error;
        }
      }),
      { numRuns: 500 },
    );
  });
});
