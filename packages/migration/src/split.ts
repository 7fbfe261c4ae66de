import type { SectionHeader } from './events.ts';
import { be32, COMMANDS, isPrintable, TYPE } from './wire.ts';

/**
 * Answer to whether a section, command or the end of the stream can begin at a place. `unknown`: too few bytes are
 * there.
 */
export type Plausible = 'yes' | 'no' | 'unknown';

/**
 * Looks whether something can begin behind a section. A body has no length in front, so that a reader that does not
 * know the device cannot skip it; but its footer repeats the section's id, and something has to begin behind that.
 */
export function plausibleNext(
  bytes: Uint8Array,
  at: number,
  started: ReadonlyMap<number, SectionHeader>,
): Plausible {
  const type = bytes[at];
  if (type === undefined) return 'unknown';
  switch (type) {
    case TYPE.EOF:
      return plausibleEnd(bytes, at);
    case TYPE.START:
    case TYPE.FULL:
      return plausibleHeader(bytes, at);
    case TYPE.PART:
    case TYPE.END:
      return at + 5 > bytes.length ? 'unknown' : started.has(be32(bytes, at + 1)) ? 'yes' : 'no';
    case TYPE.COMMAND:
      return at + 5 > bytes.length
        ? 'unknown'
        : bytes[at + 1] === 0 && (bytes[at + 2] ?? 0) < COMMANDS.length
          ? 'yes'
          : 'no';
    default:
      return 'no';
  }
}

/** Code of the character `{`, with which the vmdesc's JSON begins. */
const CODE_BRACE = 0x7b;

/** Looks whether nothing, or a vmdesc, stands behind the EOF byte. */
function plausibleEnd(bytes: Uint8Array, at: number): Plausible {
  if (bytes.length - at < 7) return bytes.length === at + 1 ? 'yes' : 'unknown';
  return bytes[at + 1] === TYPE.VMDESCRIPTION && bytes[at + 6] === CODE_BRACE ? 'yes' : 'no';
}

/** Looks whether a section header stands here: type, be32 id, counted name, be32 instance, be32 version. */
function plausibleHeader(bytes: Uint8Array, at: number): Plausible {
  const length = bytes[at + 5];
  if (length === undefined) return 'unknown';
  if (length === 0) return 'no';
  const end = Math.min(at + 6 + length, bytes.length);
  for (let i = at + 6; i < end; i++) {
    const byte = bytes[i] ?? 0;
    if (!isPrintable(byte)) return 'no';
  }
  if (at + 6 + length + 8 > bytes.length) return 'unknown';
  return isVersion(be32(bytes, at + 6 + length + 4)) ? 'yes' : 'no';
}

/** First and last day that a version may be, as numbers of eight digits. */
const DAY_FIRST = 1990_01_01;
const DAY_LAST = 2099_12_31;

/**
 * Can this be the version of a section? They are small numbers; that of QEMU's `eeprom` is the day on which it was
 * made, 20061113.
 */
function isVersion(version: number): boolean {
  return version <= 0xffff || (version >= DAY_FIRST && version <= DAY_LAST);
}

/** Finds the next place at or behind `from` where the footer of section `id` stands; -1 if there is none. */
export function findFooter(bytes: Uint8Array, from: number, id: number): number {
  for (let at = bytes.indexOf(TYPE.FOOTER, from); at >= 0; at = bytes.indexOf(TYPE.FOOTER, at + 1)) {
    if (at + 5 > bytes.length) return -1;
    if (be32(bytes, at + 1) === id) return at;
  }
  return -1;
}

/**
 * Finds the next place where a section header or the end could stand, for streams without footers (machine types up to
 * 2.3).
 */
export function findHeader(
  bytes: Uint8Array,
  from: number,
  started: ReadonlyMap<number, SectionHeader>,
): number {
  for (let at = from; at < bytes.length; at++) {
    const type = bytes[at] ?? -1;
    if (type !== TYPE.EOF && type !== TYPE.FULL && type !== TYPE.START) continue;
    if (plausibleNext(bytes, at, started) === 'yes') return at;
  }
  return -1;
}
