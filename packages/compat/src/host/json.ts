import { StateError } from '@virtkit/vmstate';

/** Values of JSON that somebody else wrote: each is looked at before it is used, and what does not fit is named with its place. */

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Takes the value of a key. @throws StateError `target` where there is no such key */
export function field(value: unknown, key: string, at: string): unknown {
  if (isRecord(value) && Object.hasOwn(value, key)) return value[key];
  throw new StateError('target', `${place(at, key)}: missing`, {});
}

/** Takes the text of a key. @throws StateError `target` where it is no text */
export function text(value: unknown, key: string, at: string): string {
  const found = field(value, key, at);
  if (typeof found === 'string') return found;
  throw new StateError('target', `${place(at, key)}: a text expected`, {});
}

/**
 * Takes the list of a key. @throws StateError `target` where it is no list, `limit` where it has more than `most`
 * elements
 */
export function list(value: unknown, key: string, most: number, at: string): readonly unknown[] {
  const found = field(value, key, at);
  if (!Array.isArray(found)) throw new StateError('target', `${place(at, key)}: a list expected`, {});
  if (found.length > most)
    throw new StateError('limit', `${place(at, key)}: ${found.length} elements, at most ${most} are read`, {
      count: found.length,
      limit: most,
    });
  return found;
}

function place(at: string, key: string): string {
  return at === '' ? key : `${at}.${key}`;
}
