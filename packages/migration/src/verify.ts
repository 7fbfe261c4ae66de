import { plainBytes } from '@virtkit/vmstate';
import type { Configuration } from './configuration.ts';
import type { RamBlock, SectionHeader, StreamFinding, StreamSink } from './events.ts';
import type { LibvirtHeader } from './libvirt.ts';
import type { Vmdesc } from './vmdesc-model.ts';

/**
 * Comparison of what a writer makes of a stream with the stream itself, while both go by. Give it the chunks with
 * {@link input} before the parser gets them.
 */
export class RoundTripCheck {
  /** Bytes that came in and have no counterpart yet: at most what the parser keeps. */
  #expected: Uint8Array[] = [];
  /** Number of bytes of `#expected[0]` that were compared. */
  #at = 0;
  /** Number of bytes compared. */
  compared = 0;
  /** Offset of the first byte that differs, or -1. */
  difference = -1;

  /** Takes bytes of the original. They are copied unless `owned`. */
  input(chunk: Uint8Array, owned = false): void {
    if (chunk.length > 0) this.#expected.push(owned ? plainBytes(chunk) : plainBytes(chunk).slice());
  }

  /** Takes bytes of the encoding. */
  output(bytes: Uint8Array, start: number, end: number): void {
    let at = start;
    while (at < end && this.difference < 0) {
      const expected = this.#expected[0];
      if (expected === undefined) {
        this.difference = this.compared;
        return;
      }
      const count = Math.min(end - at, expected.length - this.#at);
      this.#compare(bytes, at, expected, count);
      at += count;
      this.#at += count;
      if (this.#at === expected.length) {
        this.#expected.shift();
        this.#at = 0;
      }
    }
  }

  /** Had all bytes of the original a counterpart? */
  get complete(): boolean {
    return this.difference < 0 && this.#expected.length === 0;
  }

  #compare(bytes: Uint8Array, at: number, expected: Uint8Array, count: number): void {
    const from = this.#at;
    // a page that the writer passes on is the very memory that came in
    if (bytes === expected && at === from) {
      this.compared += count;
      return;
    }
    for (let i = 0; i < count; i++) {
      if (bytes[at + i] !== expected[from + i]) {
        this.difference = this.compared + i;
        return;
      }
    }
    this.compared += count;
  }
}

/** Sink that hands every call to each of several sinks. */
export class TeeSink implements StreamSink {
  readonly #sinks: readonly StreamSink[];

  constructor(...sinks: readonly StreamSink[]) {
    this.#sinks = sinks;
  }

  libvirt(header: LibvirtHeader): void {
    for (const sink of this.#sinks) sink.libvirt(header);
  }
  header(version: number): void {
    for (const sink of this.#sinks) sink.header(version);
  }
  configuration(value: Configuration): void {
    for (const sink of this.#sinks) sink.configuration(value);
  }
  section(header: SectionHeader): void {
    for (const sink of this.#sinks) sink.section(header);
  }
  body(bytes: Uint8Array, header: SectionHeader, offset: number): void {
    for (const sink of this.#sinks) sink.body(bytes, header, offset);
  }
  ramSize(total: bigint): void {
    for (const sink of this.#sinks) sink.ramSize(total);
  }
  ramBlock(block: RamBlock): void {
    for (const sink of this.#sinks) sink.ramBlock(block);
  }
  ramRegion(bytes: Uint8Array, start: number, end: number): void {
    for (const sink of this.#sinks) sink.ramRegion(bytes, start, end);
  }
  ramPage(flags: number, offset: number, block: number): void {
    for (const sink of this.#sinks) sink.ramPage(flags, offset, block);
  }
  ramData(bytes: Uint8Array, start: number, end: number): void {
    for (const sink of this.#sinks) sink.ramData(bytes, start, end);
  }
  ramMark(flags: number, offset: number): void {
    for (const sink of this.#sinks) sink.ramMark(flags, offset);
  }
  footer(id: number): void {
    for (const sink of this.#sinks) sink.footer(id);
  }
  command(command: number, payload: Uint8Array): void {
    for (const sink of this.#sinks) sink.command(command, payload);
  }
  eof(): void {
    for (const sink of this.#sinks) sink.eof();
  }
  vmdesc(text: Uint8Array, read?: Vmdesc): void {
    for (const sink of this.#sinks) sink.vmdesc(text, read);
  }
  trailing(bytes: Uint8Array): void {
    for (const sink of this.#sinks) sink.trailing(bytes);
  }
  finding(finding: StreamFinding): void {
    for (const sink of this.#sinks) sink.finding?.(finding);
  }
}
