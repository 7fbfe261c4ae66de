import { isStateError, StateError } from '@virtkit/vmstate';
import type { SectionHeader } from '../events.ts';
import { StreamParser } from '../parser.ts';
import { COMMAND } from '../wire.ts';
import { type ByteDuplex, type Clock, hostClock } from './duplex.ts';
import { EndReader, isQuestion, QuestionSpotter } from './hand-over.ts';
import { COMMANDS_MAX, Incoming, SectionSet } from './incoming.ts';
import { checkMachine, isMeasured, type LiveMachine, PAGE } from './machine.ts';
import { checkNumber, IDLE_TIMEOUT_MS, type LiveOptions, MACHINE_TIMEOUT_MS } from './options.ts';
import { Reading } from './reading.ts';
import { PING_HAND_OVER, pong, shut } from './return-path.ts';
import { isGuessable } from './section-ids.ts';
import { answerWithin, asStop, messageOf, Stop, type StopReason, Waiter } from './stop.ts';
import { claimForReceiving, release } from './uses.ts';

/** Options of {@link receiveLive}. */
export interface ReceiveOptions extends LiveOptions {
  /** Number of passes over all of memory that are taken before the source counts as one that never ends; default 64. */
  readonly maxRounds?: number;
  /** Largest number of bytes of device state; default 32 MiB. */
  readonly maxDeviceState?: number;
  /** Function that is told the progress while the stream comes. */
  readonly onProgress?: (progress: ReceiveProgress) => void;
}

/** Progress of a migration at its destination. */
export interface ReceiveProgress {
  /** Number of bytes of the stream that have come so far. */
  readonly receivedBytes: number;
  /** Number of pages of memory, in all rounds together; zero pages are among them. */
  readonly pages: number;
  /** Number of pages that came as zeros, without their bytes. */
  readonly zeroPages: number;
}

/** Outcome of a migration that has succeeded: the guest runs here. */
export interface Arrived {
  /** Word for the outcome: the guest is here and runs. */
  readonly result: 'arrived';
  /** Progress at the end. */
  readonly progress: ReceiveProgress;
  /** Error of the last word that the guest runs, if it did not reach the source any more: the source will ask. */
  readonly unheard?: string;
}

/**
 * Outcome of a migration that has failed: the guest does not run here, and never will (but see {@link mayRun}). The
 * machine's memory is of no use.
 */
export interface Failed {
  /** Word for the outcome: the guest did not come, and does not run here. */
  readonly result: 'failed';
  /** Kind of failure. */
  readonly reason: StopReason;
  /** Description of what happened, for people. */
  readonly message: string;
  /** Error that was thrown: a StateError for a stream that does not fit. */
  readonly error?: unknown;
  /** Progress until then. */
  readonly progress: ReceiveProgress;
  /**
   * True if the machine was told to go on, and neither that nor its stop succeeded in time: it may run, or begin to.
   * The source was told nothing, and stands still.
   */
  readonly mayRun?: true;
}

/** Outcome of a migration for its destination. */
export type ReceiveOutcome = Arrived | Failed;

/** Number of bytes after which progress is told again. */
const TELL_BYTES = 1 << 20;
const DEVICE_STATE_MAX = 32 << 20;
/**
 * Number of looks, without waiting, at whether the source has asked; after that it is looked only when the source is
 * silent for {@link SILENCE_MS}.
 */
const LOOKS_AT_ONCE = 4;
const SILENCE_MS = 50;
/**
 * Largest number of looks at whether the source has asked: only a source that asks again and again, and waits each
 * time, comes so far.
 */
const LOOKS_MAX = 64;
/** Milliseconds that a source is silent that has ended, where a guest could have written the end. */
const QUIET_MS = 500;

/**
 * Takes a machine that {@link sendLive} (or a QEMU with the same machine) sends over a connection.
 *
 * The machine here is stopped, and was not used before: memory is written as it comes. Its devices are touched when everything has come
 * and was found good, all of them or none, and then it runs. Whatever fails before leaves it stopped, and the guest with the source.
 *
 * The connection is closed in the end.
 *
 * @throws HostError for a machine or options that make no sense; never for what the connection or the other side does
 */
