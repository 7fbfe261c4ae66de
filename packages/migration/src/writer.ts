import { fromLatin1, Writer } from '@virtkit/vmstate';
import { type Configuration, configuration } from './configuration.ts';
import type { RamBlock, SectionHeader, StreamSink } from './events.ts';
import type { LibvirtHeader } from './libvirt.ts';
import { MAGIC, RAM, TYPE } from './wire.ts';

/**
 * Writes a migration stream: the other end of the calls that `StreamParser` makes.
 *
 * @remarks the bytes that `emit` gets are lent: valid until it returns.
 */
export class StreamWriter implements StreamSink {
  readonly #emit: (bytes: Uint8Array, start: number, end: number) => void;
  readonly #out = new Writer(512);
  readonly #blocks: Uint8Array[] = [];

  constructor(emit: (bytes: Uint8Array, start: number, end: number) => void) {
    this.#emit = emit;
  }

  libvirt(header: LibvirtHeader): void {
    this.#emit(header.bytes, 0, header.bytes.length);
  }

  header(version: number): void {
    this.#out.u32(MAGIC);
    this.#out.u32(version);
    this.#flush();
  }

  configuration(value: Configuration): void {
    this.#out.u8(TYPE.CONFIGURATION);
    configuration.encode(this.#out, value, undefined);
    this.#flush();
  }

  section({ kind, id, idstr, instanceId, versionId }: SectionHeader): void {
    const out = this.#out;
    out.u8({ start: TYPE.START, part: TYPE.PART, end: TYPE.END, full: TYPE.FULL }[kind]);
    out.u32(id);
    if (kind === 'start' || kind === 'full') {
      this.#name(fromLatin1(idstr));
      out.u32(instanceId);
      out.u32(versionId);
    }
    this.#flush();
  }

  body(bytes: Uint8Array): void {
    this.#emit(bytes, 0, bytes.length);
  }

  ramSize(total: bigint): void {
    this.#out.u64(total | BigInt(RAM.MEM_SIZE));
    this.#flush();
  }

  ramBlock({ name, length, pageSize, address, mapped }: RamBlock): void {
    const out = this.#out;
    const bytes = fromLatin1(name);
    this.#blocks.push(bytes);
    this.#name(bytes);
    out.u64(BigInt(length));
    if (pageSize !== undefined) out.u64(BigInt(pageSize));
    if (address !== undefined) out.u64(address);
    if (mapped !== undefined) {
      out.u32(mapped.version);
      out.u64(mapped.pageSize);
      out.u64(mapped.bitmapOffset);
      out.u64(mapped.pagesOffset);
    }
    this.#flush();
  }

  ramRegion(bytes: Uint8Array, start: number, end: number): void {
    this.#emit(bytes, start, end);
  }

  ramPage(flags: number, offset: number, block: number): void {
    this.#word(flags, offset);
    if ((flags & RAM.CONTINUE) === 0) this.#name(this.#blocks[block] ?? new Uint8Array(0));
    this.#flush();
  }

  ramData(bytes: Uint8Array, start: number, end: number): void {
    this.#emit(bytes, start, end);
  }

  ramMark(flags: number, offset: number): void {
    this.#word(flags, offset);
    this.#flush();
  }

  footer(id: number): void {
    this.#out.u8(TYPE.FOOTER);
    this.#out.u32(id);
    this.#flush();
  }

  command(command: number, payload: Uint8Array): void {
    this.#out.u8(TYPE.COMMAND);
    this.#out.u16(command);
    this.#out.u16(payload.length);
    this.#out.raw(payload);
    this.#flush();
  }

  eof(): void {
    this.#out.u8(TYPE.EOF);
    this.#flush();
  }

  vmdesc(text: Uint8Array): void {
    this.#out.u8(TYPE.VMDESCRIPTION);
    this.#out.u32(text.length);
    this.#flush();
    this.#emit(text, 0, text.length);
  }

  trailing(bytes: Uint8Array): void {
    this.#emit(bytes, 0, bytes.length);
  }

  #word(flags: number, offset: number): void {
    this.#out.u32(Math.floor(offset / 0x1_0000_0000));
    this.#out.u32((offset % 0x1_0000_0000) + flags);
  }

  #name(bytes: Uint8Array): void {
    this.#out.u8(bytes.length);
    this.#out.raw(bytes);
  }

  #flush(): void {
    this.#emit(this.#out.bytes, 0, this.#out.offset);
    this.#out.reset();
  }
}
