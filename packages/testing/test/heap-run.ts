/**
 * node --expose-gc --min-semi-space-size=32 --max-semi-space-size=32 --import tsx --conditions=@virtkit/source test/heap-run.ts
 *   [--sample] [part of a name]...
 *
 * Bytes of heap that a request takes in the steady state, for each transport, kind of ring and kind of request, or a sample of
 * them. Says `name<TAB>bytes`.
 */
import { parseArgs } from 'node:util';
import { getHeapStatistics } from 'node:v8';
import { HEAP_CASES, type HeapCase } from './heap-cases.ts';

const WARM_UP = 6000;
const REQUESTS = 4096;
const ROUNDS = 4;
/** Compilers have their own time, and on a busy machine that comes late. */
const ROUNDS_MAX = 60;
/** Less than any object for one request in thirty. */
const NOTHING = 0.5;

const { gc } = globalThis;
if (gc === undefined) throw new Error('--expose-gc is missing');

/** JavaScript objects, and memory of arrays outside of the heap. */
function used(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}

/** Nothing is collected in between: the young generation has room for it. */
function growth(run: (count: number) => void, count: number): number {
  gc?.();
  const before = used();
  run(count);
  return used() - before;
}

/**
 * The least of a few rounds: whatever each request takes is taken in all of them; what compilers take now and then is not.
 * Two sizes, since the measurement takes something, too.
 */
function bytesPerRequest(run: (count: number) => void): number {
  let [few, many] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  const found = (): number => (many - few) / (2 * REQUESTS);
  for (let round = 0; round < ROUNDS || (round < ROUNDS_MAX && found() > NOTHING); round++) {
    few = Math.min(few, growth(run, REQUESTS));
    many = Math.min(many, growth(run, 3 * REQUESTS));
  }
  return found();
}

/** The measurement itself, and whether it would notice. */
let keep: unknown;
const CONTROLS: readonly HeapCase[] = [
  { name: 'control: nothing', sample: true, prepare: () => () => undefined },
  {
    name: 'control: an object for each request',
    sample: true,
    prepare: () => (count) => {
      for (let i = 0; i < count; i++) keep = { i };
    },
  },
];

const { values, positionals: words } = parseArgs({
  allowPositionals: true,
  options: { sample: { type: 'boolean', default: false } },
});
const cases = values.sample ? HEAP_CASES.filter(({ sample }) => sample) : HEAP_CASES;
for (const { name, prepare } of [...CONTROLS, ...cases]) {
  if (!words.every((word) => name.includes(word))) continue;
  const run = prepare();
  run(WARM_UP);
  console.log(`${name}\t${bytesPerRequest(run).toFixed(3)}`);
}
if (keep === process) throw new Error();
