import { StateError } from '@virtkit/vmstate';

/** Option of QEMU: `first,key=value,flag=on`. A comma inside a value is written twice. */
export interface OptionWords {
  /** The value of the first word, which has no key: the driver, the machine type, the kind of back end. */
  readonly first: string;
  /** The values by key, in the order in which QEMU sets them; of a key that is given twice, the last. */
  readonly values: ReadonlyMap<string, string>;
}

/** Deepest nesting of an option in JSON. QEMU's own are under ten deep. */
const DEPTH_MAX = 100;

/** Reads an option as QEMU writes it, or in JSON. `firstKey` is the key that the first word stands for. QEMU: `opts_do_parse` */
export function optionWords(text: string, firstKey: string): OptionWords {
  if (text.startsWith('{')) return jsonWords(text, firstKey);
  const values = new Map<string, string>();
  for (const [index, word] of splitCommas(text).entries()) {
    const at = word.indexOf('=');
    if (at > 0) set(values, word.slice(0, at), word.slice(at + 1));
    else if (index === 0) set(values, firstKey, word);
    else if (word.startsWith('no') && word.length > 2) set(values, word.slice(2), 'off');
    else if (word !== '') set(values, word, 'on');
  }
  return { first: values.get(firstKey) ?? '', values: without(values, firstKey) };
}

/** Sets a value as the last one: QEMU sets properties one after the other, and one that is set again comes later. */
export function set(values: Map<string, string>, key: string, value: string): void {
  values.delete(key);
  values.set(key, value);
}

function without(values: Map<string, string>, key: string): ReadonlyMap<string, string> {
  values.delete(key);
  return values;
}

function splitCommas(text: string): string[] {
  return text
    .replaceAll(',,', '\0')
    .split(',')
    .map((word) => word.replaceAll('\0', ','));
}

function jsonWords(text: string, firstKey: string): OptionWords {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new StateError('target', `"${text}": neither QEMU's KEY=VALUE,… nor JSON`, { text });
  }
  const values = new Map<string, string>();
  const put = (prefix: string, value: unknown, depth: number): void => {
    if (depth > DEPTH_MAX)
      throw new StateError('limit', `an option in JSON is nested deeper than ${DEPTH_MAX}`, {
        limit: DEPTH_MAX,
      });
    if (typeof value === 'object' && value !== null)
      for (const [key, inner] of Object.entries(value))
        put(prefix === '' ? key : `${prefix}.${key}`, inner, depth + 1);
    else values.set(prefix, jsonText(prefix, value));
  };
  put('', parsed, 0);
  return { first: values.get(firstKey) ?? '', values: without(values, firstKey) };
}

/**
 * Writes a JSON value as the text that `KEY=VALUE` would have. The number of a PCI address is slot and function in one.
 */
function jsonText(key: string, value: unknown): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (key === 'addr' && typeof value === 'number') return `${(value >> 3).toString(16)}.${value & 7}`;
  return String(value);
}
