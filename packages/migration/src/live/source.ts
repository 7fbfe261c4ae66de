import { fromLatin1, vmdescText } from '@virtkit/vmstate';
import type { SectionHeader } from '../events.ts';
import type { DescDevice } from '../vmdesc-model.ts';
import { COMMAND, RAM, RAM_VERSION, VERSION } from '../wire.ts';
import { StreamWriter } from '../writer.ts';
import { Batch } from './batch.ts';
import type { ByteDuplex, Clock } from './duplex.ts';
import { type LiveMachine, PAGE } from './machine.ts';
import { BlockPages, PageReader } from './pages.ts';
import { Reading } from './reading.ts';
import { PING_HAND_OVER, PING_START, ReturnPathReader, word } from './return-path.ts';
import { sectionIds } from './section-ids.ts';
import { asStop, Stop, Waiter } from './stop.ts';

/** Phase of a migration at its source. */
export type SendPhase = 'rounds' | 'switch-over' | 'hand-over' | 'done';

/** Progress of a migration at its source. */
export interface SendProgress {
  /** Phase that the migration is in. */
  readonly phase: SendPhase;
  /** Number of the pass over memory: 1, 2, … */
  readonly round: number;
  /** Number of bytes handed to the connection. */
  readonly sentBytes: number;
  /** Number of pages with content, and of pages of zeros, in all rounds together. */
  readonly pages: number;
  /** Number of pages that were sent as zeros, without their bytes. */
  readonly zeroPages: number;
  /** Number of bytes of memory that are known to be outstanding. */
  readonly remainingBytes: number;
  /** Speed of the connection in bytes a second, in the last round that was long enough to tell; 0: none was. */
  readonly bytesPerSecond: number;
  /** Milliseconds that the guest would stand still if it were stopped now. */
  readonly expectedDowntimeMs: number;
}

/** Settings of the sending side, with defaults filled in. */
export interface SourceSettings {
  readonly downtimeLimitMs: number;
  readonly maxRounds: number;
  readonly whenNotConverging: 'abort' | 'force';
  readonly handOverTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly clock: Clock;
  readonly onProgress: ((progress: SendProgress) => void) | undefined;
}

/** Section id of RAM, whose end needs no footer to be found. */
const RAM_ID = 1;
const RAM_SECTION = { id: RAM_ID, idstr: 'ram', instanceId: 0, versionId: RAM_VERSION, offset: 0 } as const;
/** Smallest number of bytes of a round that says something about the speed of the connection. */
const RATE_BYTES = 1 << 20;
/** Number of bytes after which progress is told again during a round. */
const TELL_BYTES = 1 << 20;
/**
 * Milliseconds after which the host's own tasks get their turn at the latest: a connection that always has room never
 * waits.
 */
const TURN_MS = 10;
/** Length in bytes of a page's record besides the page. */
const PAGE_HEAD = 8;

/** Sending side of one migration: its steps, in order. */
export class Source {
  readonly waiter: Waiter;
  readonly #duplex: ByteDuplex;
  readonly #machine: LiveMachine;
  readonly #settings: SourceSettings;
  readonly #batch = new Batch();
  readonly #writer = new StreamWriter((bytes, start, end) => this.#batch.append(bytes, start, end));
  readonly #pages: readonly BlockPages[];
  readonly #readers: readonly PageReader[];
  #vmdescText: Uint8Array = new Uint8Array(0);
  readonly #answers: Answers;
  #block = -1;
  #round = 0;
  #sentPages = 0;
  #zeroPages = 0;
  #bytesPerSecond = 0;
  #told = 0;
  #turnAt: number;
  #stoppedAt = 0;
  phase: SendPhase = 'rounds';
  /** True if the machine was asked to stop. */
  paused = false;
  /** Promise of a stop that the machine has not answered. */
  stopping: Promise<void> | undefined;

  constructor(duplex: ByteDuplex, machine: LiveMachine, settings: SourceSettings) {
    this.#duplex = duplex;
    this.#machine = machine;
    this.#settings = settings;
    this.waiter = new Waiter(settings.clock);
    this.#pages = machine.ram.blocks.map((block) => new BlockPages(block));
    this.#readers = machine.ram.blocks.map((block, index) => new PageReader(machine.ram, index, block));
    this.#answers = new Answers(new Reading(duplex, settings.clock), this.waiter);
    this.#turnAt = settings.clock.now();
  }

