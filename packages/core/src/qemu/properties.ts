/** Reads a switch as QEMU does (`on`, `yes`, `true`, `y`, `1` and their opposites); undefined for anything else. */
export function switchOf(value: string | undefined): boolean | undefined {
  if (value === undefined) return undefined;
  if (/^(on|yes|true|y|1)$/.test(value)) return true;
  return /^(off|no|false|n|0)$/.test(value) ? false : undefined;
}

/**
 * Reads a number as C's `strtoull` does: decimal, hexadecimal with `0x`, octal with `0`; undefined for anything else.
 */
export function numberOf(value: string | undefined): number | undefined {
  const [, sign, hex, octal, decimal] =
    /^\s*([+-]?)(?:0x([0-9a-f]+)|0([0-7]+)|(\d+))$/i.exec(value ?? '') ?? [];
  if (sign === undefined || ((decimal ?? '').length > 1 && decimal?.startsWith('0'))) return undefined;
  const digits = hex ?? octal ?? decimal ?? '';
  const number = Number.parseInt(digits, hex !== undefined ? 16 : octal !== undefined ? 8 : 10);
  return sign === '-' ? -number : number;
}

const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
  p: 2 ** 50,
  e: 2 ** 60,
};

/**
 * Reads a size in bytes from `512M`, `1.5G`, `0x20`, `131072K`; a number without a suffix counts `unit`. Undefined for
 * anything else.
 */
export function bytesOf(value: string | undefined, unit: 'b' | 'm'): number | undefined {
  const [, hex, hexUnit, digits, suffix] =
    /^(?:(0x[0-9a-f]+)([kmgtpe]?)|(\d+(?:\.\d*)?)([bkmgtpe]?))$/i.exec(value ?? '') ?? [];
  const number = hex ?? digits;
  if (number === undefined) return undefined;
  const named = (hexUnit ?? suffix ?? '').toLowerCase();
  return Math.floor(Number(number) * (UNITS[named === '' ? unit : named] ?? 1));
}

/** A set of property names, from lines of words. */
export function propertyNames(...lines: readonly string[]): ReadonlySet<string> {
  return new Set(lines.flatMap((line) => line.split(' ')));
}