export async function receiveLive(
  duplex: ByteDuplex,
  machine: LiveMachine,
  options: ReceiveOptions = {},
): Promise<ReceiveOutcome> {
  checkMachine(machine);
  const { clock = hostClock, signal, maxRounds = 64 } = options;
  const { idleTimeoutMs = IDLE_TIMEOUT_MS, machineTimeoutMs = MACHINE_TIMEOUT_MS } = options;
  checkNumber('idleTimeoutMs', idleTimeoutMs, 1);
  checkNumber('machineTimeoutMs', machineTimeoutMs, 1);
  checkNumber('maxRounds', maxRounds, 1);
  claimForReceiving(machine);
  const destination = new Destination(duplex, machine, {
    ...options,
    clock,
    idleTimeoutMs,
    machineTimeoutMs,
    maxRounds,
  });
  const unfollow = destination.waiter.follow(signal);
  try {
    await destination.take();
  } catch (error) {
    unfollow();
    return destination.fail(asStop(error, isStateError(error) ? 'refused' : 'error'));
  }
  unfollow();
  return destination.run();
}

interface Settings extends ReceiveOptions {
  readonly clock: Clock;
  readonly idleTimeoutMs: number;
  readonly machineTimeoutMs: number;
  readonly maxRounds: number;
}

/** Receiving side of one migration. */
class Destination {
  readonly waiter: Waiter;
  readonly #duplex: ByteDuplex;
  readonly #reading: Reading;
  readonly #machine: LiveMachine;
  readonly #settings: Settings;
  readonly #incoming: Incoming;
  readonly #parser: StreamParser;
  readonly #question = new QuestionSpotter();
  /** Sections as they were when the source asked whether all is well. */
  #agreed: Preview | undefined;
  /** Reader of what follows {@link #agreed}. */
  #end: EndReader | undefined;
  #apply: () => void = () => {};
  #looks = 0;
  /** Largest number of bytes of the stream, whatever they are: a stream of empty rounds has no pages. */
  readonly #maxBytes: number;
  #told = 0;

