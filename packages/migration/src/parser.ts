import { inside, isStateError, plainBytes, Reader, StateError } from '@virtkit/vmstate';
import { type Configuration, configuration } from './configuration.ts';
import { EndProbe } from './end-probe.ts';
import type { SectionHeader, StreamSink } from './events.ts';
import { KeptState } from './kept-state.ts';
import { lastNonZero } from './last-non-zero.ts';
import { isLibvirt, readLibvirt } from './libvirt.ts';
import type { ParserOptions } from './parser-options.ts';
import { RamParser } from './ram.ts';
import { findFooter, plausibleNext } from './split.ts';
import {
  readCommand,
  readFooter,
  readPreamble,
  readSectionHeader,
  type StreamContext,
  Structures,
  tellSection,
} from './structures.ts';
import { splitTail, trailingFinding } from './tail.ts';
import { targetPageBits } from './target-page.ts';
import { TYPE } from './wire.ts';

/** Number of bytes of a chunk that are looked at together with what the chunk before left over. */
const LOOKAHEAD = 4096;
/** Number of times that a device that is known is asked whether its section ends, in front of the end of RAM. */
const TRIES_MAX = 64;
/** Longest header, in bytes, that may begin behind a footer, with some room. */
const HEADER_MAX = 512;

/**
 * State of the parser: what the next bytes are.
 * - `preamble`: libvirt header, magic, version
 * - `between`: a section, a command or the end begins
 * - `ram`: in the records of a `ram` section
 * - `footer`: behind a section of RAM
 * - `body`: in a section that is not RAM, before the end of RAM
 * - `tail`: behind the end of RAM. All that is left is device state, kept until its vmdesc, at the end, is there
 */
type Mode = 'preamble' | 'between' | 'ram' | 'footer' | 'body' | 'tail' | 'trailing';

/**
 * Default limit of device state, in bytes. A guest's pictures are device state: a GPU has up to 256 MiB of them (QEMU:
 * `max_hostmem`).
 */
const DEVICE_STATE_MAX = 320 << 20;
/** Default limit of sections and commands. Sections in parts can be many: a bitmap of a disk has tens of thousands. */
const STRUCTURES_MAX = 1 << 17;
/**
 * Largest number of looks at whether the stream has ended: a guest may write what looks like its end, and each look
 * reads all there is.
 */
const LOOKS_MAX = 64;
/** Length in bytes of the pieces in which zeros are told that were not kept. */
const ZEROS = 1 << 16;

/**
 * Parser of a migration stream, which takes it apart while it arrives: one pass, in chunks of any size. RAM is passed
 * on and forgotten; device state is kept until it can be split into sections, up to `maxDeviceState`.
 *
 * ```ts
 * const parser = new StreamParser(sink);
 * for await (const chunk of source) parser.push(chunk);
 * parser.end();
 * ```
 */
export class StreamParser {
  readonly #context: StreamContext;
  readonly #pageBits: number | undefined;
  readonly #maxStructures: number;
  #mode: Mode = 'preamble';
  #configuration: Configuration | undefined;
  #configurable = true;
  #ram: RamParser | undefined;
  #ramEnded = false;
  /** Header of the section that is being read. */
  #header: SectionHeader | undefined;
  /** Number of bytes pushed so far. */
  #received = 0;
  /** End of what was pushed that is not used yet: a structure that is not all there. */
  #carry: Uint8Array = new Uint8Array(0);
  /** Bytes that are kept in modes `body` and `tail`. */
  readonly #kept: KeptState;
  /**
   * Number of zeros that came behind the kept bytes where the end may be: a stream may stand at the beginning of
   * something larger.
   */
  #zeros = 0;
  /** Last look at whether the stream has ended: up to which byte, and what was found. */
  #looked: { readonly end: number; readonly ended: boolean } = { end: 0, ended: false };
  #looks = 0;
  #sawTrailing = false;
  /**
   * Number of kept bytes in which a footer was looked for in mode `body`; {@link #tries} is how often the device was
   * asked.
   */
  #scanned = 0;
  #tries = 0;
  /** Bytes behind a body that was found to end among the kept ones. */
  #pushback: { readonly bytes: Uint8Array; readonly base: number } | undefined;
  #ended = false;

