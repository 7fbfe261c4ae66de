import { hex, latin1, type Reader, StateError } from '@virtkit/vmstate';
import type { SectionHeader, SectionKind, StreamSink } from './events.ts';
import { streamFinding } from './finding.ts';
import { COMMANDS, MAGIC, RAM_VERSION, TYPE, VERSION } from './wire.ts';

const KINDS: Readonly<Record<number, SectionKind>> = {
  [TYPE.START]: 'start',
  [TYPE.PART]: 'part',
  [TYPE.END]: 'end',
  [TYPE.FULL]: 'full',
};

/** Facts that have to be remembered from one structure of a stream to the next. */
export interface StreamContext {
  readonly sink: StreamSink;
  /** Sections that were started, by id: `part`, `end` and their names refer to them. */
  readonly started: Map<number, SectionHeader>;
  /** True if sections have footers. It is known after the first one; machine types up to 2.3 have none. */
  footers: boolean | undefined;
  /** Sections in parts that have begun and not ended, by id. */
  readonly open: Set<number>;
  /** Whole sections that came in front of the end of RAM: a vmdesc lists them first. */
  readonly earlier: SectionHeader[];
  readonly structures: Structures;
  /** Are these bytes the whole body of a section? Undefined: not known. */
  readonly accepts: (header: SectionHeader, body: Uint8Array) => boolean | undefined;
  /** Lengths that the body can have which begins with `bytes`. Undefined: not known. */
  readonly lengths: (header: SectionHeader, bytes: Uint8Array) => readonly number[] | undefined;
}

/** Counter of what a stream has besides RAM: whoever collects it keeps an object for each. */
export class Structures {
  readonly #most: number;
  #count = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** Counts a section or command that begins at this offset in the stream. @throws StateError `limit` when there are too many */
  count(offset: number): void {
    if (++this.#count <= this.#most) return;
    throw new StateError(
      'limit',
      `more than ${this.#most} sections and commands`,
      { limit: this.#most },
      { layer: 'stream', offset },
    );
  }
}

/** Remembers what matters later of a section that begins, and tells the sink. @throws StateError `limit` */
export function tellSection(header: SectionHeader, context: StreamContext): void {
  const { kind, id, idstr, offset } = header;
  // the rounds of RAM are not kept
  if (idstr !== 'ram' || kind === 'start') context.structures.count(offset);
  if (kind === 'start') {
    context.started.set(id, header);
    context.open.add(id);
  } else if (kind === 'end') context.open.delete(id);
  context.sink.section(header);
}

/** Checks, where the sections end, that what came in parts has ended. */
export function endsSections({ sink, open, started }: StreamContext, offset: number): void {
  for (const id of open) {
    const { idstr = '' } = started.get(id) ?? {};
    const reason = `the stream ends in the middle of section "${idstr}": its last part has not come`;
    sink.finding?.(streamFinding('unfinished', idstr, reason, { section: idstr, id }, offset));
    return;
  }
}

/** Reads magic and version at the beginning of a stream. */
export function readPreamble(input: Reader): number {
  const at = input.position;
  const magic = input.u32();
  if (magic !== MAGIC) {
    throw new StateError(
      'magic',
      `not a migration stream: ${hex(magic)} found, ${hex(MAGIC)} ("QEVM") expected`,
      { found: magic, expected: MAGIC },
      { layer: 'stream', offset: at },
    );
  }
  const version = input.u32();
  if (version !== VERSION) {
    throw new StateError(
      'version',
      `migration stream version ${version}, only ${VERSION} is known`,
      { found: version, expected: VERSION },
      { layer: 'stream', path: 'version', offset: at + 4 },
    );
  }
  return version;
}

/** Reads a section's header, from type byte to version id. */
export function readSectionHeader(input: Reader, started: ReadonlyMap<number, SectionHeader>): SectionHeader {
  const offset = input.position;
  const type = input.u8();
  const kind = KINDS[type];
  if (kind === undefined)
    throw new StateError(
      'section-type',
      `section type ${hex(type)} is not known`,
      { type },
      { layer: 'stream', offset },
    );
  const id = input.u32();
  if (kind === 'part' || kind === 'end') {
    const start = started.get(id);
    if (start === undefined)
      throw new StateError(
        'section-id',
        `section id ${id} was never started`,
        { id },
        { layer: 'stream', offset: offset + 1 },
      );
    return { ...start, kind, offset };
  }
  const length = input.u8();
  if (length === 0)
    throw new StateError(
      'idstr',
      `section id ${id} has no name`,
      { id, length },
      { layer: 'stream', offset: offset + 5 },
    );
  const idstr = latin1(input.borrow(length));
  const instanceId = input.u32();
  const at = input.position;
  const versionId = input.u32();
  if (idstr === 'ram' && (versionId !== RAM_VERSION || kind === 'full')) {
    throw new StateError(
      'version',
      `section "ram" of version ${versionId} as ${kind}: only version ${RAM_VERSION} in parts is known`,
      { found: versionId, expected: RAM_VERSION },
      { layer: 'stream', path: 'ram', offset: at },
    );
  }
  return { kind, id, idstr, instanceId, versionId, offset };
}

/** Reads a command, behind its type byte: be16 command, be16 length, payload. */
export function readCommand(input: Reader): { readonly command: number; readonly payload: Uint8Array } {
  input.take(1);
  const at = input.position;
  const command = input.u16();
  if (command === 0 || command >= COMMANDS.length) {
    throw new StateError(
      'command',
      `command ${command}, 1 to ${COMMANDS.length - 1} are known`,
      { command, limit: COMMANDS.length - 1 },
      { layer: 'stream', offset: at },
    );
  }
  return { command, payload: input.borrow(input.u16()) };
}

/** Reads the footer of a section, if sections have one, and tells the sink. */
export function readFooter(input: Reader, header: SectionHeader, context: StreamContext): void {
  const found = input.peek();
  context.footers ??= found === TYPE.FOOTER;
  if (!context.footers) return;
  const place = { layer: 'stream', path: header.idstr } as const;
  if (found !== TYPE.FOOTER) {
    if (found < 0) throw input.truncated(5);
    throw new StateError(
      'footer',
      `no footer behind the section (id ${header.id}): 0x7e expected, ${hex(found)} found`,
      { expected: TYPE.FOOTER, found, section: header.idstr },
      { ...place, offset: input.position },
    );
  }
  const start = input.offset;
  input.take(1);
  if (input.remaining < 4) {
    input.offset = start;
    throw input.truncated(5);
  }
  const id = input.u32();
  if (id !== header.id) {
    throw new StateError(
      'footer',
      `footer of section id ${id} behind the section with id ${header.id}`,
      { expected: header.id, found: id, section: header.idstr },
      { ...place, offset: input.position - 4 },
    );
  }
  context.sink.footer(id);
}
