// The tour through a stream of the corpus: tables of its bytes, taken apart by the packages themselves.
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { deviceTypes } from '@virtkit/compat/types';
import { registryOf } from '@virtkit/core/qemu';
import {
  acceptVirtio,
  COMMANDS,
  type Configuration,
  configuration,
  decodeVirtio,
  findVirtio,
  NullSink,
  parseStream,
  type RamBlock,
  type SectionHeader,
  StreamParser,
  StreamWriter,
  showValue,
  TYPE,
} from '@virtkit/migration';
import { pci } from '@virtkit/transport-pci';
import { leaves, Reader, Trace } from '@virtkit/vmstate';
import { repository } from './places.ts';
import { code, plain, table } from './table.ts';
import { NOTES } from './tour-notes.ts';

/** Something in the stream: what it is, and its bytes. */
interface Piece {
  readonly field: string;
  readonly start: number;
  readonly end: number;
  readonly value: string;
}

/** Bytes that a table shows of one field. */
const BYTES_SHOWN = 12;
/** Name of what stands between fields and is none. */
const MARK = 'mark';
const HEAD = 'head of a subsection';
/** More bytes between two fields are other fields, which are not in the table. */
const GAP_MAX = 64;
/** Pages of RAM that are listed one by one. */
const PAGES_SHOWN = 4;

export class Tour {
  readonly #bytes: Uint8Array;
  readonly #frame: Frame;
  /** Notes that stood beside a field: all of them have to. */
  readonly #noted = new Set<string>();

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#frame = new Frame();
    const parser = new StreamParser(this.#frame, { accepts: acceptVirtio(registry) });
    parser.push(bytes);
    parser.end();
  }

  /** @param stream path in the corpus: `10.0.13/q100-pc-inflight-w` */
  static async open(stream: string): Promise<Tour> {
    const packed = await readFile(`${repository}packages/lab/streams/${stream}.mig.gz`);
    return new Tour(await promisify(gunzip)(packed));
  }

  /** The table of that name: `start`, `order`, `ram`, `section NAME`, `fields NAME PREFIX…`, `end`. @throws Error for another name */
  make(name: string): string {
    const [what = '', ...words] = name.split(' ');
    if (what === 'start') return this.#pieces(this.#frame.start());
    if (what === 'order') return this.#order();
    if (what === 'ram') return this.#pieces(this.#frame.ram(PAGES_SHOWN));
    if (what === 'section') return this.#pieces(this.#frame.head(words[0] ?? ''));
    if (what === 'end') return this.#pieces(this.#frame.end());
    if (what === 'fields') return this.#pieces(this.#fields(words[0] ?? '', words.slice(1)));
    throw new Error(`there is no table “${name}” of the tour`);
  }

  /** Notes that stand beside no field that was shown. */
  unused(): string[] {
    return Object.keys(NOTES).filter((field) => !this.#noted.has(field));
  }

  /** Fields of a device whose paths begin so, in the order of the bytes. */
  #fields(name: string, prefixes: readonly string[]): Piece[] {
    const { sections } = parseStream(this.#bytes, { accepts: acceptVirtio(registry) });
    const section = sections.find(({ header }) => header.idstr.endsWith(name));
    const device = section && findVirtio(section, registry);
    if (device === undefined) throw new Error(`no ${name} in the stream of the tour`);
    const all = [...leaves(decodeVirtio(device).root)].map(({ path, node }) => ({
      field: path,
      start: node.start,
      end: node.end,
      value: node.end - node.start > BYTES_SHOWN ? '' : showValue(node.value),
    }));
    const found = this.#withGaps(all).filter(({ field }, at, pieces) => {
      // what stands between two fields belongs to the second one
      const path = field === MARK || field === HEAD ? pieces[at + 1]?.field : field;
      return prefixes.some(
        (prefix) => path?.startsWith(prefix) === true && !/^\w/.test(path.slice(prefix.length)),
      );
    });
    if (found.length === 0) throw new Error(`no field ${prefixes.join(' ')} in ${name}`);
    return found;
  }

  #pieces(pieces: readonly Piece[]): string {
    return table(
      ['offset', 'bytes', 'field', 'value', 'what it is'],
      this.#withGaps(pieces).map(({ field, start, end, value }) => [
        code(offset(start)),
        code(this.#hex(start, end)),
        plain(field),
        code(value),
        this.#note(field),
      ]),
    );
  }

  /** Adds what stands between fields: marks in front of elements of a list, and heads of subsections. */
  #withGaps(pieces: readonly Piece[]): Piece[] {
    return pieces.flatMap((piece, at) => {
      const start = pieces[at - 1]?.end ?? piece.start;
      if (start >= piece.start || piece.start - start > GAP_MAX) return [piece];
      const bytes = this.#bytes.subarray(start, piece.start);
      const name = bytes[0] === TYPE.SUBSECTION ? textOf(bytes.subarray(2, 2 + (bytes[1] ?? 0))) : undefined;
      const field = name === undefined ? MARK : HEAD;
      return [{ field, start, end: piece.start, value: name ?? '' }, piece];
    });
  }

  #note(field: string): string {
    if (NOTES[field] === undefined) return '';
    this.#noted.add(field);
    return NOTES[field];
  }

  #hex(start: number, end: number): string {
    const shown = [...this.#bytes.subarray(start, Math.min(end, start + BYTES_SHOWN))];
    const text = shown.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    return end - start > BYTES_SHOWN ? `${text} … (${end - start} bytes)` : text;
  }

  #order(): string {
    return table(
      ['offset', 'bytes', 'what'],
      this.#frame
        .order()
        .map(({ field, start, end }) => [code(offset(start)), String(end - start), plain(field)]),
    );
  }
}

