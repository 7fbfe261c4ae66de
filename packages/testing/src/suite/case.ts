/** Named test that throws if it fails. Suites are lists of these: every test runner can run them. */
export interface Case {
  /** Name of the case: what it shows. */
  readonly name: string;
  /** Runs the case. @throws Failure, or rejects with it, if what the case shows is not so */
  run(): Promise<void> | void;
}

/** Test runner as suites need it: vitest, jest, mocha, `node:test`. */
export interface Runner {
  /** Groups tests. */
  readonly describe: (name: string, body: () => void) => unknown;
  /** Makes a test, which fails if its body throws or rejects. */
  readonly test: (name: string, body: () => Promise<void> | void) => unknown;
}

/** Hands the cases to a test runner. */
export function register({ describe, test }: Runner, title: string, cases: readonly Case[]): void {
  describe(title, () => {
    for (const { name, run } of cases) test(name, () => run());
  });
}

/** Error of a case that fails. */
export class Failure extends Error {
  /** The class's name. */
  override readonly name = 'Failure';
}

export function ensure(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Failure(what);
}

/** Compares plain data; bigints and byte arrays count as data. */
export function same(found: unknown, expected: unknown, what: string): void {
  const [a, b] = [show(found), show(expected)];
  if (a === b) return;
  let at = 0;
  while (a[at] === b[at]) at++;
  const around = (text: string): string => text.slice(Math.max(0, at - 60), at + 60);
  throw new Failure(`${what}: found …${around(a)}…, expected …${around(b)}…`);
}

/** Writes data as text: equal data, equal text. */
export function show(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === 'bigint') return `0x${item.toString(16)}`;
    if (item instanceof Uint8Array) return `${item.length}:${checksum(item).toString(16)}`;
    if (item instanceof Map) return [...item.entries()];
    return item;
  });
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let at = 0;
  // bodies of a megabyte are compared all the time
  if ((a.byteOffset | b.byteOffset) % 4 === 0) {
    const words = a.length >>> 2;
    const [x, y] = [a, b].map(({ buffer, byteOffset }) => new Int32Array(buffer, byteOffset, words));
    if (x === undefined || y === undefined) return false;
    while (at < words && x[at] === y[at]) at++;
    if (at < words) return false;
    at *= 4;
  }
  for (; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

/** Computes the checksum FNV-1a, 32 bits. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0x811c9dc5;
  for (const byte of bytes) sum = Math.imul(sum ^ byte, 0x01000193);
  return sum >>> 0;
}

/** Source of numbers that look random and are the same for the same seed (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Chooses a number of 32 bits. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** Chooses a number from 0 to `limit` - 1. */
  below(limit: number): number {
    return this.next() % limit;
  }

  /** Is it the one time in `oneIn`? */
  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }

  /** Chooses one of the items. */
  pick<T>(items: readonly [T, ...T[]]): T {
    return items[this.below(items.length)] ?? items[0];
  }

  /** Makes `length` random bytes. */
  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = this.next();
    return bytes;
  }
}
