import { inside, Reader, StateError } from '@virtkit/vmstate';
import { Account } from './account.ts';
import type { SectionHeader, StreamFinding } from './events.ts';
import { streamFinding } from './finding.ts';
import { lastNonZero } from './last-non-zero.ts';
import type { RamParser } from './ram.ts';
import { findFooter, findHeader, type Plausible, plausibleNext } from './split.ts';
import {
  endsSections,
  readCommand,
  readFooter,
  readSectionHeader,
  type StreamContext,
  tellSection,
} from './structures.ts';
import { deviceSize, findVmdesc } from './vmdesc.ts';
import type { Vmdesc } from './vmdesc-model.ts';
import { be32, TYPE } from './wire.ts';

/**
 * Number of bytes that may be looked at, for each byte there is, to find other splittings than the one that is taken.
 */
const LOOKED_PER_BYTE = 64;
/**
 * Number of times that a device that is known may be impossible to measure before it is tried no more: a real one can
 * always be measured.
 */
const UNMEASURED_MAX = 64;
/**
 * Names of sections whose vmdesc is wrong in QEMU 7.2: it describes an array with null pointers by its first element.
 */
const DESCRIBED_WRONGLY: ReadonlySet<string> = new Set(['s390_css']);

/**
 * Splits everything behind the last page of RAM into sections, and tells the sink of them, and of what does not fit together.
 *
 * @param base offset of `bytes[0]` in the stream
 * @param open the section whose body begins at `bytes[0]`, if the first bytes are not between sections
 * @throws StateError; what was told before it is good
 */
export function splitTail(
  bytes: Uint8Array,
  base: number,
  context: StreamContext,
  ram: RamParser | undefined,
  open?: SectionHeader,
): void {
  new TailSplitter(bytes, base, context, ram).run(open);
}

/**
 * Splitter of the bytes behind RAM. Where a section ends is believed in this order: the length that its device
 * declares, if that is known; the size in the vmdesc, if a footer stands there and a section can begin behind it; the
 * first such place. What contradicts it is a finding.
 */
class TailSplitter {
  readonly #input: Reader;
  readonly #context: StreamContext;
  readonly #ram: RamParser | undefined;
  readonly #found: { readonly start: number; readonly vmdesc: Vmdesc } | undefined;
  readonly #account: Account | undefined;
  /** Number of bytes up to the last one that is not zero: a stream may stand at the beginning of something larger. */
  readonly #used: number;
  /** Number of bytes that may still be looked at besides those of the sections themselves. */
  #budget: number;
  #unmeasured = 0;

  constructor(bytes: Uint8Array, base: number, context: StreamContext, ram: RamParser | undefined) {
    this.#input = new Reader(bytes, base);
    this.#context = context;
    this.#ram = ram;
    this.#used = lastNonZero(bytes) + 1;
    this.#found = findVmdesc(bytes.subarray(0, this.#used));
    this.#account = this.#found && new Account(this.#found.vmdesc, context);
    this.#budget = LOOKED_PER_BYTE * bytes.length;
  }

