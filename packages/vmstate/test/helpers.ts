import { type Field, isStateError, Reader, type StateError, Trace, Writer } from '@virtkit/vmstate';
import { expect } from 'vitest';

/** `'01 02'` → bytes. Spaces are for the eye, `"…"` is text. */
export function bytes(hex: string): Uint8Array {
  const digits = hex.replace(/"([^"]*)"/g, (_all, text: string) =>
    Buffer.from(text, 'latin1').toString('hex'),
  );
  return Uint8Array.from(Buffer.from(digits.replaceAll(/\s/g, ''), 'hex'));
}

export function encode<T, C>(field: Field<T, C>, value: T, context: C): Uint8Array {
  const output = new Writer(4);
  field.encode(output, value, context);
  return output.finish();
}

/** Decodes all of `input`, or fails. */
export function decode<T, C>(field: Field<T, C>, input: Uint8Array, context: C): T {
  const reader = new Reader(input);
  const value = field.decode(reader, context);
  expect(reader.remaining, 'bytes left over').toBe(0);
  return value;
}

/** The field as it lies in the bytes. */
export function traced<T, C>(field: Field<T, C>, input: Uint8Array, context: C, base = 0): Trace {
  const reader = new Reader(input, base);
  const trace = new Trace('', base);
  reader.trace = trace;
  field.decode(reader, context);
  return trace;
}

/** The error of `body`; anything else fails. */
export function errorOf(body: () => unknown): StateError {
  try {
    body();
  } catch (error) {
    if (isStateError(error)) return error;
    throw error;
  }
  throw new Error('an error was expected');
}

/** Cut anywhere, there is one error of ours with an offset inside; but for lengths that happen to be whole. */
export function expectTruncated<T, C>(
  field: Field<T, C>,
  whole: Uint8Array,
  context: C,
  fine: readonly number[] = [],
): void {
  for (let length = 0; length < whole.length; length++) {
    const cut = (): T => field.decode(new Reader(whole.subarray(0, length), 1000), context);
    if (fine.includes(length)) {
      cut();
      continue;
    }
    const error = errorOf(cut);
    expect([error.code, error.offset], `cut at ${length}`).toEqual(['truncated', expect.any(Number)]);
    expect(error.offset, `cut at ${length}`).toBeGreaterThanOrEqual(1000);
    expect(error.offset, `cut at ${length}`).toBeLessThanOrEqual(1000 + length);
  }
}
