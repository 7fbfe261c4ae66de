import type { QemuBinary } from '@virtkit/lab';
import type { Difference } from './difference.ts';
import { guest } from './guest.ts';
import type { Operation } from './operation.ts';
import { Pair } from './pair.ts';
import { Random } from './random.ts';
import type { Setup } from './setup.ts';

export interface RunOptions {
  readonly binary: QemuBinary;
  readonly setup: Setup;
  readonly seed: number;
  /** Operations of this run. */
  readonly operations: number;
  /** Operations between two comparisons of all RAM. Default 2000. */
  readonly window?: number;
  /** Operations between two migrations. Default 10000; 0: none. */
  readonly migrateEvery?: number;
}

export interface RunResult {
  /** Operations that were done on both sides and compared. */
  readonly operations: number;
  readonly migrations: number;
  /** The run ended early at a known difference: its name. */
  readonly known: string | undefined;
  readonly difference: Difference | undefined;
  /** All operations, in order: what {@link replay} takes. */
  readonly history: readonly Operation[];
}

/** One guest on one machine, from power-on. */
export async function run(options: RunOptions): Promise<RunResult> {
  const { window = 2000, migrateEvery = 10_000 } = options;
  const random = new Random(options.seed);
  const pair = await Pair.start(options.binary, options.setup);
  const history: Operation[] = [];
  let migrations = 0;
  const result = (difference: Difference | undefined): RunResult => ({
    operations: pair.count,
    migrations,
    known: pair.ours.known,
    difference,
    history,
  });
  try {
    let nextMigration = migrateEvery > 0 ? random.between(1, migrateEvery) : Number.POSITIVE_INFINITY;
    let left = random.between(1, window);
    for (const operation of guest(pair.ours, random)) {
      history.push(operation);
      const comparable = await pair.apply(operation);
      if (comparable && --left > 0 && pair.count < options.operations) continue;
      left = random.between(1, window);
      const difference = await pair.check();
      if (difference !== undefined || !comparable || pair.count >= options.operations)
        return result(difference);
      if (pair.count < nextMigration) continue;
      nextMigration += migrateEvery;
      migrations++;
      const changed = await pair.compareSaved();
      if (changed !== undefined) return result(changed);
    }
    return result(undefined);
  } finally {
    pair.close();
  }
}

/**
 * Does these operations on a fresh pair. The first difference, or undefined.
 *
 * @param migrate also compare the saved states, at the end
 */
export async function replay(
  binary: QemuBinary,
  setup: Setup,
  operations: readonly Operation[],
  migrate: boolean,
): Promise<Difference | undefined> {
  const pair = await Pair.start(binary, setup);
  try {
    let left = 2000;
    for (const operation of operations) {
      const comparable = await pair.apply(operation);
      if (comparable && --left > 0) continue;
      left = 2000;
      const difference = await pair.check();
      if (difference !== undefined || !comparable) return difference;
    }
    return (await pair.check()) ?? (migrate ? await pair.compareSaved() : undefined);
  } finally {
    pair.close();
  }
}
