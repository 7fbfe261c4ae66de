import type { Finding } from '@virtkit/core';
import type { Configuration } from './configuration.ts';
import type { LibvirtHeader } from './libvirt.ts';
import type { Vmdesc } from './vmdesc-model.ts';

/** Kind of a section's piece in the stream: a section comes whole, or as a start, parts and an end. */
export type SectionKind = 'start' | 'part' | 'end' | 'full';

/** Header in front of a section's body. Names and versions of `part` and `end` are those of their `start`. */
export interface SectionHeader {
  /** Kind of the piece: a whole section, or the start, a part or the end of one that comes in parts. */
  readonly kind: SectionKind;
  /** Number that the sender chose; `part`, `end` and the footer refer to it. */
  readonly id: number;
  /** Name of the section, from device path and vmsd name: `0000:00:02.0/virtio-blk`. */
  readonly idstr: string;
  /** Number that tells apart several sections of the same name. QEMU: `instance_id`. */
  readonly instanceId: number;
  /** Version of the section's format. QEMU: `version_id`. */
  readonly versionId: number;
  /** Offset of the type byte in the stream. */
  readonly offset: number;
}

/** RAM block as the `ram` section announces it. */
export interface RamBlock {
  /** Name of the block: `pc.ram`, `0000:00:02.0/vga.vram`. */
  readonly name: string;
  /** Number of bytes of the block that are in use. */
  readonly length: number;
  /** Page size of the block's backing in bytes, when that was sent (postcopy with huge pages). */
  readonly pageSize?: number;
  /** Guest-physical address of the block; sent with capability x-ignore-shared. */
  readonly address?: bigint;
  /** Header that says where in the file bitmap and pages lie; sent with capability mapped-ram. */
  readonly mapped?: MappedRam;
}

/** Header of a block's region in a mapped-ram file. */
export interface MappedRam {
  /** Version of the header: 1. */
  readonly version: number;
  /** Length of a target page in bytes. */
  readonly pageSize: bigint;
  /** Offset in the file, in bytes, of the bitmap of the pages that are there. */
  readonly bitmapOffset: bigint;
  /** Offset in the file, in bytes, of the first page's place. */
  readonly pagesOffset: bigint;
}

/** Contradiction in a stream that can be read: two readers could take it for different streams. */
export interface StreamFinding extends Finding {
  /** Offset in the stream, in bytes. */
  readonly offset?: number;
}

/**
 * Receiver of a migration stream as a sequence of calls. The parser makes them, the writer takes them: one piped into
 * the other gives the same bytes.
 *
 * @remarks `bytes` arguments are lent: they are valid until the call returns.
 */
export interface StreamSink {
  /** Takes a libvirt save file's header and XML, which stand in front of the stream. */
  libvirt(header: LibvirtHeader): void;
  /** Takes the beginning of the stream: its version, 3 in every QEMU of today. */
  header(version: number): void;
  /** Takes the section with the machine type and capabilities, which stands first if there is one. */
  configuration(value: Configuration): void;
  /** Takes the beginning of a section. The bodies of `ram` follow as calls of their own, others as {@link body}. */
  section(header: SectionHeader): void;
  /** Takes the whole body of any section but `ram`; `offset` is its place in the stream. */
  body(bytes: Uint8Array, header: SectionHeader, offset: number): void;
  /** Takes the record MEM_SIZE of a `ram` section: the number of bytes of all blocks. */
  ramSize(total: bigint): void;
  /** Takes a block that a `ram` section announces, in the order of their indices. */
  ramBlock(block: RamBlock): void;
  /** Takes bytes of a mapped-ram region between header and next block (bitmap, padding, pages), in pieces. */
  ramRegion(bytes: Uint8Array, start: number, end: number): void;
  /**
   * Takes the head of a record with a page: `flags`, the page's offset in the block, and the index of the block. What
   * follows comes as {@link ramData}.
   */
  ramPage(flags: number, offset: number, block: number): void;
  /**
   * Takes the bytes `[start, end)` of the data behind a RAM record's head (page, fill byte, compressed data), in
   * pieces.
   */
  ramData(bytes: Uint8Array, start: number, end: number): void;
  /** Takes a RAM record that is its flags alone: end of section, multifd flush, hook. */
  ramMark(flags: number, offset: number): void;
  /** Takes the footer behind a section: the number of the section that ends. */
  footer(id: number): void;
  /** Takes a command of the source (QEMU: `MIG_CMD_*`) with its payload. */
  command(command: number, payload: Uint8Array): void;
  /** Takes the end of the stream. A vmdesc may stand behind it. */
  eof(): void;
  /** Takes the JSON description as it stands; `read` is what it says, where that has been read. */
  vmdesc(text: Uint8Array, read?: Vmdesc): void;
  /** Takes whatever stands behind the end, in pieces; QEMU ignores it. */
  trailing(bytes: Uint8Array): void;
  /**
   * Takes a contradiction in the stream. By code: `ambiguous`: a section could end elsewhere; `vmdesc-size`,
   * `vmdesc-section`, `vmdesc-missing`: the vmdesc says something else than the bytes; `trailing`: bytes behind the
   * end; `unfinished`: a section in parts has no end.
   */
  finding?(finding: StreamFinding): void;
}

/** A sink that ignores everything: override what you want. */
export class NullSink implements StreamSink {
  libvirt(_header: LibvirtHeader): void {}
  header(_version: number): void {}
  configuration(_value: Configuration): void {}
  section(_header: SectionHeader): void {}
  body(_bytes: Uint8Array, _header: SectionHeader, _offset: number): void {}
  ramSize(_total: bigint): void {}
  ramBlock(_block: RamBlock): void {}
  ramRegion(_bytes: Uint8Array, _start: number, _end: number): void {}
  ramPage(_flags: number, _offset: number, _block: number): void {}
  ramData(_bytes: Uint8Array, _start: number, _end: number): void {}
  ramMark(_flags: number, _offset: number): void {}
  footer(_id: number): void {}
  command(_command: number, _payload: Uint8Array): void {}
  eof(): void {}
  vmdesc(_text: Uint8Array, _read?: Vmdesc): void {}
  trailing(_bytes: Uint8Array): void {}
  finding(_finding: StreamFinding): void {}
}