  /**
   * Prepares the hand-over, up to the moment when the destination has everything and agrees. @throws Stop and what the
   * machine throws
   */
  async prepare(): Promise<void> {
    this.waiter.check();
    this.#answers.listen();
    try {
      this.#machine.ram.startLog();
      await this.#begin();
      await this.#copyRounds();
      await this.#switchOver();
    } catch (error) {
      // who refuses closes the connection: that may be noticed first
      if (error instanceof Stop && error.reason === 'closed') await this.#answers.end(this.#settings.clock);
      throw this.#answers.refusal ?? error;
    }
  }

  /**
   * Gives the guest away. Answers why it stays here after all, or undefined: it runs there.
   * @throws Stop if neither is known
   */
  async handOver(): Promise<Stop | undefined> {
    if (this.waiter.stopped !== undefined) return this.waiter.stopped;
    this.phase = 'hand-over';
    this.#writer.eof();
    this.#writer.vmdesc(this.#vmdescText);
    const chunks = this.#batch.take(true);
    const last = chunks.pop() ?? new Uint8Array(0);
    const cancel = this.#limitStandstill('the destination does not take the end');
    try {
      await this.#write(chunks);
    } catch (error) {
      // the end of the stream was not handed to the connection: the destination cannot have it
      return asStop(error, 'closed');
    } finally {
      cancel();
    }
    const answer = this.#answers.lastWord();
    // whatever the connection says of these bytes: only the destination knows whether it has them
    this.#duplex.write(last).catch(() => {});
    const { clock, handOverTimeoutMs } = this.#settings;
    const value = await new Waiter(clock).wait(answer, handOverTimeoutMs, 'the last word of the destination');
    return value === 0 ? undefined : refusal(value);
  }

  /** Lets go of the connection and the dirty log. */
  finish(): void {
    this.#answers.stop();
    // what was decided does not depend on these
    quietly(() => this.#machine.ram.stopLog());
    quietly(() => this.#duplex.close());
  }

  get downtimeMs(): number {
    return this.#settings.clock.now() - this.#stoppedAt;
  }

  progress(phase: SendPhase): SendProgress {
    return {
      phase,
      round: this.#round,
      sentBytes: this.#batch.total,
      pages: this.#sentPages,
      zeroPages: this.#zeroPages,
      remainingBytes: this.#remaining(),
      bytesPerSecond: this.#bytesPerSecond,
      expectedDowntimeMs: this.#expectedDowntime(),
    };
  }

  async #begin(): Promise<void> {
    const { name, ram } = this.#machine;
    const out = this.#writer;
    out.header(VERSION);
    out.configuration({ name });
    out.command(COMMAND.OPEN_RETURN_PATH, new Uint8Array(0));
    out.command(COMMAND.PING, word(PING_START));
    out.section({ ...RAM_SECTION, kind: 'start' });
    out.ramSize(BigInt(ram.blocks.reduce((sum, { length }) => sum + length, 0)));
    for (const { name: block, length } of ram.blocks) out.ramBlock({ name: block, length });
    this.#endRam();
    for (const pages of this.#pages) pages.mark(0, pages.block.length);
    await this.#flush(true);
  }

  /** Sends memory in rounds until what is left takes no longer than the guest may stand still. */
  async #copyRounds(): Promise<void> {
    const { downtimeLimitMs, maxRounds, whenNotConverging, clock } = this.#settings;
    for (;;) {
      this.#round++;
      this.#tell();
      const [since, sent] = [clock.now(), this.#batch.total];
      this.#writer.section({ ...RAM_SECTION, kind: 'part' });
      await this.#copyPages();
      this.#endRam();
      await this.#flush(true);
      this.#measure(this.#batch.total - sent, clock.now() - since);
      this.#takeDirty();
      this.#tell();
      if (this.#expectedDowntime() <= downtimeLimitMs) return;
      if (this.#round < maxRounds) continue;
      if (whenNotConverging === 'force') return;
      throw new Stop(
        'not-converging',
        `after ${this.#round} rounds, ${this.#remaining()} bytes are outstanding: the guest would stand still for ${Math.ceil(this.#expectedDowntime())} ms, and ${downtimeLimitMs} are allowed`,
      );
    }
  }

  /** Stops the guest and sends the rest of its memory and the devices; the destination looks at them. */
  async #switchOver(): Promise<void> {
    this.phase = 'switch-over';
    this.#tell();
    this.waiter.check();
    this.#stoppedAt = this.#settings.clock.now();
    const cancel = this.#limitStandstill('the destination is not ready');
    try {
      await this.#stopGuest();
      this.waiter.check();
      this.#takeDirty();
      this.#writer.section({ ...RAM_SECTION, kind: 'end' });
      await this.#copyPages();
      this.#endRam();
      await this.#sendSections();
      this.#writer.command(COMMAND.PING, word(PING_HAND_OVER));
      const ready = this.#answers.pong(PING_HAND_OVER);
      await this.#flush(true);
      await this.waiter.wait(ready, Number.POSITIVE_INFINITY, 'the destination');
      this.waiter.check();
    } finally {
      cancel();
    }
  }

  async #stopGuest(): Promise<void> {
    this.paused = true;
    const answer = this.#machine.pause();
    if (answer === undefined) return;
    const stopping = Promise.resolve(answer);
    this.stopping = stopping;
    const answered = (): void => {
      this.stopping = undefined;
    };
    stopping.then(answered, answered);
    await this.waiter.wait(stopping, Number.POSITIVE_INFINITY, 'the machine', 'error');
  }

  /** Limits the time that the guest stands still. Answers the function that lifts the limit. */
  #limitStandstill(what: string): () => void {
    const { clock, handOverTimeoutMs } = this.#settings;
    return clock.after(handOverTimeoutMs, () => {
      const missing = this.stopping === undefined ? what : 'has not stopped: its pause() has not answered';
      this.waiter.stop(
        new Stop('timeout', `the guest stood still for ${handOverTimeoutMs} ms, and ${missing}`),
      );
    });
  }

  async #sendSections(): Promise<void> {
    const { sections } = this.#machine;
    const ids = sectionIds(sections.length, RAM_ID);
    const devices: DescDevice[] = [];
    for (const [index, section] of sections.entries()) {
      const { idstr, instanceId = 0, versionId } = section;
      const id = ids[index] ?? 0;
      const header: SectionHeader = { kind: 'full', id, idstr, instanceId, versionId, offset: 0 };
      const body = section.save();
      this.#writer.section(header);
      this.#writer.body(body);
      this.#writer.footer(id);
      const inside = section.describe?.(body) ?? {
        size: body.length,
        fields: [{ name: 'data', size: body.length, type: 'buffer' }],
      };
      devices.push({ name: idstr, instance_id: instanceId, ...inside });
      await this.#flush(false);
    }
    this.#vmdescText = fromLatin1(vmdescText({ page_size: PAGE, devices }));
  }

