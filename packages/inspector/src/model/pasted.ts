// What a person pasted: an error text, a machine's description, or bytes of a stream.
import type { Diagnosis } from '@virtkit/compat';
import { decodeVirtioState, findVirtio, type SectionHeader, StreamWriter, TYPE } from '@virtkit/migration';
import { isStateError, Reader, StateError } from '@virtkit/vmstate';
import { registry } from './registry.ts';

/** Kind that a pasted text was taken for, with what was made of it. */
export type Pasted =
  | {
      readonly kind: 'bytes';
      /** Bytes of a stream, made around a section where that is what was pasted. */
      readonly bytes: Uint8Array<ArrayBuffer>;
      /** Name of what they are, for people. */
      readonly name: string;
    }
  | { readonly kind: 'machine'; readonly what: MachineText }
  | {
      readonly kind: 'error';
      readonly diagnoses: readonly Diagnosis[];
      /** Kind of the machine's description that stands in the text as well: logs have command lines. */
      readonly machine?: MachineText;
    };

/** Kind of a text that describes a machine. */
export type MachineText = 'domain XML' | 'QEMU command line';

/** Largest number of characters of a text that is looked at. */
const PASTE_MAX = 16 << 20;
/** Smallest number of bytes that are taken for bytes: shorter texts are words. */
const BYTES_MIN = 16;
/** First bytes of a stream. QEMU: `QEMU_VM_FILE_MAGIC` */
const MAGIC = [0x51, 0x45, 0x56, 0x4d];
/** Version of the stream's format. QEMU: `QEMU_VM_FILE_VERSION` */
const VERSION = 3;
/** Number that a section gets which was pasted without a header. */
const SECTION = 1;

/** Tells what a pasted text is. @throws StateError `pasted` for what cannot be anything */
export async function recognise(text: string): Promise<Pasted> {
  if (text.trim() === '') throw new StateError('pasted', 'there is nothing in it');
  if (text.length > PASTE_MAX)
    throw new StateError(
      'pasted',
      `${text.length} characters; at most ${PASTE_MAX} are looked at: open it as a file`,
    );
  const machine = machineIn(text);
  if (machine === 'domain XML') return { kind: 'machine', what: machine };
  const bytes = bytesIn(text);
  if (bytes !== undefined) return streamOf(bytes);
  const { diagnose } = await import('@virtkit/compat');
  const diagnoses = diagnose(text);
  if (diagnoses.length === 0 && machine !== undefined) return { kind: 'machine', what: machine };
  return { kind: 'error', diagnoses, ...(machine !== undefined && { machine }) };
}

