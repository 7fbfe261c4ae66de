/** Work that is counted, so that no machine is too slow or too busy to measure it: how often functions and blocks of the packages run. */
import { Session } from 'node:inspector/promises';

const FACTOR = 8;
let session: Promise<Session> | undefined;

/**
 * Counts from now on. What is measured has to be imported behind this call, with `await import(…)`: code that was compiled before counts
 * its calls, and not the turns of its loops.
 */
export function countWork(): Promise<Session> {
  session ??= (async () => {
    const opened = new Session();
    opened.connect();
    await opened.post('Profiler.enable');
    await opened.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
    return opened;
  })();
  return session;
}

/** Sources of the packages that are published. */
const SOURCES = /\/packages\/(?!fuzz\/|lab\/|testing\/|lockstep\/)[\w-]+\/src\//;

/**
 * Counts how often functions and blocks of the packages' sources run meanwhile. What the platform does inside of its
 * own calls is not counted.
 */
export async function workOf(run: () => Promise<void> | void): Promise<number> {
  const counting = await countWork();
  await counting.post('Profiler.takePreciseCoverage');
  await run();
  const { result } = await counting.post('Profiler.takePreciseCoverage');
  let work = 0;
  for (const { url, functions } of result)
    if (SOURCES.test(url)) for (const { ranges } of functions) for (const { count } of ranges) work += count;
  return work;
}

/**
 * Measures the exponent by which work grows: 1 where it is linear, 2 where it is quadratic. Inputs are `size` and eight
 * times that.
 *
 * @param prepare makes the input, outside of what is counted
 */
export async function workGrowthOf<T>(
  prepare: (size: number) => T,
  run: (input: T) => Promise<void> | void,
  size: number,
): Promise<number> {
  const [small, large] = [prepare(size), prepare(size * FACTOR)];
  const before = await workOf(() => run(small));
  const after = await workOf(() => run(large));
  if (before === 0) throw new Error('nothing was counted: was it imported before countWork()?');
  return Math.log(after / before) / Math.log(FACTOR);
}
