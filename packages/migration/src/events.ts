import type { Finding } from '@virtkit/core';
import type { Configuration } from './configuration.ts';
import type { LibvirtHeader } from './libvirt.ts';
import type { Vmdesc } from './vmdesc-model.ts';

/** How a section stands in the stream. */
export type SectionKind = 'start' | 'part' | 'end' | 'full';

/** What stands in front of a section's body. Names and versions of `part` and `end` are those of their `start`. */
export interface SectionHeader {
  /** Is it a whole section, or the start, a part or the end of one that comes in parts? */
  readonly kind: SectionKind;
  /** Number that the sender chose; `part`, `end` and the footer refer to it. */
  readonly id: number;
  /** Device path and vmsd name: `0000:00:02.0/virtio-blk`. */
  readonly idstr: string;
  /** Which of several sections of this name it is. QEMU: `instance_id`. */
  readonly instanceId: number;
  /** Version of its format. QEMU: `version_id`. */
  readonly versionId: number;
  /** Offset of the type byte in the stream. */
  readonly offset: number;
}

/** A RAM block as the `ram` section announces it. */
export interface RamBlock {
  /** Name of the block: `pc.ram`, `0000:00:02.0/vga.vram`. */
  readonly name: string;
  /** Bytes in use. */
  readonly length: number;
  /** Page size of its backing, when that was sent (postcopy with huge pages). */
  readonly pageSize?: number;
  /** Guest-physical address; sent with capability x-ignore-shared. */
  readonly address?: bigint;
  /** Capability mapped-ram: where in the file bitmap and pages lie. */
  readonly mapped?: MappedRam;
}

/** Header of a block's region in a mapped-ram file. */
export interface MappedRam {
  /** Version of the header: 1. */
  readonly version: number;
  /** Bytes of a page of the target. */
  readonly pageSize: bigint;
  /** Where in the file the bitmap of the pages that are there begins, bytes. */
  readonly bitmapOffset: bigint;
  /** Where in the file the first page has its place, bytes. */
  readonly pagesOffset: bigint;
}

/** What in a stream does not fit together, though it can be read: what two readers could take for different streams. */
export interface StreamFinding extends Finding {
  /** Where in the stream. */
  readonly offset?: number;
}

/**
 * A migration stream as a sequence of calls. The parser makes them, the writer takes them: one piped into the other
 * gives the same bytes.
 *
 * @remarks `bytes` arguments are lent: they are valid until the call returns.
 */
export interface StreamSink {
  /** A libvirt save file's header and XML, in front of the stream. */
  libvirt(header: LibvirtHeader): void;
  /** The stream begins: its version, 3 in every QEMU of today. */
  header(version: number): void;
  /** The section with the machine type and capabilities, which stands first if there is one. */
  configuration(value: Configuration): void;
  /** A section begins. The bodies of `ram` follow as calls of their own, others as {@link body}. */
  section(header: SectionHeader): void;
  /** The body of any section but `ram`, whole; `offset` is its place in the stream. */
  body(bytes: Uint8Array, header: SectionHeader, offset: number): void;
  /** Record MEM_SIZE of a `ram` section: the bytes of all blocks. */
  ramSize(total: bigint): void;
  /** A block that a `ram` section announces, in the order of their indices. */
  ramBlock(block: RamBlock): void;
  /** Bytes of a mapped-ram region between header and next block (bitmap, padding, pages), in pieces. */
  ramRegion(bytes: Uint8Array, start: number, end: number): void;
  /**
   * Head of a record with a page: `flags`, the page's offset in the block, and the index of the block.
   * What follows comes as {@link ramData}.
   */
  ramPage(flags: number, offset: number, block: number): void;
  /** What stands in the record behind the head (page, fill byte, compressed data): `bytes[start..end)`, in pieces. */
  ramData(bytes: Uint8Array, start: number, end: number): void;
  /** A record that is its flags alone: end of section, multifd flush, hook. */
  ramMark(flags: number, offset: number): void;
  /** The footer behind a section: the number of the section that ends. */
  footer(id: number): void;
  /** A command of the source (QEMU: `MIG_CMD_*`) with its payload. */
  command(command: number, payload: Uint8Array): void;
  /** The end of the stream. A vmdesc may stand behind it. */
  eof(): void;
  /** The JSON description, as it stands; `read`: what it says, where that has been read. */
  vmdesc(text: Uint8Array, read?: Vmdesc): void;
  /** Whatever stands behind the end, in pieces; QEMU ignores it. */
  trailing(bytes: Uint8Array): void;
  /**
   * What does not fit together. By code: `ambiguous`: a section could end elsewhere; `vmdesc-size`, `vmdesc-section`, `vmdesc-missing`: the vmdesc
   * says something else than the bytes; `trailing`: bytes behind the end; `unfinished`: a section in parts has no end.
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
