/** Upper bound of section ids: some readers take them for signed. */
const ID_MAX = 2 ** 31;
/** Upper bound of the ids of sources that count, QEMU and earlier versions of this one: a guest can guess them. */
const GUESSED_MAX = 1 << 16;

/** Source of random numbers that every JavaScript host has today, and the language itself has not. */
interface HostRandom {
  getRandomValues(words: Uint32Array): unknown;
}

/**
 * Chooses ids for sections, all different, that a guest cannot guess. A section ends where a footer with its id stands:
 * with these, no guest can write such a footer into its devices, for they are chosen when it moves.
 *
 * @param taken an id that is used already
 */
export function sectionIds(count: number, taken: number): readonly number[] {
  const ids = new Set<number>();
  while (ids.size < count) {
    const id = randomWord() % ID_MAX;
    if (id >= GUESSED_MAX && id !== taken) ids.add(id);
  }
  return [...ids];
}

/** Can a guest have known this section id? */
export function isGuessable(id: number): boolean {
  return id < GUESSED_MAX;
}

function randomWord(): number {
  const host: unknown = Reflect.get(globalThis, 'crypto');
  if (!isHostRandom(host)) return Math.floor(Math.random() * 2 ** 32);
  const words = new Uint32Array(1);
  host.getRandomValues(words);
  return words[0] ?? 0;
}

function isHostRandom(host: unknown): host is HostRandom {
  return (
    typeof host === 'object' &&
    host !== null &&
    'getRandomValues' in host &&
    typeof host.getRandomValues === 'function'
  );
}
