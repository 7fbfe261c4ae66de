import { hex, StateError } from './errors.ts';

/** Values that JSON can hold. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** The error for JSON of the wrong shape. */
export function jsonError(expected: string, found: Json | undefined): StateError {
  const shown = found === undefined ? 'nothing' : JSON.stringify(found).slice(0, 60);
  return new StateError('json', `${expected} expected, found ${shown}`, { expected, found: shown });
}

/** Turns a 64-bit number into text `"0x…"`: JSON numbers are exact only up to 2 ** 53. */
export function bigToJson(value: bigint): Json {
  return hex(value);
}

/** Reads a 64-bit number from `"0x…"`, `"-0x…"`, decimal text and safe integers. */
export function bigFromJson(json: Json): bigint {
  if (typeof json === 'number' && Number.isSafeInteger(json)) return BigInt(json);
  if (typeof json === 'string' && /^-?(0x[0-9a-f]+|\d+)$/i.test(json)) {
    return json.startsWith('-') ? -BigInt(json.slice(1)) : BigInt(json);
  }
  throw jsonError('64-bit number as "0x…"', json);
}

const hexDigits = /* @__PURE__ */ Array.from({ length: 256 }, (_, byte) =>
  byte.toString(16).padStart(2, '0'),
);

/** Turns bytes into lower-case hexadecimal digits without separators. */
export function bytesToJson(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += hexDigits[byte];
  return text;
}

/** Reads bytes from hexadecimal digits. @throws StateError `json` for anything else */
export function bytesFromJson(json: Json): Uint8Array {
  if (typeof json !== 'string' || json.length % 2 !== 0 || /[^0-9a-f]/i.test(json)) {
    throw jsonError('bytes as hex digits', json);
  }
  return Uint8Array.from({ length: json.length / 2 }, (_, i) =>
    Number.parseInt(json.slice(2 * i, 2 * i + 2), 16),
  );
}
