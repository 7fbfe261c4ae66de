/**
 * Number of events that are written in one second; a guest can cause them as fast as it likes, and they go to
 * somebody's disk.
 */
const EVENTS_MAX = 100;
const SECOND_MS = 1000;

/** Writer of events as lines of JSON, a bounded number a second; it says how many were left out. */
export class EventLines {
  readonly #write: (text: string) => Promise<void>;
  readonly #failed: (error: unknown) => void;
  /** Number of events of the second that runs. */
  #count = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param write writes a line
   * @param failed hears once of what keeps lines from being written; the device goes on
   */
  constructor(write: (text: string) => Promise<void>, failed: (error: unknown) => void) {
    this.#write = write;
    let isTold = false;
    this.#failed = (error) => {
      if (!isTold) failed(error);
      isTold = true;
    };
  }

  /** Writes an event of the device or of its front end. */
  event(event: Readonly<Record<string, unknown>>): void {
    this.#timer ??= setTimeout(() => this.#second(), SECOND_MS);
    if (++this.#count <= EVENTS_MAX) this.line(event);
  }

  /** Writes what the command itself says, in any case. */
  line(event: Readonly<Record<string, unknown>>): void {
    this.#write(`${JSON.stringify(event, plain)}\n`).catch(this.#failed);
  }

  /** Tells what has been left out until now. */
  close(): void {
    clearTimeout(this.#timer);
    this.#second();
  }

  #second(): void {
    this.#timer = undefined;
    const count = this.#count - EVENTS_MAX;
    this.#count = 0;
    if (count > 0) this.line({ event: 'events-left-out', count });
  }
}

/** Writes numbers that JSON has not as text. */
function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `0x${value.toString(16)}` : value;
}
