import type { Spans } from '@virtkit/core';
import { COMMAND, type Command } from './protocol.ts';

/** Names of the commands, for errors. */
const NAMES: Readonly<Record<Command, string>> = {
  [COMMAND.READ]: 'read',
  [COMMAND.WRITE]: 'write',
  [COMMAND.DISCONNECT]: 'disconnect',
  [COMMAND.FLUSH]: 'flush',
  [COMMAND.TRIM]: 'trim',
  [COMMAND.CACHE]: 'prefetch',
  [COMMAND.WRITE_ZEROES]: 'write of zeros',
};

/** Facts of a command: what it does to which bytes. */
export interface CommandFacts {
  readonly command: Command;
  readonly flags: number;
  readonly position: number;
  readonly length: number;
  /** Data of a write. */
  readonly data?: Uint8Array;
  /** Buffer for the bytes of a read, from byte `from` on. */
  readonly target?: Pick<Spans, 'copyFrom' | 'fill'>;
  readonly from?: number;
}

/** Number of pieces of a read that may lie apart from each other before the gaps between them are filled. */
const GAPS_MAX = 1024;

/** Command on its way: sent again over another connection, if need be, until it is answered. */
export class NbdRequest {
  readonly facts: CommandFacts;
  readonly done: Promise<void>;
  /** Time at which the command is given up, as `performance.now()` has it. */
  readonly deadline: number;
  #resolve: () => void = () => {};
  #reject: (error: unknown) => void = () => {};
  #isSettled = false;
  /**
   * Beginnings and ends of the parts of a read that have come over this connection, in order, none touching the next.
   */
  readonly #parts: number[] = [];
  /** First error that the reply told of. */
  failure: Error | undefined;

  constructor(facts: CommandFacts, deadline: number) {
    this.facts = facts;
    this.deadline = deadline;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** Description of the command in words, for errors. */
  get text(): string {
    const { command, length, position } = this.facts;
    return command === COMMAND.FLUSH ? NAMES[command] : `${NAMES[command]} of ${length} bytes at ${position}`;
  }

  /** Prepares the command to be sent: nothing of its reply has come yet. */
  begin(): void {
    this.#parts.length = 0;
    this.failure = undefined;
  }

  succeed(): void {
    this.#isSettled = true;
    this.#resolve();
  }

  fail(error: unknown): void {
    this.#isSettled = true;
    this.#reject(error);
  }

  /** Takes bytes of a read that have come. */
  receive(offset: number, bytes: Uint8Array, at: number, length: number): void {
    // one that was given up has no place for them
    if (!this.#isSettled) this.facts.target?.copyFrom((this.facts.from ?? 0) + offset, bytes, at, length);
  }

  /** Notes that bytes of a read are zeros. */
  receiveZeros(offset: number, length: number): void {
    if (!this.#isSettled) this.facts.target?.fill((this.facts.from ?? 0) + offset, length, 0);
  }

  /**
   * Notes that a part of a read is in the reply.
   *
   * @returns false if it is not within the read, comes twice, or if the parts are scattered beyond measure
   */
  claim(offset: number, length: number): boolean {
    const end = offset + length;
    if (length === 0 || offset < 0 || end > this.facts.length) return false;
    const parts = this.#parts;
    const at = this.#placeOf(end);
    const before = parts[at - 1];
    if (before !== undefined && before > offset) return false;
    const joinsBefore = before === offset;
    const joinsAfter = parts[at] === end;
    if (joinsBefore && joinsAfter) parts.splice(at - 1, 2);
    else if (joinsBefore) parts[at - 1] = end;
    else if (joinsAfter) parts[at] = offset;
    else parts.splice(at, 0, offset, end);
    return parts.length <= 2 * GAPS_MAX;
  }

  /** Index of the first part that begins at `end` or behind it. It is searched by halves, since a server may send them in any order. */
  #placeOf(end: number): number {
    let [low, high] = [0, this.#parts.length / 2];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#parts[2 * middle] ?? 0) >= end) high = middle;
      else low = middle + 1;
    }
    return 2 * low;
  }

  /** Have all bytes of a read come? */
  get isWhole(): boolean {
    const { command, length } = this.facts;
    if (command !== COMMAND.READ) return true;
    return this.#parts.length === 2 && this.#parts[0] === 0 && this.#parts[1] === length;
  }
}
