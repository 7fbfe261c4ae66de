import { StateError } from '@virtkit/vmstate';

/** QEMU's `first,key=value,flag=on`. A comma inside a value is written twice. */
export interface OptionWords {
  /** What stands in front without a key: the driver, the machine, the kind of back end. */
  readonly first: string;
  readonly values: ReadonlyMap<string, string>;
}

/** Reads an option as QEMU writes it, or in JSON. `firstKey` is the key that the first word stands for. */
export function optionWords(text: string, firstKey: string): OptionWords {
  if (text.startsWith('{')) return jsonWords(text, firstKey);
  const values = new Map<string, string>();
  let first = '';
  for (const [index, word] of splitCommas(text).entries()) {
    const at = word.indexOf('=');
    if (at > 0) values.set(word.slice(0, at), word.slice(at + 1));
    else if (index === 0) first = word;
    else if (word.startsWith('no') && word.length > 2) values.set(word.slice(2), 'off');
    else if (word !== '') values.set(word, 'on');
  }
  return { first: first === '' ? (values.get(firstKey) ?? '') : first, values };
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
  const put = (prefix: string, value: unknown): void => {
    if (typeof value === 'object' && value !== null)
      for (const [key, inner] of Object.entries(value)) put(prefix === '' ? key : `${prefix}.${key}`, inner);
    else values.set(prefix, value === true ? 'on' : value === false ? 'off' : String(value));
  };
  put('', parsed);
  return { first: values.get(firstKey) ?? '', values };
}

/** `on`, `yes`, `true` … as QEMU reads them; undefined for anything else. */
export function switchOf(value: string | undefined): boolean | undefined {
  if (value === undefined) return undefined;
  if (/^(on|yes|true|y|1)$/.test(value)) return true;
  return /^(off|no|false|n|0)$/.test(value) ? false : undefined;
}

/** A number, decimal or hexadecimal; undefined for anything else. */
export function numberOf(value: string | undefined): number | undefined {
  const number = value === undefined || value === '' ? Number.NaN : Number(value);
  return Number.isFinite(number) ? number : undefined;
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
};

/** `512M`, `1.5G`, `131072K` → bytes; a number alone is of `unit`. */
export function bytesOf(value: string | undefined, unit: '' | 'm'): number | undefined {
  const [, digits, suffix] = /^(\d+(?:\.\d+)?)([bkmgt]?)(?:i?b)?$/i.exec(value ?? '') ?? [];
  if (digits === undefined || suffix === undefined) return undefined;
  return Math.floor(Number(digits) * (UNITS[suffix === '' ? unit : suffix.toLowerCase()] ?? 1));
}

/** A command line as a shell takes it apart: quotes, backslashes, lines that go on. A JSON array is taken as it is. */
export function shellWords(text: string): string[] {
  if (text.trimStart().startsWith('[')) {
    const words: unknown = JSON.parse(text);
    if (Array.isArray(words) && words.every((word): word is string => typeof word === 'string')) return words;
  }
  const words: string[] = [];
  // a piece of a word: quoted, escaped or plain
  const piece = /'([^']*)'|"((?:[^"\\]|\\[\s\S])*)"|\\(\r?\n)|\\([\s\S])|([^\s'"\\]+)|(\s+)|(['"\\])/g;
  let word: string | undefined;
  for (const [, single, double, newline, escaped, plain, space, stray] of text.matchAll(piece)) {
    if (space !== undefined) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (newline === undefined) {
      const more = single ?? double?.replace(/\\(["\\$`])/g, '$1') ?? escaped ?? plain ?? stray ?? '';
      word = (word ?? '') + more;
    }
  }
  if (word !== undefined) words.push(word);
  return words;
}
