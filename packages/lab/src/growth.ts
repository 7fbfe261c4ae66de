/**
 * Measures of what work costs, such that a slow or busy machine does not matter: processor time, and how it grows with
 * the input.
 */

const FACTOR = 8;
/** Number of times that what looks like more is measured at most. */
const TURNS_MAX = 5;
/** Largest exponent that linear work measures where nothing disturbs it. */
const LINEAR = 1.5;

/**
 * Measures the microseconds of the processor that a run takes at least, of four: what else the machine does only adds.
 */
export function cost(run: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let turn = 0; turn < 4; turn++) {
    const before = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, user + system);
  }
  return least;
}

/**
 * Measures the microseconds of the processor that work takes at least which is waited for, of three runs. Nothing else
 * may run in this process meanwhile.
 */
export async function costOf(run: () => Promise<void>): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let turn = 0; turn < 3; turn++) {
    const before = process.cpuUsage();
    await run();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, user + system);
  }
  return least;
}

/**
 * Measures the exponent by which processor time grows: 1 for linear work, 2 for quadratic. Inputs are `size` and eight
 * times that. Linear work measures 1.0 to 1.5, for large heaps cost more.
 *
 * @param prepare makes the input, outside of what is measured
 */
export function growthOf<T>(prepare: (size: number) => T, run: (input: T) => void, size: number): number {
  const [small, large] = [prepare(size), prepare(size * FACTOR)];
  run(small);
  let least = Number.POSITIVE_INFINITY;
  // a collection of garbage in the midst of it looks like growth, and does not come each time in the same place
  for (let turn = 0; turn < TURNS_MAX && least > LINEAR; turn++) {
    const before = cost(() => run(small));
    least = Math.min(
      least,
      exponent(
        before,
        cost(() => run(large)),
      ),
    );
  }
  return least;
}

/** Measures the exponent by which processor time grows of work that is waited for. See {@link growthOf}. */
export async function growthOfAsync<T>(
  prepare: (size: number) => T,
  run: (input: T) => Promise<void>,
  size: number,
): Promise<number> {
  const [small, large] = [prepare(size), prepare(size * FACTOR)];
  await run(small);
  let least = Number.POSITIVE_INFINITY;
  for (let turn = 0; turn < TURNS_MAX && least > LINEAR; turn++) {
    const before = await costOf(() => run(small));
    least = Math.min(least, exponent(before, await costOf(() => run(large))));
  }
  return least;
}

function exponent(before: number, after: number): number {
  return Math.log(after / before) / Math.log(FACTOR);
}
