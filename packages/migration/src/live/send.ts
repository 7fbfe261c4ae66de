import { type ByteDuplex, type Clock, hostClock } from './duplex.ts';
import { checkMachine, type LiveMachine } from './machine.ts';
import { checkNumber, IDLE_TIMEOUT_MS, type LiveOptions, MACHINE_TIMEOUT_MS } from './options.ts';
import { type SendProgress, Source } from './source.ts';
import { answerWithin, asStop, messageOf, type Stop, type StopReason } from './stop.ts';
import { claimForSending, reclaim, release } from './uses.ts';

/** Options of {@link sendLive}. */
export interface SendOptions extends LiveOptions {
  /**
   * Milliseconds that the guest may stand still, as far as can be foreseen from the speed of the connection; default
   * 300.
   */
  readonly downtimeLimitMs?: number;
  /** Number of passes over memory while the guest runs; default 30. */
  readonly maxRounds?: number;
  /**
   * Decision for a guest that still writes faster than the connection takes it after all rounds: give up (default), or
   * stop it anyway.
   */
  readonly whenNotConverging?: 'abort' | 'force';
  /**
   * Milliseconds that the guest may stand still until the destination has everything; after that it goes on here.
   * Default 10 000.
   */
  readonly handOverTimeoutMs?: number;
  /** Function that is told the progress. It is not called any more once the hand-over has begun. */
  readonly onProgress?: (progress: SendProgress) => void;
}

/**
 * Outcome of a migration that has succeeded: the guest runs at the destination; this machine is stopped, and may be
 * thrown away.
 */
export interface Moved {
  /** Word for the outcome: the destination has the guest and runs it. */
  readonly result: 'moved';
  /** Progress at the end. */
  readonly progress: SendProgress;
  /** Milliseconds from the guest's stop here until the destination said that it runs there. */
  readonly downtimeMs: number;
}

/**
 * Outcome of a migration that has failed: the guest goes on here, and does not run at the destination, now or later.
 */
export interface Stayed {
  /** Word for the outcome: the guest is still here, as if nothing had been. */
  readonly result: 'stayed';
  /** Kind of failure. */
  readonly reason: StopReason;
  /** Description of what happened, for people. */
  readonly message: string;
  /** Error that was thrown, if there was one. */
  readonly error?: unknown;
  /** Progress until then. */
  readonly progress: SendProgress;
  /**
   * Error of the machine's own `resume`, if that failed, or has not answered in time: the machine runs nowhere as far
   * as is known.
   */
  readonly resumeError?: unknown;
  /**
   * Promise of a machine whose `pause` was not waited for to its end: the machine was told to go on at once, and is
   * told once more when `pause` has answered. Resolves then; rejects if the machine does not go on. Until then it
   * cannot be sent.
   */
  readonly stopping?: Promise<void>;
}

/**
 * Outcome of a migration whose hand-over was sent, and nothing was heard of what became of it: the guest runs at the
 * destination, or nowhere. This machine is stopped. Ask the destination what its {@link receiveLive} answered:
 * `arrived`, it runs there; `failed`, without `mayRun`, it does not and never will, and {@link resume} goes on here. A
 * host that cannot be reached has not answered: it must be known that it has ended.
 */
export interface Unknown {
  /**
   * Word for the outcome: the connection broke in the moment of the hand-over, and nobody here can say which side has
   * the guest.
   */
  readonly result: 'unknown';
  /** Kind of failure. */
  readonly reason: StopReason;
  /** Description of what happened, for people. */
  readonly message: string;
  /** Error that was thrown, if there was one. */
  readonly error?: unknown;
  /** Progress until then. */
  readonly progress: SendProgress;
  /**
   * Lets the machine go on here. Only for programs that know that the guest does not run at the destination.
   * @throws HostError if the machine went on before, or was put to another use meanwhile
   */
  resume(): Promise<void>;
}

/** Outcome of a migration for its source. */
export type SendOutcome = Moved | Stayed | Unknown;

const DEFAULTS = {
  downtimeLimitMs: 300,
  maxRounds: 30,
  whenNotConverging: 'abort',
  handOverTimeoutMs: 10_000,
  idleTimeoutMs: IDLE_TIMEOUT_MS,
  machineTimeoutMs: MACHINE_TIMEOUT_MS,
} as const;