  constructor(sink: StreamSink, options: ParserOptions = {}) {
    this.#maxStructures = options.maxStructures ?? STRUCTURES_MAX;
    this.#context = {
      sink,
      started: new Map(),
      footers: undefined,
      open: new Set(),
      earlier: [],
      structures: new Structures(this.#maxStructures),
      accepts: options.accepts ?? (() => undefined),
      lengths: options.lengths ?? options.accepts?.lengths ?? (() => undefined),
    };
    this.#kept = new KeptState(options.maxDeviceState ?? DEVICE_STATE_MAX);
    this.#pageBits = options.pageBits;
  }

  /** Number of bytes pushed so far. */
  get received(): number {
    return this.#received;
  }

  /**
   * Has all of RAM gone by, so that what comes now is device state? The source has stopped its guest for a switch-over
   * then.
   */
  get inDeviceState(): boolean {
    return this.#mode === 'tail';
  }

  /**
   * Has the stream come to its end, as far as can be told without knowing that nothing follows? True when the last thing that came is
   * a whole vmdesc that lists every section there is, in order and with its size. For sockets that stay open; streams
   * without a vmdesc end where their connection does. Costs nothing while nothing comes.
   */
  get atEnd(): boolean {
    return this.#mode === 'trailing' || (this.#mode === 'tail' && this.#kept.looksEnded && this.#hasEnded());
  }