  /** Sends all marked pages of all blocks, as they are when their turn comes. */
  async #copyPages(): Promise<void> {
    for (const [index, pages] of this.#pages.entries()) {
      const reader = this.#readers[index];
      if (reader === undefined) continue;
      reader.refresh();
      for (let page = pages.take(0); page >= 0; page = pages.take(page + 1)) {
        this.#copyPage(index, reader, page * PAGE);
        if (!this.#batch.isLarge) continue;
        await this.#flush(false);
        await this.#takeTurns();
        // the guest ran meanwhile, and its memory may be elsewhere now
        reader.refresh();
      }
    }
  }

  #copyPage(block: number, reader: PageReader, offset: number): void {
    const same = this.#block === block ? RAM.CONTINUE : 0;
    this.#block = block;
    reader.look(offset);
    if (reader.isZero) {
      this.#writer.ramPage(RAM.ZERO | same, offset, block);
      this.#batch.append(ZERO_FILL, 0, 1);
      this.#zeroPages++;
      return;
    }
    this.#writer.ramPage(RAM.PAGE | same, offset, block);
    this.#batch.append(reader.bytes, reader.at, reader.at + PAGE);
    this.#sentPages++;
  }

  #endRam(): void {
    this.#writer.ramMark(RAM.EOS, 0);
    this.#writer.footer(RAM_ID);
  }

  /** Marks what the guest wrote since the last time as outstanding again. */
  #takeDirty(): void {
    this.#machine.ram.takeDirty((block, offset, length) => this.#pages[block]?.mark(offset, length));
  }

  #measure(bytes: number, milliseconds: number): void {
    if (bytes < RATE_BYTES && this.#bytesPerSecond > 0) return;
    // faster than the clock can tell is as fast as it can tell
    this.#bytesPerSecond = (1000 * bytes) / Math.max(milliseconds, 1);
  }

  #remaining(): number {
    return this.#pages.reduce((sum, { count }) => sum + count, 0) * PAGE;
  }

  #expectedDowntime(): number {
    const bytes = (this.#remaining() / PAGE) * (PAGE + PAGE_HEAD);
    return bytes === 0 ? 0 : (1000 * bytes) / this.#bytesPerSecond;
  }

  #tell(): void {
    this.#told = this.#batch.total;
    this.#settings.onProgress?.(this.progress(this.phase));
  }

  /** Hands over the bytes that wait: with `all`, to the last one. */
  async #flush(all: boolean): Promise<void> {
    await this.#write(this.#batch.take(all));
    if (this.phase === 'rounds' && this.#batch.total - this.#told >= TELL_BYTES) this.#tell();
  }

  /** Hands bytes to the connection, and waits for its word that there is room for more. */
  async #write(chunks: readonly Uint8Array[]): Promise<void> {
    for (const chunk of chunks) {
      this.waiter.check();
      await this.waiter.wait(
        this.#duplex.write(chunk),
        this.#settings.idleTimeoutMs,
        'the connection takes nothing',
      );
    }
  }

  async #takeTurns(): Promise<void> {
    const { clock } = this.#settings;
    if (clock.now() - this.#turnAt < TURN_MS) return;
    await new Promise<void>((resolve) => void clock.after(0, resolve));
    this.#turnAt = clock.now();
  }
}

