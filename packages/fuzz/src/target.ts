import { isStateError } from '@virtkit/vmstate';

/** Target of the fuzzer: something that takes hostile input. */
export interface FuzzTarget {
  /** Short name, for command lines and file names: `stream`, `guest-pci`. */
  readonly name: string;
  /** Sentence that says what the target is. */
  readonly about: string;
  /** Longest input that makes sense, in bytes. */
  readonly lengthMax: number;
  /**
   * Runs one input. Whatever it throws is a defect: errors that the code documents are caught inside.
   * The input is lent until the call (or its promise) has ended.
   */
  readonly run: (input: Uint8Array) => Promise<void> | void;
  /** Inputs to begin with: real ones where there are any. */
  readonly seeds: () => Iterable<Uint8Array>;
  /** Words that a fuzzer would hardly find by itself. */
  readonly words?: readonly (string | Uint8Array)[];
}

/** Thrown where an oracle is not met. */
export class OracleError extends Error {
  override readonly name = 'OracleError';
}

/** @throws OracleError unless the condition holds */
export function demand(condition: boolean, what: string): asserts condition {
  if (!condition) throw new OracleError(what);
}

/** Answers what `act` answers, or undefined if it refused the input with an error that the packages document. */
export function unlessRefused<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (isStateError(error)) return undefined;
    throw error;
  }
}

/** @throws OracleError unless both arrays hold the same bytes */
export function sameBytes(found: Uint8Array, expected: Uint8Array, what: string): void {
  if (Buffer.compare(found, expected) === 0) return;
  const at = found.findIndex((byte, index) => byte !== expected[index]);
  const place = at < 0 ? Math.min(found.length, expected.length) : at;
  throw new OracleError(
    `${what}: ${found.length} bytes, ${expected.length} expected; the first difference is at ${place}`,
  );
}

/**
 * Demands that what was decoded from `body` is written the same way for ever. The first writing may differ from `body`
 * in places where several values mean the same to QEMU, such as a bool of 2, but not in length.
 *
 * @throws OracleError
 */
export function stableEncoding<S>(
  body: Uint8Array,
  state: S,
  codec: { encode(state: S): Uint8Array; decode(body: Uint8Array): S },
  what: string,
): void {
  const first = codec.encode(state).slice();
  demand(first.length === body.length, `${what}: ${first.length} bytes from ${body.length}`);
  sameBytes(codec.encode(codec.decode(first)), first, `${what}, encoded twice`);
}
