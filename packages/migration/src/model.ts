import { StateError } from '@virtkit/vmstate';
import type { Configuration } from './configuration.ts';
import { NullSink, type RamBlock, type SectionHeader, type StreamFinding } from './events.ts';
import type { LibvirtHeader } from './libvirt.ts';
import { StreamParser } from './parser.ts';
import type { ParserOptions } from './parser-options.ts';
import { DeviceList, parseVmdesc } from './vmdesc.ts';
import type { DescDevice, Vmdesc } from './vmdesc-model.ts';
import { RAM } from './wire.ts';

/** Section with its body. Those of `ram` are only counted, see {@link RamSummary}. */
export interface StreamSection {
  /** Header that stood in front of the body. */
  readonly header: SectionHeader;
  /** Offset of the body in the stream. */
  readonly offset: number;
  /** Bytes of the section, without header and footer. */
  readonly body: Uint8Array;
  /** Entry of the section in the stream's own vmdesc. */
  readonly description?: DescDevice;
}

/** RAM block with numbers of what came of it. */
export interface RamBlockSummary extends RamBlock {
  /** Number of pages with content, in all passes together. */
  readonly pages: number;
  /** Number of pages that were sent as one byte: zeros, in every QEMU of today. */
  readonly zeroPages: number;
  /** Number of pages that came as delta or compressed. */
  readonly encodedPages: number;
}

/** Content of the `ram` sections, in numbers. */
export interface RamSummary {
  /** Number of bytes of all blocks together. */
  readonly total: bigint;
  /** RAM blocks, by their indices in the stream. */
  readonly blocks: readonly RamBlockSummary[];
  /** Number of sections: one START, the rounds, one END. */
  readonly sections: number;
}

/** Everything in a migration stream but the content of RAM. */
export interface MigrationStream {
  /** Header of the libvirt save file that the stream was in. */
  readonly libvirt?: LibvirtHeader;
  /** Version of the stream: 3. */
  readonly version: number;
  /** Configuration section; absent with machine types up to 2.3. */
  readonly configuration?: Configuration;
  /** Sections in the order of the stream, without `ram`. */
  readonly sections: readonly StreamSection[];
  /** Commands of the source, in order. */
  readonly commands: readonly { readonly command: number; readonly payload: Uint8Array }[];
  /** Summary of guest memory in the stream. */
  readonly ram?: RamSummary;
  /** QEMU's own description of the sections, from behind the end. */
  readonly vmdesc?: Vmdesc;
  /** True if the stream came to its end. It is false only in the answer of {@link StreamCollector.partial}. */
  readonly complete: boolean;
  /** Number of bytes behind the end. */
  readonly trailing: number;
  /** Contradictions in the stream. Absent: there are none. */
  readonly findings?: readonly StreamFinding[];
}

type MutableBlock = { -readonly [K in keyof RamBlockSummary]: RamBlockSummary[K] };
/** Largest number of findings that are kept of one stream. */
const FINDINGS_MAX = 64;

type Counter = 'pages' | 'zeroPages' | 'encodedPages';

/**
 * Largest number of commands that are kept, and of bytes in all of them together. A QEMU sends a handful, unless for
 * postcopy.
 */
const COMMANDS_MAX = 1 << 16;
const COMMAND_BYTES_MAX = 1 << 24;

/**
 * Sink that keeps all but RAM's content.
 *
 * Its calls throw StateError `limit` where a stream has more commands than are kept.
 */
export class StreamCollector extends NullSink {
  #libvirt: LibvirtHeader | undefined;
  #version = 0;
  #configuration: Configuration | undefined;
  readonly #sections: { header: SectionHeader; offset: number; body: Uint8Array }[] = [];
  readonly #commands: { command: number; payload: Uint8Array }[] = [];
  #commandBytes = 0;
  readonly #blocks: MutableBlock[] = [];
  #ramSections = 0;
  #total: bigint | undefined;
  #vmdesc: Vmdesc | undefined;
  #complete = false;
  #trailing = 0;
  readonly #findings: StreamFinding[] = [];

  override libvirt(header: LibvirtHeader): void {
    this.#libvirt = header;
  }

