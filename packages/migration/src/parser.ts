import { inside, isStateError, plainBytes, Reader, StateError } from '@virtkit/vmstate';
import { type Configuration, configuration } from './configuration.ts';
import { NullSink, type SectionHeader, type StreamSink } from './events.ts';
import { isLibvirt, readLibvirt } from './libvirt.ts';
import { RamParser } from './ram.ts';
import { be32, findFooter, plausibleNext } from './split.ts';
import {
  readCommand,
  readFooter,
  readPreamble,
  readSectionHeader,
  type StreamContext,
} from './structures.ts';
import { findEnd, splitTail } from './tail.ts';
import { targetPageBits } from './target-page.ts';
import { TYPE } from './wire.ts';

/** Settings of a {@link StreamParser}; each has a default that suits QEMU's streams. */
export interface ParserOptions {
  /** Most bytes of device state (everything but RAM) kept in memory. Default 320 MiB. */
  readonly maxDeviceState?: number;
  /** Target page size in bits, where the stream does not say. Default: by machine type, else 12. */
  readonly pageBits?: number;
  /**
   * Is this the whole body of that section? `undefined`: don't know. Decides where a section ends when the bytes of a
   * device look like the footer behind it.
   */
  readonly accepts?: (header: SectionHeader, body: Uint8Array) => boolean | undefined;
}

/** Bytes of a chunk that are looked at together with what the chunk before left over. */
const LOOKAHEAD = 4096;
const CLOSING_BRACE = 0x7d;
/** Longest header that may begin behind a footer, with some room. */
const HEADER_MAX = 512;

/**
 * - `preamble`: libvirt header, magic, version
 * - `between`: a section, a command or the end begins
 * - `ram`: in the records of a `ram` section
 * - `footer`: behind a section of RAM
 * - `body`: in a section that is not RAM, before the end of RAM
 * - `tail`: behind the end of RAM. All that is left is device state, kept until its vmdesc, at the end, is there
 */
type Mode = 'preamble' | 'between' | 'ram' | 'footer' | 'body' | 'tail' | 'trailing';

/** A guest's pictures are device state: a GPU has up to 256 MiB of them (QEMU: `max_hostmem`). */
const DEVICE_STATE_MAX = 320 << 20;
/** How often the end is looked for before zeros. */
const LOOKS_MAX = 16;

/**
 * A migration stream, taken apart while it arrives: one pass, in chunks of any size. RAM is passed on and forgotten;
 * device state is kept until it can be split into sections, up to `maxDeviceState`.
 *
 * ```ts
 * const parser = new StreamParser(sink);
 * for await (const chunk of source) parser.push(chunk);
 * parser.end();
 * ```
 */
export class StreamParser {
  readonly #context: StreamContext;
  readonly #maxDeviceState: number;
  readonly #pageBits: number | undefined;
  #mode: Mode = 'preamble';
  #configuration: Configuration | undefined;
  #configurable = true;
  #ram: RamParser | undefined;
  #ramEnded = false;
  /** The section being read. */
  #header: SectionHeader | undefined;
  /** Bytes pushed so far. */
  #received = 0;
  /** Unused end of what was pushed: a structure that is not all there. */
  #carry: Uint8Array = new Uint8Array(0);
  /** Bytes of modes `body` and `tail`, the first `#keptBytes` of the buffer. */
  #kept: Uint8Array = new Uint8Array(0);
  #keptBytes = 0;
  /** Offset in the stream of the first kept byte. */
  #keptBase = 0;
  /** The last piece of mode `tail` was nothing but zeros. */
  #sawZeros = false;
  #looks = 0;
  /** How far a footer was looked for in mode `body`. */
  #scanned = 0;
  /** Bytes behind a body that was found to end among the kept ones. */
  #pushback: { readonly bytes: Uint8Array; readonly base: number } | undefined;
  #ended = false;