function machineIn(text: string): MachineText | undefined {
  if (/^\s*(<\?xml|<!--|<dom|<capabilities|<save)/.test(text) && /<domain[\s>]/.test(text))
    return 'domain XML';
  const isCommand =
    /(^|[\s/'"])(qemu-system-[\w-]+|qemu-kvm|kvm)['"]?\s+(\\\s*)?-|^\s*-(M|machine|device)\s/m;
  return isCommand.test(text) ? 'QEMU command line' : undefined;
}

/** Reads bytes that were written as hexadecimal, as a dump of `xxd` or `hexdump -C`, or as base64; undefined for other texts. */
function bytesIn(text: string): Uint8Array<ArrayBuffer> | undefined {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const plain = lines.map(hexOfLine);
  const digits = plain.every((line) => line !== undefined) ? plain.join('') : undefined;
  if (digits !== undefined && digits.length % 2 === 0 && digits.length >= 2 * BYTES_MIN)
    return Uint8Array.from({ length: digits.length / 2 }, (_, n) =>
      Number.parseInt(digits.slice(2 * n, 2 * n + 2), 16),
    );
  const joined = lines.join('');
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(joined) || joined.length < (BYTES_MIN * 4) / 3) return undefined;
  const padded = joined.replaceAll('-', '+').replaceAll('_', '/').replace(/=+$/, '');
  if (padded.length % 4 === 1) return undefined;
  return Uint8Array.from(atob(padded), (char) => char.charCodeAt(0));
}

/** Finds the digits of a line in hexadecimal, without a dump's offsets and text; undefined for a line that is none. */
function hexOfLine(line: string): string | undefined {
  // `00000010: 51 45  QE` of xxd, and `00000010  51 45  |QE|` of hexdump
  const [, xxd] = /^[0-9a-f]{6,16}: (\S+(?: \S+)*)/i.exec(line) ?? [];
  const [, hexdump] = /^[0-9a-f]{6,16} {2}([^|]*)(?:\|.*)?$/i.exec(line) ?? [];
  // the last line of hexdump is an offset alone
  const words = xxd ?? hexdump ?? (/^[0-9a-f]{8}$/i.test(line) ? '' : line);
  const digits = words.replaceAll(/0x|[\s,:]/gi, '');
  return /^[0-9a-f]*$/i.test(digits) ? digits : undefined;
}

/** Makes a stream of bytes: of a whole one, of a section with its header, or of a device's section without. */
function streamOf(bytes: Uint8Array<ArrayBuffer>): Pasted {
  if (MAGIC.every((byte, at) => bytes[at] === byte)) return { kind: 'bytes', bytes, name: 'pasted stream' };
  if (hasHeader(bytes)) return { kind: 'bytes', bytes: framed(bytes), name: 'pasted section' };
  const header = headerFor(bytes);
  if (header !== undefined)
    return { kind: 'bytes', bytes: sectionOf(bytes, header), name: header.idstr.replace('/', ' ') };
  // packed streams, and what is none: who opens it says so
  return { kind: 'bytes', bytes, name: 'pasted bytes' };
}

function hasHeader(bytes: Uint8Array): boolean {
  const [type, nameLength = 0] = [bytes[0], bytes[5]];
  if ((type !== TYPE.START && type !== TYPE.FULL) || nameLength === 0) return false;
  const name = bytes.subarray(6, 6 + nameLength);
  return name.length === nameLength && name.every((byte) => byte > 0x20 && byte < 0x7f);
}

/** Puts a section with its header, and with or without its footer, into a stream. */
function framed(section: Uint8Array): Uint8Array<ArrayBuffer> {
  const footer = Uint8Array.of(TYPE.FOOTER, ...section.subarray(1, 5));
  const hasFooter = footer.every((byte, at) => section[section.length - footer.length + at] === byte);
  return concatenated([
    Uint8Array.of(...MAGIC, 0, 0, 0, VERSION),
    section,
    hasFooter ? new Uint8Array(0) : footer,
    Uint8Array.of(TYPE.EOF),
  ]);
}

/** Finds the header of a section whose body these bytes are, from the first to the last: PCI's tell their device, others are tried. */
function headerFor(body: Uint8Array): SectionHeader | undefined {
  const ids = registry.transports.map((transport) => transport.recognize(new Reader(body))?.virtioId);
  const told = ids.find((id) => id !== undefined);
  return registry.devices
    .filter(({ virtioId }) => told === undefined || virtioId === told)
    .map(
      ({ name, version }): SectionHeader => ({
        kind: 'full',
        id: SECTION,
        idstr: `pasted/${name}`,
        instanceId: 0,
        versionId: version,
        offset: 0,
      }),
    )
    .find((header) => isBody(header, body));
}

function isBody(header: SectionHeader, body: Uint8Array): boolean {
  const device = findVirtio({ header, body, offset: 0 }, registry);
  if (device === undefined) return false;
  try {
    decodeVirtioState(device);
    return true;
  } catch (error) {
    if (!isStateError(error)) throw error;
    return false;
  }
}

function sectionOf(body: Uint8Array, header: SectionHeader): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  const writer = new StreamWriter((bytes, start, end) => parts.push(bytes.slice(start, end)));
  writer.header(VERSION);
  writer.section(header);
  writer.body(body);
  writer.footer(SECTION);
  writer.eof();
  return concatenated(parts);
}

function concatenated(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