const ZERO_FILL = Uint8Array.of(0);

function quietly(action: () => void): void {
  try {
    action();
  } catch {}
}

function refusal(value: number): Stop {
  return new Stop('refused', `the destination refused (${value | 0}); its own outcome says why`);
}

/** Milliseconds that a refusal may take to come behind the end of the connection. */
const LAST_WORD_MS = 200;

/** Listener for what the destination says, while the source does other things. */
class Answers {
  readonly #reading: Reading;
  readonly #waiter: Waiter;
  readonly #reader = new ReturnPathReader();
  #awaited: { readonly value: number; readonly resolve: () => void } | undefined;
  #last: number | undefined;
  #onLast: ((value: number) => void) | undefined;
  #onEnd: ((stop: Stop) => void) | undefined;
  #end: Stop | undefined;
  #deaf = false;
  #running: Promise<void> = Promise.resolve();

  constructor(reading: Reading, waiter: Waiter) {
    this.#reading = reading;
    this.#waiter = waiter;
  }

  /** Begins to listen; whatever ends the listening stops the waiter. */
  listen(): void {
    this.#running = this.#run();
  }

  /** Waits until everything was heard that there was to hear of a connection that has ended; not for long. */
  async end(clock: Clock): Promise<void> {
    let cancel = (): void => {};
    const patience = new Promise<void>((resolve) => {
      cancel = clock.after(LAST_WORD_MS, resolve);
    });
    await Promise.race([this.#running, patience]);
    cancel();
  }

  /** Refusal of the destination, if it has said no. */
  get refusal(): Stop | undefined {
    return this.#last === undefined || this.#last === 0 ? undefined : refusal(this.#last);
  }

  stop(): void {
    this.#deaf = true;
    this.#reading.stop();
  }

  /** Waits until the destination has answered a ping. */
  pong(value: number): Promise<void> {
    return new Promise((resolve) => {
      this.#awaited = { value, resolve };
    });
  }

  /** Waits for the destination's last word. Rejects when the connection ends without it. */
  lastWord(): Promise<number> {
    if (this.#last !== undefined) return Promise.resolve(this.#last);
    const answer = new Promise<number>((resolve, reject) => {
      this.#onLast = resolve;
      if (this.#end === undefined) this.#onEnd = reject;
      else reject(this.#end);
    });
    // it may be that nobody comes to wait for it
    answer.catch(() => {});
    return answer;
  }

  async #run(): Promise<void> {
    try {
      for (;;) {
        const bytes = await this.#reading.next();
        if (bytes === undefined) throw new Stop('closed', 'the destination closed the connection');
        const messages = this.#reader.push(bytes);
        if (messages === undefined)
          throw new Stop('refused', 'what the destination says is no return path of a migration');
        if (this.#deaf) return;
        for (const { kind, value } of messages) {
          if (kind === 'shut') this.#hearLast(value);
          else this.#hearPong(value);
        }
        if (this.#last !== undefined) return;
      }
    } catch (error) {
      const stop = asStop(error, 'closed');
      this.#end = stop;
      this.#onEnd?.(stop);
      this.#waiter.stop(stop);
    }
  }

  #hearPong(value: number): void {
    // an answer to what was not asked yet is none
    if (this.#awaited?.value === value) this.#awaited.resolve();
  }

  #hearLast(value: number): void {
    if (this.#last !== undefined) return;
    this.#last = value;
    this.#onLast?.(value);
    // a last word before the hand-over can only be a refusal
    this.#waiter.stop(
      value === 0
        ? new Stop('refused', 'the destination says that the guest runs, and was not given it')
        : refusal(value),
    );
  }
}
