import { StateError } from './errors.ts';
import { decodeElements, encodeElement, type Field } from './field.ts';
import { type Json, jsonError } from './json.ts';
import type { Trace } from './trace.ts';

/**
 * A table of `count` entries of fixed size whose tail is mostly unused, such as the 1024 queue slots that QEMU writes
 * for a device with two queues. The value holds the entries up to the last one that differs from `absent`;
 * what is behind them is not materialised, and comes back as it was.
 *
 * @param absent bytes of an unused entry, as they stand on the wire
 */
export function sparseArray<T>(element: Field<T>, count: number, absent: Uint8Array): Field<readonly T[]> {
  const size = absent.length;
  const template = new Uint8Array(size * count);
  for (let i = 0; i < count; i++) template.set(absent, i * size);
  const used = absent.some((byte) => byte !== 0) ? patternUsed(template) : zeroUsed;
  const demandCount = (length: number): void => {
    if (length > count) {
      throw new StateError('count', `${length} entries, at most ${count} allowed`, {
        count: length,
        limit: count,
      });
    }
  };
  return {
    type: element.type,
    minSize: template.length,
    decode: (input, context) => {
      const start = input.take(template.length);
      const live = Math.ceil(used(input.view, start, start + template.length) / size);
      input.offset = start;
      const entries = decodeElements(input, element, live, context);
      input.offset = start + template.length;
      traceAbsent(input.trace, input.base + start + live * size, input.position, live, count);
      return entries;
    },
    encode: (output, value, context) => {
      demandCount(value.length);
      const start = output.reserve(template.length);
      output.bytes.set(template, start);
      output.offset = start;
      for (let i = 0; i < value.length; i++) encodeElement(output, element, value[i] as T, i, context);
      output.offset = start + template.length;
      traceAbsent(output.trace, start + value.length * size, output.offset, value.length, count);
    },
    toJSON: (value) => value.map((entry) => element.toJSON(entry)),
    fromJSON: (json) => {
      if (!Array.isArray(json)) throw jsonError('array', json);
      demandCount(json.length);
      return json.map((entry: Json) => element.fromJSON(entry));
    },
  };
}

function traceAbsent(
  trace: Trace | undefined,
  start: number,
  end: number,
  live: number,
  count: number,
): void {
  if (trace === undefined || live === count) return;
  const name = live === count - 1 ? `[${live}]` : `[${live}..${count - 1}]`;
  trace.enter(name, name, 'absent', start).repeat = count - live;
  trace.leave(end, undefined);
}

/**
 * Length of a table up to and with the last byte that is not zero, rounded up to a word. Four words a turn: this walks
 * 44 KB for every device, and is most of the price of decoding one.
 */
function zeroUsed(view: DataView, start: number, end: number): number {
  let at = end;
  while (at - start >= 16) {
    const any =
      view.getInt32(at - 4, true) |
      view.getInt32(at - 8, true) |
      view.getInt32(at - 12, true) |
      view.getInt32(at - 16, true);
    if (any !== 0) break;
    at -= 16;
  }
  while (at > start && view.getUint8(at - 1) === 0) at--;
  return at - start;
}

/** Makes the function that finds a table's used length as {@link zeroUsed} does, against a pattern instead of zeros. */
function patternUsed(template: Uint8Array): (view: DataView, start: number, end: number) => number {
  const expected = new DataView(template.buffer);
  return (view, start, end) => {
    let at = end - start;
    while (at >= 16) {
      const differs =
        (view.getInt32(start + at - 4) ^ expected.getInt32(at - 4)) |
        (view.getInt32(start + at - 8) ^ expected.getInt32(at - 8)) |
        (view.getInt32(start + at - 12) ^ expected.getInt32(at - 12)) |
        (view.getInt32(start + at - 16) ^ expected.getInt32(at - 16));
      if (differs !== 0) break;
      at -= 16;
    }
    while (at > 0 && view.getUint8(start + at - 1) === expected.getUint8(at - 1)) at--;
    return at;
  };
}
