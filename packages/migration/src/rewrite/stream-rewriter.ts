import { fromLatin1, latin1 } from '@virtkit/vmstate';
import type { Configuration } from '../configuration.ts';
import type { RamBlock, SectionHeader, StreamSink } from '../events.ts';
import type { LibvirtHeader } from '../libvirt.ts';
import { RAM } from '../wire.ts';
import { StreamWriter } from '../writer.ts';
import type { ChangedPage } from './changed-page.ts';
import { MappedPages } from './mapped-pages.ts';

/** Changes that a {@link StreamRewriter} makes. */
export interface Changes {
  /** Makes the new body of a section, or undefined: it stays. */
  body?(header: SectionHeader, body: Uint8Array): Uint8Array | undefined;
  /** Is this command written? Default: all are. */
  command?(command: number): boolean;
  /** Is this section written? Default: all are. */
  keep?(header: SectionHeader): boolean;
  /** Pages of guest memory that are written with other bytes than they came with. */
  readonly pages?: Iterable<ChangedPage>;
  /** Name of the machine in the configuration section. */
  readonly machine?: string;
}

/**
 * Sink that writes the stream on with changes: bodies of sections, pages of RAM (as a last pass, behind those that the
 * stream has; in their places in a mapped-ram file), and the vmdesc, whose sizes follow. Everything else stays byte for
 * byte.
 */
export class StreamRewriter implements StreamSink {
  readonly #writer: StreamWriter;
  readonly #changes: Changes;
  readonly #blocks = new Map<string, number>();
  /** Sizes of changed sections in bytes, by name and instance. */
  readonly #sizes = new Map<string, { readonly from: number; readonly to: number }>();
  #section: SectionHeader | undefined;
  #skipping = false;
  #pages: readonly ChangedPage[] | undefined;
  /** Changes of the mapped-ram region that comes now. */
  #region: MappedPages | undefined;
  /** Names of blocks that have a mapped-ram region: their pages are changed there. */
  readonly #mapped = new Set<string>();

  constructor(emit: (bytes: Uint8Array, start: number, end: number) => void, changes: Changes) {
    this.#writer = new StreamWriter(emit);
    this.#changes = changes;
  }

  libvirt(header: LibvirtHeader): void {
    this.#writer.libvirt(header);
  }

  header(version: number): void {
    this.#writer.header(version);
  }

  configuration(value: Configuration): void {
    const { machine } = this.#changes;
    this.#writer.configuration(machine === undefined ? value : { ...value, name: machine });
  }

  section(header: SectionHeader): void {
    this.#section = header;
    this.#skipping = this.#changes.keep?.(header) === false;
    if (!this.#skipping) this.#writer.section(header);
  }

  body(bytes: Uint8Array, header: SectionHeader): void {
    if (this.#skipping) return;
    const changed = this.#changes.body?.(header, bytes);
    if (changed === undefined) {
      this.#writer.body(bytes);
      return;
    }
    if (changed.length !== bytes.length)
      this.#sizes.set(keyOf(header), { from: bytes.length, to: changed.length });
    this.#writer.body(changed);
  }

  ramSize(total: bigint): void {
    this.#writer.ramSize(total);
  }

  ramBlock(block: RamBlock): void {
    this.#blocks.set(block.name, this.#blocks.size);
    if (block.mapped !== undefined) this.#mapped.add(block.name);
    this.#region = block.mapped === undefined ? undefined : MappedPages.of(block, this.#changedPages());
    this.#writer.ramBlock(block);
  }

  ramRegion(bytes: Uint8Array, start: number, end: number): void {
    const changed = this.#region?.apply(bytes.subarray(start, end));
    if (changed === undefined) this.#writer.ramRegion(bytes, start, end);
    else this.#writer.ramRegion(changed, 0, changed.length);
  }

  #changedPages(): readonly ChangedPage[] {
    this.#pages ??= [...(this.#changes.pages ?? [])];
    return this.#pages;
  }

  ramPage(flags: number, offset: number, block: number): void {
    this.#writer.ramPage(flags, offset, block);
  }

  ramData(bytes: Uint8Array, start: number, end: number): void {
    this.#writer.ramData(bytes, start, end);
  }

  ramMark(flags: number, offset: number): void {
    if ((flags & RAM.EOS) !== 0 && this.#section?.kind === 'end') this.#lastPass();
    this.#writer.ramMark(flags, offset);
  }

  /** Writes changed pages behind all others: the last one of a page counts. */
  #lastPass(): void {
    for (const { block, offset, bytes } of this.#changedPages()) {
      const index = this.#blocks.get(block);
      if (index === undefined || this.#mapped.has(block)) continue;
      this.#writer.ramPage(RAM.PAGE, offset, index);
      this.#writer.ramData(bytes, 0, bytes.length);
    }
  }

  footer(id: number): void {
    if (!this.#skipping) this.#writer.footer(id);
    this.#skipping = false;
  }

  command(command: number, payload: Uint8Array): void {
    if (this.#changes.command?.(command) !== false) this.#writer.command(command, payload);
  }

  eof(): void {
    this.#writer.eof();
  }

  vmdesc(text: Uint8Array): void {
    this.#writer.vmdesc(this.#sizes.size === 0 ? text : fromLatin1(this.#patched(latin1(text))));
  }

  trailing(bytes: Uint8Array): void {
    this.#writer.trailing(bytes);
  }

  /** Patches the vmdesc's text: the sizes of the `virtio` fields that changed. It says nothing else of them. */
  #patched(text: string): string {
    let patched = text;
    for (const [key, { from, to }] of this.#sizes) {
      const at = patched.indexOf(`{${key},`);
      if (at < 0) continue;
      const field = `"type": "virtio", "size": ${from}}`;
      const place = patched.indexOf(field, at);
      const next = patched.indexOf('{"name": "', at + key.length + 2);
      const end = patched.indexOf('"instance_id"', at + key.length + 2);
      // only inside this device's own description
      if (place < 0 || next < 0 || (end >= 0 && place > end)) continue;
      patched = `${patched.slice(0, place)}"type": "virtio", "size": ${to}}${patched.slice(place + field.length)}`;
    }
    return patched;
  }
}

/** Makes the text with which the vmdesc begins a device. */
function keyOf({ idstr, instanceId }: SectionHeader): string {
  return `"name": ${JSON.stringify(idstr)}, "instance_id": ${instanceId}`;
}