/** Registry of what the stream has: its devices are on PCI. */
const registry = registryOf([pci], deviceTypes, {});

const textOf = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

const offset = (at: number): string => `0x${at.toString(16).padStart(5, '0')}`;

/**
 * Sink that notes where each part of the stream lies. The parser tells the parts, and the writer how many bytes each
 * has.
 */
class Frame extends NullSink {
  #at = 0;
  readonly #writer = new StreamWriter((_bytes, start, end) => {
    this.#at += end - start;
  });
  readonly #parts: { readonly kind: string; readonly name: string; readonly pieces: Piece[] }[] = [];
  #section = '';

  /** Header and configuration. */
  start(): Piece[] {
    return this.#parts.filter(({ kind }) => kind === 'start').flatMap(({ pieces }) => pieces);
  }

  /** The section `ram`: its head, its blocks and the first pages. */
  ram(pages: number): Piece[] {
    const parts = this.#parts.filter(({ name }) => name === 'ram');
    const first = parts.findIndex(({ kind }) => kind === 'page');
    return parts.slice(0, first + 2 * pages).flatMap(({ pieces }) => pieces);
  }

  /** Lists what stands in front of a section's body. */
  head(name: string): Piece[] {
    const found = this.#parts.find((part) => part.kind === 'section' && part.name.endsWith(name));
    if (found === undefined) throw new Error(`no section ${name} in the stream of the tour`);
    return found.pieces;
  }

  /** The last footer, the end, and the vmdesc. */
  end(): Piece[] {
    const last = this.#parts.findLastIndex(({ kind }) => kind === 'footer');
    return this.#parts.slice(last).flatMap(({ pieces }) => pieces);
  }

  /** Everything in order; what belongs to one section is one row. */
  order(): Piece[] {
    const rows: Piece[] = [];
    let open = '';
    for (const { kind, name, pieces } of this.#parts) {
      const [first, last] = [pieces[0], pieces.at(-1)];
      if (first === undefined || last === undefined) continue;
      const before = rows.at(-1);
      const goesOn =
        before !== undefined && (kind === open || (kind !== 'section' && kind !== 'start' && name !== ''));
      if (goesOn) rows[rows.length - 1] = { ...before, end: last.end };
      else
        rows.push({
          field: kind === 'start' ? 'header and configuration' : name === '' ? first.field : name,
          start: first.start,
          end: last.end,
          value: '',
        });
      open = kind;
    }
    return rows;
  }

  override header(version: number): void {
    const { start, end } = this.#write(() => this.#writer.header(version));
    this.#part('start', '', [
      { field: 'magic', start, end: start + 4, value: 'QEVM' },
      { field: 'version', start: start + 4, end, value: String(version) },
    ]);
  }

  override configuration(value: Configuration): void {
    const { start } = this.#write(() => this.#writer.configuration(value));
    this.#part('start', '', [{ field: 'configuration type', start, end: start + 1, value: '7' }]);
    const trace = new Trace('configuration', start + 1);
    this.#trace(trace, value, start + 1);
  }

  #trace(trace: Trace, value: Configuration, start: number): void {
    const bytes: number[] = [];
    new StreamWriter((from, a, b) => bytes.push(...from.subarray(a, b))).configuration(value);
    const input = new Reader(Uint8Array.from(bytes.slice(1)), start);
    input.trace = trace;
    configuration.decode(input, undefined);
    const pieces = [...leaves(trace.root)].map(({ path, node }) => ({
      field: path,
      start: node.start,
      end: node.end,
      value: node.value instanceof Uint8Array ? textOf(node.value) : showValue(node.value),
    }));
    this.#part('start', '', pieces);
  }

  override section(header: SectionHeader): void {
    const { start, end } = this.#write(() => this.#writer.section(header));
    this.#section = header.idstr;
    const whole = header.kind === 'start' || header.kind === 'full';
    const type = { start: 1, part: 2, end: 3, full: 4 }[header.kind];
    const pieces: Piece[] = [
      { field: 'section type', start, end: start + 1, value: String(type) },
      { field: 'section id', start: start + 1, end: start + 5, value: String(header.id) },
    ];
    if (whole)
      pieces.push(
        { field: 'section name', start: start + 5, end: end - 8, value: header.idstr },
        { field: 'instance id', start: end - 8, end: end - 4, value: String(header.instanceId) },
        { field: 'version id', start: end - 4, end, value: String(header.versionId) },
      );
    this.#part('section', header.idstr, pieces);
  }

  override body(bytes: Uint8Array): void {
    this.#one('body', this.#section, 'body', '', () => this.#writer.body(bytes));
  }

  override ramSize(total: bigint): void {
    this.#one('ram', 'ram', 'bytes of all blocks, and flag MEM_SIZE (4)', `${total >> 20n} MiB`, () =>
      this.#writer.ramSize(total),
    );
  }

  override ramBlock(block: RamBlock): void {
    const said = block.address === undefined ? '' : `, address 0x${block.address.toString(16)}`;
    this.#one('ram', 'ram', `block ${block.name}`, `0x${block.length.toString(16)} bytes${said}`, () =>
      this.#writer.ramBlock(block),
    );
  }

  override ramPage(flags: number, at: number, block: number): void {
    this.#one(
      'page',
      'ram',
      `record of a page: its place, flags ${flagNames(flags)}`,
      `0x${at.toString(16)}`,
      () => this.#writer.ramPage(flags, at, block),
    );
  }

  override ramData(bytes: Uint8Array, start: number, end: number): void {
    this.#one('page', 'ram', end - start === 1 ? 'the byte that fills the page' : 'its content', '', () =>
      this.#writer.ramData(bytes, start, end),
    );
  }

  override ramMark(flags: number, at: number): void {
    this.#one('ram', 'ram', `record without a page: ${flagNames(flags)}`, '', () =>
      this.#writer.ramMark(flags, at),
    );
  }

  override footer(id: number): void {
    this.#one('footer', this.#section, 'footer: 0x7e and the section id', String(id), () =>
      this.#writer.footer(id),
    );
  }

  override command(command: number, payload: Uint8Array): void {
    this.#one('command', '', `command ${COMMANDS[command] ?? command}`, '', () =>
      this.#writer.command(command, payload),
    );
  }

  override eof(): void {
    this.#one('end', '', 'end of the stream: type 0', '', () => this.#writer.eof());
  }

  override vmdesc(text: Uint8Array): void {
    const { start, end } = this.#write(() => this.#writer.vmdesc(text));
    this.#part('vmdesc', '', [
      { field: 'vmdesc: type 6', start, end: start + 1, value: '6' },
      { field: 'length of the vmdesc', start: start + 1, end: start + 5, value: String(text.length) },
      { field: 'JSON', start: start + 5, end, value: `${textOf(text.subarray(0, 24))}…` },
    ]);
  }

  #one(kind: string, name: string, field: string, value: string, act: () => void): void {
    const { start, end } = this.#write(act);
    this.#part(kind, name, [{ field, start, end, value }]);
  }

  #part(kind: string, name: string, pieces: Piece[]): void {
    this.#parts.push({ kind, name, pieces });
  }

  #write(act: () => void): { readonly start: number; readonly end: number } {
    const start = this.#at;
    act();
    return { start, end: this.#at };
  }
}

/** Flags in the low bits of a RAM record. QEMU: `migration/ram.h` */
function flagNames(flags: number): string {
  const names: Readonly<Record<number, string>> = {
    2: 'ZERO',
    4: 'MEM_SIZE',
    8: 'PAGE',
    16: 'EOS',
    32: 'CONTINUE',
    64: 'XBZRLE',
    128: 'HOOK',
    256: 'COMPRESS_PAGE',
    512: 'MULTIFD_FLUSH',
  };
  return Object.entries(names)
    .filter(([bit]) => (flags & Number(bit)) !== 0)
    .map(([, each]) => each)
    .join(' + ');
}
