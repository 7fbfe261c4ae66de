import type { CommandFacts } from './request.ts';

/** Number of bytes that a command counts for beside its data. */
const OVERHEAD_BYTES = 256;

/**
 * List of the writes that were answered and that no flush has made stable: a server that dies may lose them, and nobody
 * would hear of it. They are kept, so that they can be done again, until a flush that began later has succeeded.
 */
export class KeptWrites {
  readonly #writes: { readonly facts: CommandFacts; readonly number: number }[] = [];
  #bytes = 0;
  #number = 0;

  /** Number of bytes of memory that the writes take. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Mark of this moment, which {@link drop} takes when a flush has succeeded that begins now. */
  get mark(): number {
    return this.#number;
  }

  add(facts: CommandFacts): void {
    this.#writes.push({ facts, number: ++this.#number });
    this.#bytes += bytesOf(facts);
  }

  /** Drops the writes that came before a {@link mark}: a flush has succeeded that began then. */
  drop(mark: number): void {
    const end = this.#writes.findIndex(({ number }) => number > mark);
    for (const { facts } of this.#writes.splice(0, end === -1 ? this.#writes.length : end))
      this.#bytes -= bytesOf(facts);
  }

  /**
   * Lists all writes, oldest first, in groups within which none overlaps another: a group can be done in any order, the
   * next after it.
   */
  *groups(): Generator<readonly CommandFacts[]> {
    const GROUP = 64;
    let group: CommandFacts[] = [];
    for (const { facts } of this.#writes) {
      if (group.length === GROUP || group.some((other) => overlap(facts, other))) {
        yield group;
        group = [];
      }
      group.push(facts);
    }
    if (group.length > 0) yield group;
  }
}

function bytesOf({ data }: CommandFacts): number {
  return OVERHEAD_BYTES + (data?.length ?? 0);
}

function overlap(a: CommandFacts, b: CommandFacts): boolean {
  return a.position < b.position + b.length && b.position < a.position + a.length;
}