/**
 * Moves a running machine to the host at the other end of a connection, where {@link receiveLive} takes it: pre-copy in QEMU's
 * format. Memory goes over while the guest runs, in rounds; then it stops, and the rest follows.
 *
 * Of the two machines, at most one runs at any moment. The destination runs when it has read the end of the stream, and the end is
 * written when the destination has said that it has everything and nothing speaks against it. Whatever fails before that moment, on
 * either side, leaves the guest here; what fails after it, and before the destination's last word, is {@link Unknown}.
 *
 * The connection is closed in the end.
 *
 * @throws HostError for a machine or options that make no sense, or one that is on its way already; never for what the connection or the other side does
 */
export async function sendLive(
  duplex: ByteDuplex,
  machine: LiveMachine,
  options: SendOptions = {},
): Promise<SendOutcome> {
  checkMachine(machine);
  const { clock = hostClock, signal, onProgress, ...numbers } = options;
  const settings = { ...DEFAULTS, ...numbers };
  checkNumber('downtimeLimitMs', settings.downtimeLimitMs, 0);
  checkNumber('maxRounds', settings.maxRounds, 1);
  checkNumber('handOverTimeoutMs', settings.handOverTimeoutMs, 1);
  checkNumber('idleTimeoutMs', settings.idleTimeoutMs, 1);
  checkNumber('machineTimeoutMs', settings.machineTimeoutMs, 1);
  claimForSending(machine);
  const source = new Source(duplex, machine, { ...settings, clock, onProgress });
  const goOn = (): Promise<void> => resumeWithin(machine, clock, settings.machineTimeoutMs);
  const unfollow = source.waiter.follow(signal);
  try {
    await source.prepare();
  } catch (error) {
    return await stay(source, machine, goOn, asStop(error, 'error'));
  } finally {
    unfollow();
  }
  return handOver(source, machine, goOn);
}

/**
 * Hands the guest over: everything is at the destination, and only there. From here on, only the destination knows who
 * has the guest.
 */
async function handOver(
  source: Source,
  machine: LiveMachine,
  goOn: () => Promise<void>,
): Promise<SendOutcome> {
  try {
    const refused = await source.handOver();
    if (refused !== undefined) return await stay(source, machine, goOn, refused);
    source.finish();
    release(machine, 'has moved away');
    return { result: 'moved', progress: source.progress('done'), downtimeMs: source.downtimeMs };
  } catch (error) {
    const { reason, message, cause } = asStop(error, 'closed');
    source.finish();
    release(machine, 'may have moved away');
    return {
      result: 'unknown',
      reason,
      message: `the destination was told to go on, and has not said that it does: ${message}`,
      ...(cause !== undefined && { error: cause }),
      progress: source.progress('hand-over'),
      resume: async () => {
        reclaim(machine);
        try {
          await machine.resume();
        } catch (error) {
          // it may be tried again
          release(machine, 'may have moved away');
          throw error;
        }
      },
    };
  }
}

async function stay(
  source: Source,
  machine: LiveMachine,
  goOn: () => Promise<void>,
  stop: Stop,
): Promise<Stayed> {
  const progress = source.progress(source.phase);
  let failure: { readonly resumeError: unknown } | undefined;
  source.finish();
  const { stopping } = source;
  const again = stopping && goOnWhenStopped(machine, stopping, goOn);
  if (again === undefined) release(machine);
  if (source.paused) {
    try {
      await goOn();
    } catch (error) {
      failure = { resumeError: error };
    }
  }
  return {
    result: 'stayed',
    reason: stop.reason,
    message:
      failure === undefined
        ? stop.message
        : `${stop.message}; and the machine does not go on: ${messageOf(failure.resumeError)}`,
    ...(stop.cause !== undefined && { error: stop.cause }),
    progress,
    ...failure,
    ...(again !== undefined && { stopping: again }),
  };
}

/** Lets a machine go on when it has stopped late, since it would stop for good otherwise. */
function goOnWhenStopped(
  machine: LiveMachine,
  stopping: Promise<void>,
  goOn: () => Promise<void>,
): Promise<void> {
  release(machine, 'was asked to stop, and has not answered');
  const again = stopping
    .catch(() => {})
    .then(goOn)
    .finally(() => release(machine));
  // it may be that nobody comes to wait for it
  again.catch(() => {});
  return again;
}

/** Lets the machine go on. @throws Stop if it has not answered in time, and what `resume` throws */
async function resumeWithin(machine: LiveMachine, clock: Clock, milliseconds: number): Promise<void> {
  const answer = machine.resume();
  if (answer !== undefined) await answerWithin(answer, clock, milliseconds, 'its resume()');
}
