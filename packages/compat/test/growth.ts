/** How work grows with its input, measured so that a slow or busy machine does not matter. */

const FACTOR = 8;

/** Of several runs the fastest: what else the machine does only adds. */
function fastest(run: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 4; round++) {
    const started = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(started);
    best = Math.min(best, user + system);
  }
  return best;
}

/**
 * The exponent by which CPU time grows: 1 for linear work, 2 for quadratic. Inputs are `size` and eight times that.
 *
 * @param prepare makes the input, outside of what is measured
 */
export function growthOf<T>(prepare: (size: number) => T, run: (input: T) => void, size: number): number {
  const [small, large] = [prepare(size), prepare(size * FACTOR)];
  run(small);
  const [before, after] = [fastest(() => run(small)), fastest(() => run(large))];
  return Math.log(after / before) / Math.log(FACTOR);
}