  /**
   * Takes the next bytes of the stream, which are lent: they may be used again after the call.
   * @throws StateError with the offset in the stream; the parser is of no use afterwards
   */
  push(lent: Uint8Array): void {
    const chunk = plainBytes(lent);
    if (this.#ended)
      throw new StateError(
        'ended',
        'the stream has ended: no more bytes can be pushed',
        {},
        { layer: 'stream' },
      );
    const base = this.#received;
    this.#received += chunk.length;
    const from = this.#carry.length > 0 ? this.#bridge(chunk, base) : 0;
    if (from < 0) return;
    this.#consume(chunk, from, base);
  }

  /**
   * Tells another sink of the device state that has come so far, as if the stream ended here; the parser goes on as if nothing
   * had happened. For a destination that is asked whether all is well before the end is sent. Nothing before the end of RAM.
   *
   * @throws StateError `truncated` in the middle of a section, and whatever the end of the stream would bring
   */
  preview(sink: StreamSink): void {
    if (this.#mode !== 'tail') return;
    const kept = this.#kept.bytes;
    const bytes = new Uint8Array(kept.length + 1);
    bytes.set(kept);
    bytes[kept.length] = TYPE.EOF;
    this.#tell(bytes, sink);
  }

  /** Splits bytes for another sink, and leaves no trace. */
  #tell(bytes: Uint8Array, sink: StreamSink): void {
    const { started, open, earlier } = this.#context;
    const context = {
      ...this.#context,
      sink,
      started: new Map(started),
      open: new Set(open),
      earlier: [...earlier],
      structures: new Structures(this.#maxStructures),
    };
    splitTail(bytes, this.#kept.base, context, undefined);
  }

  /** Ends the stream: no more bytes will come. @throws StateError `truncated` if some should have */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    const carry = this.#carry;
    this.#consume(carry, 0, this.#received - carry.length);
    const [left, mode] = [this.#carry.length, this.#mode];
    if (mode === 'tail' || mode === 'body') {
      const { bytes, base } = this.#kept;
      splitTail(bytes, base, this.#context, this.#ram, mode === 'body' ? this.#header : undefined);
      this.#tellZeros();
      return;
    }
    if (mode === 'trailing') return;
    throw new StateError(
      'truncated',
      this.#received === 0 ? 'there are no bytes at all' : `the stream ends ${ENDS[mode]}`,
      { available: left },
      { layer: 'stream', offset: this.#received },
    );
  }

  /**
   * Joins what was left over with the beginning of `chunk`. Answers where to go on in the chunk, or -1 if it is used
   * up.
   */
  #bridge(chunk: Uint8Array, base: number): number {
    for (let take = LOOKAHEAD; ; take *= 2) {
      const carry = this.#carry;
      const some = Math.min(take, chunk.length);
      const joined = new Uint8Array(carry.length + some);
      joined.set(carry);
      joined.set(chunk.subarray(0, some), carry.length);
      this.#consume(joined, 0, base - carry.length);
      const used = joined.length - this.#carry.length;
      if (used >= carry.length) {
        this.#carry = new Uint8Array(0);
        return used - carry.length;
      }
      if (some === chunk.length) return -1;
      this.#carry = carry.slice(used);
    }
  }

  /** Runs over `bytes[from..]` (at `base` in the stream) and carries over what is left. */
  #consume(bytes: Uint8Array, from: number, base: number): void {
    let used = this.#run(bytes, from, base);
    while (this.#pushback !== undefined) {
      ({ bytes, base } = this.#pushback);
      this.#pushback = undefined;
      used = this.#run(bytes, 0, base);
    }
    this.#carry = used === bytes.length ? NOTHING : bytes.slice(used);
  }

  #run(bytes: Uint8Array, from: number, base: number): number {
    let at = from;
    while (at < bytes.length) {
      if (this.#mode === 'tail') {
        this.#keepTail(at === 0 ? bytes : bytes.subarray(at), base + at);
        return bytes.length;
      }
      if (this.#mode === 'trailing') {
        this.#tellTrailing(at === 0 ? bytes : bytes.subarray(at), base + at);
        return bytes.length;
      }
      if (this.#mode === 'body') {
        at = this.#runBody(bytes, at, base);
        continue;
      }
      const next = this.#mode === 'ram' ? this.#runRam(bytes, at, base) : this.#step(bytes, at, base);
      if (next < 0) return at;
      at = next;
    }
    return at;
  }

  /** Keeps some bytes of a section that is not RAM, and looks whether the section has ended. Answers where to go on. */
  #runBody(bytes: Uint8Array, at: number, base: number): number {
    // in growing pieces: with thousands of small sections in a chunk, none may cost a copy of the rest of it
    const next = Math.min(bytes.length, at + Math.max(LOOKAHEAD, this.#kept.length));
    this.#kept.keep(bytes.subarray(at, next), base + at);
    const behind = this.#endBody();
    if (behind === undefined) return next;
    if (behind.length <= next) return next - behind.length;
    // the section ended in an earlier chunk: what is behind it comes again, in front of the rest of this one
    const joined = new Uint8Array(behind.length + bytes.length - next);
    joined.set(behind);
    joined.set(bytes.subarray(next), behind.length);
    this.#pushback = { bytes: joined, base: base + next - behind.length };
    return bytes.length;
  }

  #runRam(bytes: Uint8Array, at: number, base: number): number {
    const ram = this.#ram;
    if (ram === undefined) return -1;
    const next = ram.consume(bytes, at, base, this.#ended);
    if (ram.done) this.#mode = 'footer';
    return next === at && !ram.done ? -1 : next;
  }

  /**
   * Keeps device state. A stream may stand at the beginning of something larger (the volumes that Proxmox keeps states in): where
   * nothing but zeros comes behind what may be the end, they are counted. Only when they are more than a section could have is it the end.
   */
  #keepTail(bytes: Uint8Array, position: number): void {
    const last = lastNonZero(bytes);
    if (last < 0 && this.#kept.looksEnded) {
      this.#zeros += bytes.length;
      return;
    }
    const wanted = this.#kept.length + this.#zeros + bytes.length;
    if (this.#zeros > 0 && wanted > this.#kept.left && this.#hasEnded()) {
      this.#endTail();
      this.#tellTrailing(bytes, position);
      return;
    }
    const zeros = this.#zeros;
    this.#zeros = 0;
    this.#kept.keepTail(bytes, position, zeros, last);
  }

  /**
   * Does the vmdesc at the end of the kept bytes account for every section? Looks once at each place, and not at more
   * than there are in a stream that means well.
   */
  #hasEnded(): boolean {
    const { end } = this.#kept;
    if (this.#looked.end !== end) this.#looked = { end, ended: this.#look() };
    return this.#looked.ended;
  }

  #look(): boolean {
    if (!this.#kept.namesFirst() || ++this.#looks > LOOKS_MAX) return false;
    const probe = new EndProbe();
    try {
      this.#tell(this.#kept.bytes.subarray(0, this.#kept.end), probe);
    } catch (error) {
      if (isStateError(error)) return false;
      throw error;
    }
    return probe.ended;
  }

  /** Ends device state: the stream has ended, and what comes now is behind it. */
  #endTail(): void {
    splitTail(this.#kept.bytes, this.#kept.base, this.#context, this.#ram);
    this.#kept.forget();
    this.#tellZeros();
    this.#mode = 'trailing';
  }

  /** Tells the zeros that were counted and not kept, which stand behind the end. */
  #tellZeros(): void {
    const zeros = new Uint8Array(Math.min(this.#zeros, ZEROS));
    for (; this.#zeros > 0; this.#zeros -= Math.min(this.#zeros, ZEROS))
      this.#context.sink.trailing(zeros.subarray(0, Math.min(this.#zeros, ZEROS)));
  }

  #tellTrailing(bytes: Uint8Array, position: number): void {
    if (!this.#sawTrailing && lastNonZero(bytes) >= 0) {
      this.#sawTrailing = true;
      this.#context.sink.finding?.(trailingFinding(undefined, position));
    }
    this.#context.sink.trailing(bytes);
  }

  /** Reads one small structure. Answers where the next one begins; -1 if not all of it is there. */
  #step(bytes: Uint8Array, at: number, base: number): number {
    const input = new Reader(bytes, base);
    input.offset = at;
    try {
      inside('', 'stream', () => this.#structure(input));
      return input.offset;
    } catch (error) {
      if (isStateError(error) && error.code === 'truncated' && !this.#ended) return -1;
      throw error;
    }
  }

  #structure(input: Reader): void {
    if (this.#mode === 'preamble') this.#preamble(input);
    else if (this.#mode === 'footer') this.#footer(input);
    else this.#between(input);
  }

  #preamble(input: Reader): void {
    if (input.position === 0) {
      const libvirt = isLibvirt(input);
      if (libvirt === undefined && !this.#ended) throw input.truncated(16);
      if (libvirt === true) {
        // the stream behind it begins at an offset that is not 0
        this.#context.sink.libvirt(readLibvirt(input));
        return;
      }
    }
    this.#context.sink.header(readPreamble(input));
    this.#mode = 'between';
  }

  #footer(input: Reader): void {
    const header = this.#header;
    if (header === undefined) return;
    readFooter(input, header, this.#context);
    if (header.kind === 'end') this.#ramEnded = true;
    this.#mode = 'between';
  }

  #between(input: Reader): void {
    const type = input.peek();
    if (type === TYPE.CONFIGURATION && this.#configurable) {
      this.#readConfiguration(input);
      return;
    }
    this.#configurable = false;
    if (this.#ramEnded || type === TYPE.EOF) {
      this.#mode = 'tail';
      return;
    }
    if (type === TYPE.COMMAND) {
      const { command, payload } = readCommand(input);
      this.#context.structures.count(input.position);
      this.#kept.count(payload.length);
      this.#context.sink.command(command, payload);
      return;
    }
    const header = readSectionHeader(input, this.#context.started);
    tellSection(header, this.#context);
    if (header.kind === 'full') this.#context.earlier.push(header);
    this.#header = header;
    this.#mode = header.idstr === 'ram' ? 'ram' : 'body';
    if (header.idstr === 'ram') this.#beginRam();
  }

  #readConfiguration(input: Reader): void {
    input.take(1);
    const value = inside('configuration', 'stream', () => configuration.decode(input, undefined));
    // a subsection may follow whose name has not come yet
    const more = input.remaining === 0 || (input.peek() === TYPE.SUBSECTION && input.remaining < HEADER_MAX);
    if (more && !this.#ended) throw input.truncated(HEADER_MAX);
    this.#configurable = false;
    this.#configuration = value;
    this.#context.sink.configuration(value);
  }

  #beginRam(): void {
    const { capabilities = [], targetPageBits: told = this.#pageBits, name } = this.#configuration ?? {};
    this.#ram ??= new RamParser(this.#context.sink, {
      pageBits: (blocks) => checkPageBits(told ?? targetPageBits(name, blocks)),
      ignoreShared: this.#configuration === undefined ? undefined : capabilities.includes('x-ignore-shared'),
      mappedRam: capabilities.includes('mapped-ram'),
    });
    this.#ram.begin();
  }

  /** Looks in mode `body` whether the section's end has come. Answers the kept bytes behind it, if so. */
  #endBody(): Uint8Array | undefined {
    const [header, context] = [this.#header, this.#context];
    if (header === undefined || this.#ended || context.footers === false) return undefined;
    const { bytes, base } = this.#kept;
    const at = this.#findBodyEnd(header, bytes);
    if (at < 0) return undefined;
    context.sink.body(bytes.subarray(0, at), header, base);
    this.#tries = 0;
    const input = new Reader(bytes, base);
    input.offset = at;
    readFooter(input, header, context);
    this.#kept.forget(at);
    this.#scanned = 0;
    this.#mode = 'between';
    return bytes.slice(input.offset);
  }

  /** Finds where the body that begins these bytes ends; -1: that cannot be told before more have come. */
  #findBodyEnd(header: SectionHeader, bytes: Uint8Array): number {
    for (;;) {
      const at = findFooter(bytes, this.#scanned, header.id);
      this.#scanned = at < 0 ? Math.max(0, bytes.length - 4) : at;
      // wait until what begins behind the footer can be judged
      if (at < 0 || plausibleNext(bytes, at + 5, this.#context.started) === 'unknown') return -1;
      if (this.#bodyEnds(header, bytes, at)) return at;
      this.#scanned = at + 1;
    }
  }

  /** Does whoever knows the device agree that the footer at `at` is the section's? Asks a limited number of times. */
  #bodyEnds(header: SectionHeader, bytes: Uint8Array, at: number): boolean {
    if (plausibleNext(bytes, at + 5, this.#context.started) === 'no') return false;
    if (++this.#tries > TRIES_MAX) return true;
    const lengths = this.#context.lengths(header, bytes);
    if (lengths !== undefined && lengths.length > 0) return lengths.includes(at);
    return this.#context.accepts(header, bytes.subarray(0, at)) !== false;
  }
}

const NOTHING = new Uint8Array(0);

/** Descriptions of the places where a stream ended that should not have, by the mode of the parser. */
const ENDS: Readonly<Record<Exclude<Mode, 'tail' | 'body' | 'trailing'>, string>> = {
  preamble: 'in its header',
  between: 'where a section, a command or its end should begin',
  ram: 'in the middle of section "ram"',
  footer: 'in the middle of section "ram"',
};

function checkPageBits(bits: number): number {
  // below 10 bits the flags would have no room, above 16 no target is
  if (bits >= 10 && bits <= 16) return bits;
  throw new StateError(
    'page-bits',
    `target pages of ${bits} bits, 10 to 16 are known`,
    { bits },
    { layer: 'stream', path: 'configuration.targetPageBits' },
  );
}
