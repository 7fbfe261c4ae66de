import type { CancelSignal, Clock } from './duplex.ts';

/**
 * Reason why a migration came to nothing.
 *
 * - `cancelled`: by the signal
 * - `refused`: the other side said no, or what it says is no migration
 * - `closed`: the connection ended or broke
 * - `timeout`: nothing was heard for too long
 * - `not-converging`: the guest writes faster than the connection takes it
 * - `error`: something of this side's own machine failed
 */
export type StopReason = 'cancelled' | 'refused' | 'closed' | 'timeout' | 'not-converging' | 'error';

/** Error that ends a migration; carried from where it was noticed to where it is decided what to do. */
export class Stop extends Error {
  override readonly name = 'Stop';
  readonly reason: StopReason;

  constructor(reason: StopReason, message: string, cause?: unknown) {
    super(message, { cause });
    this.reason = reason;
  }
}

/** Turns anything thrown into a {@link Stop}. */
export function asStop(error: unknown, reason: StopReason): Stop {
  return error instanceof Stop ? error : new Stop(reason, messageOf(error), error);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Wait for one thing, with what may end it: time, the signal, the other side's last word. */
export class Waiter {
  readonly #clock: Clock;
  #interrupt: ((stop: Stop) => void) | undefined;
  #stop: Stop | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Reason that ended the wait; the first one counts. */
  get stopped(): Stop | undefined {
    return this.#stop;
  }

  /** Ends the wait that is under way and all that would come. */
  stop(stop: Stop): void {
    if (this.#stop !== undefined) return;
    this.#stop = stop;
    this.#interrupt?.(stop);
  }

  /** Goes on only if nothing has ended the wait. @throws Stop if something has */
  check(): void {
    if (this.#stop !== undefined) throw this.#stop;
  }

  /** Waits for a promise, at most for some milliseconds. What it throws counts as `reason`. @throws Stop */
  async wait<T>(
    promise: Promise<T>,
    milliseconds: number,
    what: string,
    reason: StopReason = 'closed',
  ): Promise<T> {
    promise.catch(() => {});
    this.check();
    let cancel = (): void => {};
    try {
      return await new Promise<T>((resolve, reject) => {
        this.#interrupt = reject;
        if (Number.isFinite(milliseconds))
          cancel = this.#clock.after(milliseconds, () =>
            reject(new Stop('timeout', `${what}: nothing for ${milliseconds} ms`)),
          );
        promise.then(resolve, (error: unknown) => reject(asStop(error, reason)));
      });
    } finally {
      cancel();
      this.#interrupt = undefined;
    }
  }

  /** Ends the wait when a signal says so. Answers the function that undoes it. */
  follow(signal: CancelSignal | undefined): () => void {
    if (signal === undefined) return () => {};
    const cancelled = (): void => this.stop(new Stop('cancelled', 'the migration was cancelled'));
    if (signal.aborted) cancelled();
    signal.addEventListener('abort', cancelled);
    return () => signal.removeEventListener('abort', cancelled);
  }
}

/**
 * Waits for an answer of the host's own machine. @throws Stop `timeout` if it does not come in time, and what the
 * machine throws
 */
export async function answerWithin(
  answer: Promise<void>,
  clock: Clock,
  milliseconds: number,
  what: string,
): Promise<void> {
  try {
    await new Waiter(clock).wait(Promise.resolve(answer), milliseconds, what, 'error');
  } catch (error) {
    throw error instanceof Stop && error.reason === 'error' ? error.cause : error;
  }
}