  constructor(duplex: ByteDuplex, machine: LiveMachine, settings: Settings) {
    this.#duplex = duplex;
    this.#reading = new Reading(duplex, settings.clock);
    this.#machine = machine;
    this.#settings = settings;
    this.waiter = new Waiter(settings.clock);
    const ram = machine.ram.blocks.reduce((sum, { length }) => sum + length, 0);
    const maxPages = (settings.maxRounds * ram) / PAGE;
    this.#maxBytes = 2 * maxPages * PAGE + (settings.maxDeviceState ?? DEVICE_STATE_MAX) + TELL_BYTES;
    this.#incoming = new Incoming(machine, { maxPages });
    this.#parser = new StreamParser(this.#incoming, {
      pageBits: 12,
      accepts: (header, body) => this.#incoming.find(header)?.accepts(body),
      lengths: (header, bytes) => this.#incoming.find(header)?.lengths?.(bytes),
      maxDeviceState: settings.maxDeviceState ?? DEVICE_STATE_MAX,
    });
  }

  /** Takes the stream up to its end, which is the source's word that the guest is ours. @throws Stop, StateError */
  async take(): Promise<void> {
    const { idleTimeoutMs } = this.#settings;
    while (!(await this.#hasEnded())) {
      const chunk = await this.waiter.wait(this.#reading.next(), idleTimeoutMs, 'the source is silent');
      if (chunk === undefined) {
        this.#endWithConnection();
        break;
      }
      this.#push(chunk);
      if (this.#question.found && this.#parser.inDeviceState) await this.#look();
      await this.#answer();
      this.#tell();
    }
    this.#parser.end();
    this.#incoming.checkRam();
    if (this.#agreed === undefined) {
      this.#apply = this.#incoming.load();
      if (this.#incoming.unaccounted !== undefined) throw this.#incoming.unaccounted;
    } else if (!this.#agreed.equals(this.#incoming))
      throw new StateError('changed', 'the sections end elsewhere than they did when all of them had come');
  }

  /** Lets the machine run, since the guest is ours. */
  async run(): Promise<ReceiveOutcome> {
    let starting: Promise<void> | undefined;
    try {
      this.#apply();
      starting = this.#machine.resume() ?? undefined;
      if (starting !== undefined) await this.#answered(starting, 'its resume()');
    } catch (error) {
      if (error instanceof Stop && error.reason === 'timeout')
        return this.#mayRun(error.message, error, starting);
      return this.#stumble(error);
    }
    let unheard: string | undefined;
    try {
      await this.#say(shut(0));
    } catch (error) {
      unheard = messageOf(error);
    }
    this.#close();
    release(this.#machine);
    return { result: 'arrived', progress: this.#progress(), ...(unheard !== undefined && { unheard }) };
  }

  /** Gives up: the guest stays where it is, and the source hears of it. */
  async fail({ reason, message, cause }: Stop): Promise<Failed> {
    // without this word a source that has handed over would not know
    await this.#say(shut(1)).catch(() => {});
    this.#close();
    release(this.#machine, 'was received in part');
    return {
      result: 'failed',
      reason,
      message,
      ...(cause !== undefined && { error: cause }),
      progress: this.#progress(),
    };
  }

  /** Gives up after the machine did not start: some of it may run. The source may only hear of it when nothing does. */
  async #stumble(error: unknown): Promise<Failed> {
    const stop = asStop(error, 'error');
    try {
      const stopping = this.#machine.pause();
      if (stopping !== undefined) await this.#answered(stopping, 'its pause()');
    } catch (second) {
      return this.#mayRun(`${stop.message}; and it could not be stopped again: ${messageOf(second)}`, error);
    }
    return this.fail(stop);
  }

  /** Ends without a word to the source: the guest must not go on there while it may run here. */
  #mayRun(message: string, error: unknown, starting?: Promise<void>): Failed {
    this.#close();
    const machine = this.#machine;
    release(machine, 'was asked to go on, and has not answered');
    // it may go on after all, which is for its host to see
    starting?.then(
      () => release(machine),
      () => release(machine, 'was received in part'),
    );
    return { result: 'failed', reason: 'error', message, error, progress: this.#progress(), mayRun: true };
  }

  #answered(answer: Promise<void>, what: string): Promise<void> {
    return answerWithin(answer, this.#settings.clock, this.#settings.machineTimeoutMs, what);
  }

  /**
   * Accepts the end of the connection as that of the stream, where nothing else tells it, if all of it has come.
   * @throws Stop, StateError
   */
  #endWithConnection(): void {
    const closed = `the source closed the connection after ${this.#parser.received} bytes`;
    if (!this.#parser.inDeviceState) throw new Stop('closed', closed);
    try {
      this.#parser.end();
    } catch (error) {
      throw isStateError(error) && error.code === 'truncated' ? new Stop('closed', closed, error) : error;
    }
    // the vmdesc is the last thing: without all of it, a source has not handed its guest over
    if (!(this.#end?.isWhole ?? this.#incoming.described)) throw new Stop('closed', closed);
  }

  #push(chunk: Uint8Array): void {
    this.#parser.push(chunk);
    if (this.#parser.received > this.#maxBytes)
      throw new StateError('limit', `more than ${this.#maxBytes} bytes: the stream has no end`, {
        limit: this.#maxBytes,
      });
    this.#question.push(chunk);
    this.#end?.push(chunk);
    if (this.#end?.isOther !== true) return;
    if (!this.#isDoubtful) this.#refuseOther();
    // who has asked sends the end, and nothing else: it was a guest's bytes that looked like the question
    this.#end = undefined;
    this.#agreed = undefined;
  }

  /** Refuses a stream that has something else than its end behind the agreement. @throws StateError */
  #refuseOther(): never {
    try {
      // it may be that more can be said of it
      this.#parser.preview(new SectionSet(this.#machine));
    } catch (error) {
      if (!isStateError(error) || error.code !== 'truncated') throw error;
    }
    throw new StateError(
      'hand-over',
      'something else than the end of the stream comes behind the question whether all is well',
      {},
      { layer: 'stream', offset: this.#parser.received },
    );
  }

  /**
   * Has the stream ended? Behind an agreement, the end is what follows it. A source that does not ask has ended where
   * its stream has.
   */
  async #hasEnded(): Promise<boolean> {
    if (!(this.#end?.isWhole ?? this.#parser.atEnd)) return false;
    return !this.#isDoubtful || this.#isSilentFor(QUIET_MS);
  }

  /** Can a guest have written this end, or the question in front of it, into a section of unknown length? */
  get #isDoubtful(): boolean {
    if (isMeasured(this.#machine.sections)) return false;
    return this.#agreed?.isGuessable ?? true;
  }

  /** Is the source silent for so many milliseconds? One whose stream goes on is not: it does not wait for us. */
  #isSilentFor(milliseconds: number): Promise<boolean> {
    return this.waiter.wait(this.#reading.silentFor(milliseconds), Number.POSITIVE_INFINITY, 'the source');
  }

  /** Checks everything that has come as if it were the whole stream, since the source asks whether all is well. */
  async #look(): Promise<void> {
    // a guest may have put the bytes of the question into a device: then more comes, and a source that has asked says nothing more
    if (this.#agreed !== undefined) return;
    if (this.#looks >= LOOKS_AT_ONCE && !(await this.#isSilentFor(SILENCE_MS))) return;
    if (++this.#looks > LOOKS_MAX)
      throw new StateError('limit', `asked more than ${LOOKS_MAX} times for the hand-over`, {
        limit: LOOKS_MAX,
      });
    const sections = new Preview(this.#machine);
    try {
      this.#parser.preview(sections);
      if (!sections.asked) return;
      this.#incoming.checkRam();
      this.#apply = sections.load();
    } catch (error) {
      if (isStateError(error) && error.code === 'truncated') return;
      if (!(await this.#isSilentFor(SILENCE_MS))) return;
      throw error;
    }
    this.#agreed = sections;
    this.#end = new EndReader();
    this.#incoming.pings.push(PING_HAND_OVER);
  }

  async #answer(): Promise<void> {
    for (const value of this.#incoming.pings.splice(0)) await this.#say(pong(value), this.waiter);
  }

  /** @param waiter what may end it; by default nothing but time: a last word is said whatever else was decided */
  async #say(bytes: Uint8Array, waiter: Waiter = new Waiter(this.#settings.clock)): Promise<void> {
    if (!this.#incoming.returnPath) return;
    await waiter.wait(this.#duplex.write(bytes), this.#settings.idleTimeoutMs, 'the source does not listen');
  }

  #tell(): void {
    if (this.#parser.received - this.#told < TELL_BYTES) return;
    this.#told = this.#parser.received;
    this.#settings.onProgress?.(this.#progress());
  }

  #progress(): ReceiveProgress {
    const { pages, zeroPages } = this.#incoming;
    return { receivedBytes: this.#parser.received, pages, zeroPages };
  }

  #close(): void {
    this.#reading.stop();
    try {
      this.#duplex.close();
    } catch {
      // what was decided does not depend on it
    }
  }
}

/** Set of the sections that have come so far, without what belongs to the stream as it goes by. */
class Preview extends SectionSet {
  /** True if the source's question stands behind the last section. */
  asked = false;
  /** True if a guest could have known where a section ends. */
  isGuessable = false;
  #commands = 0;

  override section(header: SectionHeader): void {
    this.asked = false;
    this.isGuessable ||= isGuessable(header.id);
    super.section(header);
  }

  override command(command: number, payload: Uint8Array): void {
    if (++this.#commands > COMMANDS_MAX)
      throw new StateError('command', `more than ${COMMANDS_MAX} commands`);
    this.asked = command === COMMAND.PING && isQuestion(payload);
  }
}