  run(open: SectionHeader | undefined): void {
    const [input, context] = [this.#input, this.#context];
    if (open !== undefined) this.#readBody(open);
    for (;;) {
      const type = input.peek();
      if (type < 0)
        throw new StateError(
          'truncated',
          'the stream ends where a section, a command or its end should begin',
          { available: 0 },
          { layer: 'stream', offset: input.position },
        );
      if (type === TYPE.EOF) break;
      inside('', 'stream', () => {
        if (type === TYPE.COMMAND) {
          const { command, payload } = readCommand(input);
          context.structures.count(input.position);
          context.sink.command(command, payload);
          return;
        }
        const header = readSectionHeader(input, context.started);
        tellSection(header, context);
        if (header.idstr === 'ram' && this.#ram !== undefined) this.#readRam(header, this.#ram);
        else this.#readBody(header);
      });
    }
    this.#readEnd();
  }

  /** Reads the end: EOF, then a vmdesc or nothing; what comes behind is nobody's. */
  #readEnd(): void {
    const [input, { sink }] = [this.#input, this.#context];
    input.take(1);
    endsSections(this.#context, input.position);
    this.#account?.end(input.position);
    sink.eof();
    if (input.peek() === TYPE.VMDESCRIPTION) {
      inside('vmdesc', 'stream', () => {
        input.take(1);
        const length = input.u32();
        const read = this.#found?.start === input.offset ? this.#found.vmdesc : undefined;
        sink.vmdesc(input.borrow(length), read);
      });
    }
    if (this.#used > input.offset) {
      const count = this.#used - input.offset;
      sink.finding?.(trailingFinding(count, input.position));
    }
    if (input.remaining > 0) sink.trailing(input.borrow(input.remaining));
  }

  #readRam(header: SectionHeader, ram: RamParser): void {
    const input = this.#input;
    ram.begin();
    input.offset = ram.consume(input.bytes, input.offset, input.base, true);
    if (!ram.done) throw input.truncated(8);
    readFooter(input, header, this.#context);
  }

  #readBody(header: SectionHeader): void {
    const input = this.#input;
    const start = input.offset;
    const end = this.#findEnd(header, start);
    if (end < 0) {
      throw new StateError(
        'truncated',
        `the end of the section is missing: ${input.remaining} bytes of it are there`,
        { available: input.remaining, section: header.idstr },
        { layer: 'stream', path: header.idstr, offset: input.base + input.bytes.length },
      );
    }
    this.#context.sink.body(input.borrow(end - start), header, input.base + start);
    readFooter(input, header, this.#context);
  }

  /** Finds where the body that begins at `start` ends; -1 if there is no such place. */
  #findEnd(header: SectionHeader, start: number): number {
    const described = header.kind === 'full' ? this.#account?.take(header) : undefined;
    const size = described && deviceSize(described);
    const said = size === undefined ? -1 : start + size;
    const measured = this.#measure(header, start);
    const [first] = measured;
    if (first !== undefined) {
      const end = measured.includes(said) ? said : first;
      if (measured.length > 1 && end !== said) this.#isAmbiguous(header, measured);
      if (size !== undefined && end !== said) this.#isSaidWrongly(header, size, end - start);
      return end;
    }
    const confirmed = this.#fits(header, said);
    if (confirmed && this.#accepts(header, start, said)) return said;
    const end = this.#search(header, start, described !== undefined, confirmed ? said : -1);
    if (size !== undefined && end >= 0 && end !== said) this.#isSaidWrongly(header, size, end - start);
    return end;
  }

  /** Finds the ends by the device's own declaration, as far as a footer and something more stand there. */
  #measure(header: SectionHeader, start: number): readonly number[] {
    if (this.#unmeasured > UNMEASURED_MAX) return [];
    const lengths = this.#context.lengths(header, this.#input.bytes.subarray(start));
    if (lengths === undefined) return [];
    const ends = lengths.map((length) => start + length);
    const fitting = ends.filter((end) => this.#fits(header, end));
    if (fitting.length > 0) return fitting;
    const certain = ends.filter((end) => this.#fits(header, end, true));
    if (certain.length === 0) this.#unmeasured++;
    return certain;
  }

  /**
   * Can the section end at `end`? `certain`: its length is known, so that an end of the stream may follow that says
   * nothing.
   */
  #fits(header: SectionHeader, end: number, certain = false): boolean {
    const { bytes } = this.#input;
    const { footers } = this.#context;
    if (end < 0 || end > bytes.length) return false;
    if (footers === false || (footers === undefined && bytes[end] !== TYPE.FOOTER))
      return this.#plausible(end, certain) === 'yes';
    return (
      bytes[end] === TYPE.FOOTER &&
      be32(bytes, end + 1) === header.id &&
      this.#plausible(end + 5, certain) !== 'no'
    );
  }

  #plausible(at: number, certain = false): Plausible {
    const { bytes } = this.#input;
    if (bytes[at] !== TYPE.EOF) return plausibleNext(bytes, at, this.#context.started);
    if (certain) return 'yes';
    // a whole vmdesc is the last thing there is: what looks like an end before is none
    if (this.#found !== undefined) return at === this.#found.start - 6 ? 'yes' : 'no';
    if (at >= this.#used) return 'yes';
    const isVmdesc = bytes[at + 1] === TYPE.VMDESCRIPTION && bytes[at + 6] === 0x7b;
    return isVmdesc && at + 6 + be32(bytes, at + 2) <= bytes.length ? 'yes' : 'no';
  }

  /**
   * Does the declaration of the section's device take these bytes for a whole body? Where nobody knows the device: yes.
   */
  #accepts(header: SectionHeader, start: number, end: number): boolean {
    if (this.#budget <= 0) return true;
    this.#budget -= end - start;
    return this.#context.accepts(header, this.#input.bytes.subarray(start, end)) !== false;
  }

  /**
   * Finds the first place where the section can end, that its device agrees with, and behind which comes what the
   * vmdesc has next.
   * @param listed the vmdesc has this section, so that it may know the next one as well
   * @param otherwise where it ends if there is none; -1: at the first place of all
   */
  #search(header: SectionHeader, start: number, listed: boolean, otherwise: number): number {
    let first = -1;
    let chosen = -1;
    for (let at = this.#next(header, start); at >= 0; at = this.#next(header, at + 1)) {
      if (first < 0) first = at;
      if (at > first + this.#budget) break;
      if (!this.#accepts(header, start, at) || (listed && !this.#isExpected(at))) continue;
      chosen = at;
      break;
    }
    const end = chosen >= 0 ? chosen : otherwise >= 0 ? otherwise : first;
    this.#budget -= (chosen < 0 ? this.#input.bytes.length : chosen) - Math.max(first, 0);
    // a section in parts has more footers; where the vmdesc confirms one, a guest's are told from it
    const once = header.kind === 'full' || header.kind === 'end';
    if (end >= 0 && once && otherwise < 0 && this.#context.footers !== false) {
      const other = this.#budget > 0 ? this.#next(header, end + 1) : end;
      this.#budget -= (other < 0 ? this.#input.bytes.length : other) - end;
      if (other >= 0) this.#isAmbiguous(header, [end, other]);
    }
    return end;
  }

  /** Finds the next place at or behind `from` where the section can end. */
  #next(header: SectionHeader, from: number): number {
    const { bytes } = this.#input;
    const { footers, started } = this.#context;
    if (footers !== false) {
      let at = findFooter(bytes, from, header.id);
      while (at >= 0 && this.#plausible(at + 5) === 'no') at = findFooter(bytes, at + 1, header.id);
      if (at >= 0 || footers === true) return at;
    }
    let at = findHeader(bytes, from, started);
    while (at >= 0 && this.#plausible(at) !== 'yes') at = findHeader(bytes, at + 1, started);
    return at;
  }

  /** Is what begins behind this end the section that the vmdesc has next, or something that it does not list? */
  #isExpected(end: number): boolean {
    if (this.#account === undefined) return true;
    const { bytes } = this.#input;
    const at = end + (this.#context.footers === false ? 0 : 5);
    return bytes[at] !== TYPE.FULL || this.#account.isNext(bytes, at);
  }

  #isAmbiguous({ idstr, instanceId, offset }: SectionHeader, ends: readonly number[]): void {
    const [one = 0, other = one] = ends;
    const places =
      one === other
        ? 'at more places than could be looked at'
        : `at byte ${this.#input.base + one} or at byte ${this.#input.base + other}`;
    const reason = `the section ends ${places}: its bytes do not tell, and a guest may have written what looks like an end`;
    const facts = { section: idstr, instance: instanceId };
    this.#context.sink.finding?.(streamFinding('ambiguous', idstr, reason, facts, offset));
  }

  #isSaidWrongly(header: SectionHeader, size: number, found: number): void {
    if (DESCRIBED_WRONGLY.has(header.idstr)) return;
    this.#account?.report(
      'vmdesc-size',
      header.idstr,
      `the vmdesc says ${size} bytes, and the section has ${found}`,
      { said: size, found },
      header.offset,
    );
  }
}

/** Makes the finding for something behind the end of a stream that is not zeros. */
export function trailingFinding(bytes: number | undefined, offset: number): StreamFinding {
  const reason = `${bytes === undefined ? 'bytes' : `${bytes} bytes`} stand behind the end: QEMU does not read them, unless the stream ends elsewhere`;
  return streamFinding('trailing', '', reason, bytes === undefined ? {} : { bytes }, offset);
}