  override header(version: number): void {
    this.#version = version;
  }

  override configuration(value: Configuration): void {
    this.#configuration = value;
  }

  override section(header: SectionHeader): void {
    if (header.idstr === 'ram') this.#ramSections++;
  }

  override body(bytes: Uint8Array, header: SectionHeader, offset: number): void {
    this.#sections.push({ header, offset, body: bytes.slice() });
  }

  override command(command: number, payload: Uint8Array): void {
    this.#commandBytes += payload.length;
    if (this.#commands.length === COMMANDS_MAX || this.#commandBytes > COMMAND_BYTES_MAX)
      throw new StateError(
        'limit',
        `more commands than ${COMMANDS_MAX}, or than ${COMMAND_BYTES_MAX} bytes of them`,
        { commands: this.#commands.length + 1, bytes: this.#commandBytes, limit: COMMANDS_MAX },
        { layer: 'stream' },
      );
    this.#commands.push({ command, payload: payload.slice() });
  }

  override ramSize(total: bigint): void {
    this.#total = total;
  }

  override ramBlock(block: RamBlock): void {
    this.#blocks.push({ ...block, pages: 0, zeroPages: 0, encodedPages: 0 });
  }

  override ramPage(flags: number, _offset: number, index: number): void {
    const block = this.#blocks[index];
    if (block === undefined) return;
    const counter: Counter =
      (flags & RAM.PAGE) !== 0 ? 'pages' : (flags & RAM.ZERO) !== 0 ? 'zeroPages' : 'encodedPages';
    block[counter]++;
  }

  override eof(): void {
    this.#complete = true;
  }

  override vmdesc(text: Uint8Array, read?: Vmdesc): void {
    this.#vmdesc = read ?? parseVmdesc(text);
  }

  override trailing(bytes: Uint8Array): void {
    this.#trailing += bytes.length;
  }

  override finding(finding: StreamFinding): void {
    if (this.#findings.length < FINDINGS_MAX) this.#findings.push(finding);
  }

  /** Answers what there is so far; after an error, what came before it. */
  partial(): MigrationStream {
    return {
      ...(this.#libvirt !== undefined && { libvirt: this.#libvirt }),
      version: this.#version,
      ...(this.#configuration !== undefined && { configuration: this.#configuration }),
      sections: describeSections(this.#sections, this.#vmdesc),
      commands: this.#commands,
      ...(this.#total !== undefined && {
        ram: { total: this.#total, blocks: this.#blocks, sections: this.#ramSections },
      }),
      ...(this.#vmdesc !== undefined && { vmdesc: this.#vmdesc }),
      complete: this.#complete,
      trailing: this.#trailing,
      ...(this.#findings.length > 0 && { findings: this.#findings }),
    };
  }
}

/** Gives each section the vmdesc entry with its name and instance; the n-th section of a name gets the n-th entry. */
function describeSections(sections: readonly StreamSection[], vmdesc: Vmdesc | undefined): StreamSection[] {
  const devices = new DeviceList(vmdesc);
  return sections.map((section) => {
    if (section.header.kind !== 'full') return section;
    const description = devices.next(section.header);
    return description === undefined ? section : { ...section, description };
  });
}

/** Source of a stream's bytes: an array, a generator, a Node or web stream. */
export type ByteSource = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/**
 * Reads a migration stream from a file or a pipe, in one pass; memory depends on its device state, not on its RAM.
 * @throws StateError
 */
export async function readStream(source: ByteSource, options: ParserOptions = {}): Promise<MigrationStream> {
  const collector = new StreamCollector();
  const parser = new StreamParser(collector, options);
  if (source instanceof Uint8Array) parser.push(source);
  else for await (const chunk of source) parser.push(chunk);
  parser.end();
  return collector.partial();
}

/** Reads a migration stream that is in memory. @throws StateError */
export function parseStream(bytes: Uint8Array, options: ParserOptions = {}): MigrationStream {
  const collector = new StreamCollector();
  const parser = new StreamParser(collector, options);
  parser.push(bytes);
  parser.end();
  return collector.partial();
}