  constructor(sink: StreamSink, options: ParserOptions = {}) {
    this.#context = {
      sink,
      started: new Map(),
      footers: undefined,
      accepts: options.accepts ?? (() => undefined),
    };
    this.#maxDeviceState = options.maxDeviceState ?? DEVICE_STATE_MAX;
    this.#pageBits = options.pageBits;
  }

  /** Bytes pushed so far. */
  get received(): number {
    return this.#received;
  }

  /** All of RAM went by, and what comes now is device state. A switch-over: the source has stopped its guest. */
  get inDeviceState(): boolean {
    return this.#mode === 'tail';
  }

  /**
   * Has the stream come to its end, as far as can be told without knowing that nothing follows? True when a whole vmdesc
   * is the last thing that came. For sockets that stay open; streams without a vmdesc end where their connection does.
   */
  get atEnd(): boolean {
    return (
      this.#mode === 'trailing' ||
      (this.#mode === 'tail' && endsWithVmdesc(this.#kept.subarray(0, this.#keptBytes)))
    );
  }

  /**
   * The next bytes of the stream, which are lent: they may be used again after the call.
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
    const bytes = new Uint8Array(this.#keptBytes + 1);
    bytes.set(this.#kept.subarray(0, this.#keptBytes));
    bytes[this.#keptBytes] = TYPE.EOF;
    this.#tell(bytes, sink);
  }

  /** Splits these bytes for another sink, and leaves no trace. */
  #tell(bytes: Uint8Array, sink: StreamSink): void {
    const context = { ...this.#context, sink, started: new Map(this.#context.started) };
    splitTail(bytes, this.#keptBase, context, undefined);
  }

  /** No more bytes will come. @throws StateError `truncated` if some should have */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    const carry = this.#carry;
    this.#consume(carry, 0, this.#received - carry.length);
    const [left, mode] = [this.#carry.length, this.#mode];
    if (mode === 'tail' || mode === 'body') {
      const bytes = this.#kept.subarray(0, this.#keptBytes);
      splitTail(bytes, this.#keptBase, this.#context, this.#ram, mode === 'body' ? this.#header : undefined);
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

  /** Joins what was left over with the beginning of `chunk`. Answers where to go on in it, or -1 if it is used up. */
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
      if (this.#mode === 'tail') this.#endBeforeZeros(bytes, at);
      if (this.#mode === 'trailing') {
        this.#context.sink.trailing(bytes.subarray(at));
        return bytes.length;
      }
      if (this.#mode === 'tail') {
        this.#keep(bytes, at, base);
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

  /** Keeps some bytes of a section that is not RAM, and looks whether it has ended. Answers where to go on. */
  #runBody(bytes: Uint8Array, at: number, base: number): number {
    // in growing pieces: with thousands of small sections in a chunk, none may cost a copy of the rest of it
    const next = Math.min(bytes.length, at + Math.max(LOOKAHEAD, this.#keptBytes));
    this.#keep(bytes.subarray(at, next), 0, base + at);
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
   * A stream may stand at the beginning of something larger (the volumes that Proxmox keeps states in): where nothing but zeros
   * comes behind a whole vmdesc, it has ended, and what follows is not kept.
   */
  #endBeforeZeros(bytes: Uint8Array, from: number): void {
    const zeros = isZero(bytes, from);
    const look = zeros && !this.#sawZeros;
    this.#sawZeros = zeros;
    if (!look) return;
    let end = this.#keptBytes;
    while (end > 0 && this.#kept[end - 1] === 0) end--;
    const state = this.#kept.subarray(0, end);
    if (!endsWithVmdesc(state) || ++this.#looks > LOOKS_MAX) return;
    try {
      // a guest may have written what looks like an end into its devices
      this.#tell(state, new NullSink());
    } catch (error) {
      if (isStateError(error)) return;
      throw error;
    }
    splitTail(this.#kept.subarray(0, this.#keptBytes), this.#keptBase, this.#context, this.#ram);
    this.#keptBytes = 0;
    this.#mode = 'trailing';
  }

  /** One small structure; -1 if not all of it is there. */
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
      this.#context.sink.command(command, payload);
      return;
    }
    const header = readSectionHeader(input, this.#context.started);
    if (header.kind === 'start') this.#context.started.set(header.id, header);
    this.#context.sink.section(header);
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

  #keep(bytes: Uint8Array, from: number, base: number): void {
    const count = bytes.length - from;
    const wanted = this.#keptBytes + count;
    if (this.#keptBytes === 0) this.#keptBase = base + from;
    if (wanted > this.#maxDeviceState) {
      throw new StateError(
        'limit',
        `more than ${this.#maxDeviceState} bytes of device state`,
        { bytes: wanted, limit: this.#maxDeviceState },
        { layer: 'stream', offset: this.#keptBase },
      );
    }
    if (wanted > this.#kept.length) {
      const larger = new Uint8Array(Math.max(wanted, 2 * this.#kept.length));
      larger.set(this.#kept.subarray(0, this.#keptBytes));
      this.#kept = larger;
    }
    this.#kept.set(from === 0 ? bytes : bytes.subarray(from), this.#keptBytes);
    this.#keptBytes = wanted;
  }

  /** Mode `body`: has the section's end come? Answers the kept bytes behind it, if so. */
  #endBody(): Uint8Array | undefined {
    const [header, context] = [this.#header, this.#context];
    if (header === undefined || this.#ended || context.footers === false) return undefined;
    const bytes = this.#kept.subarray(0, this.#keptBytes);
    const at = findFooter(bytes, this.#scanned, header.id);
    this.#scanned = at < 0 ? Math.max(0, bytes.length - 4) : at;
    // wait until what begins behind the footer can be judged
    if (at < 0 || plausibleNext(bytes, at + 5, context.started) === 'unknown') return undefined;
    const end = findEnd(bytes, 0, header, context);
    if (end < 0) {
      this.#scanned = at + 1;
      return undefined;
    }
    context.sink.body(bytes.subarray(0, end), header, this.#keptBase);
    const input = new Reader(bytes, this.#keptBase);
    input.offset = end;
    readFooter(input, header, context);
    this.#keptBytes = 0;
    this.#scanned = 0;
    this.#mode = 'between';
    return bytes.slice(input.offset);
  }
}

const NOTHING = new Uint8Array(0);

/** Where a stream ended that should not have. */
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

/** Is a whole vmdesc the last thing in these bytes? */
function endsWithVmdesc(bytes: Uint8Array): boolean {
  if (bytes[bytes.length - 1] !== CLOSING_BRACE) return false;
  // the text holds no NUL, and the length in front of it begins with one
  const last = bytes.lastIndexOf(0);
  for (let at = last + 1; at <= last + 4; at++) {
    if (bytes[at - 5] === TYPE.VMDESCRIPTION && be32(bytes, at - 4) === bytes.length - at) return true;
  }
  return false;
}

/** Nothing but zeros from here on? */
function isZero(bytes: Uint8Array, from: number): boolean {
  for (let at = from; at < bytes.length; at++) if (bytes[at] !== 0) return false;
  return true;
}
