/**
 * node --import tsx --conditions=@virtkit/source src/main.ts --ops 10000000 --seed 1 --mode legacy [--device blk] [--length 20000]
 *
 * Runs guests in lockstep until so many operations are done, each on a machine of its own. Stops at the first difference that
 * nobody has explained, and prints the shortest sequence of operations that shows it.
 */
import { parseArgs } from 'node:util';
import { findQemu } from '@virtkit/lab';
import { describeDifference, tabulate } from './difference.ts';
import { chooseSetup, MODES, type Mode } from './modes.ts';
import { Random } from './random.ts';
import { replay, run } from './run.ts';
import { nameSetup } from './setup.ts';
import { shrink } from './shrink.ts';

const { values } = parseArgs({
  options: {
    ops: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    mode: { type: 'string', default: 'transitional' },
    device: { type: 'string' },
    length: { type: 'string', default: '20000' },
    migrate: { type: 'string', default: '5000' },
    /** Arguments for QEMU when the shortest sequence is done once more: `-trace virtqueue_*` */
    trace: { type: 'string' },
    /** Only disks with content. */
    content: { type: 'boolean', default: false },
    /** Only tell of differences, and go on. */
    'keep-going': { type: 'boolean', default: false },
  },
});

function isMode(text: string): text is Mode {
  return MODES.some((mode) => mode === text);
}

async function main(): Promise<number> {
  const binary = findQemu('x86_64');
  if (binary === undefined) throw new Error('qemu-system-x86_64 is not installed');
  const { mode, device } = values;
  if (!isMode(mode)) throw new Error(`--mode ${mode}: ${MODES.join(', ')} expected`);
  if (device !== undefined && device !== 'blk' && device !== 'net')
    throw new Error(`--device ${device}: blk or net expected`);
  const [wanted, first, length] = [Number(values.ops), Number(values.seed), Number(values.length)];
  console.log(`QEMU ${binary.version}, mode ${mode}, from seed ${first}`);
  const known = new Map<string, number>();
  const began = performance.now();
  let [operations, machines, migrations, differences, told] = [0, 0, 0, 0, began];
  for (let seed = first; operations < wanted; seed++) {
    const chosen = chooseSetup(new Random(seed ^ 0x5e7), mode, values.content ? 'blk' : device);
    const setup = values.content ? { ...chosen, content: true } : chosen;
    const result = await run({
      binary,
      setup,
      seed,
      operations: Math.min(length, wanted - operations),
      migrateEvery: Number(values.migrate),
    });
    operations += result.operations;
    migrations += result.migrations;
    machines++;
    if (result.known !== undefined) known.set(result.known, (known.get(result.known) ?? 0) + 1);
    if (result.difference !== undefined) {
      console.log(`seed ${seed}: ${nameSetup(setup)}\n${describeDifference(result.difference)}`);
      differences++;
      if (values['keep-going']) continue;
      const shrunk = await shrink(binary, setup, result.history, result.difference);
      console.log(
        shrunk === undefined ? 'does not happen again' : tabulate(shrunk.operations, shrunk.difference),
      );
      if (values.trace !== undefined && shrunk !== undefined) {
        process.env['VIRTKIT_QEMU_ARGS'] = values.trace;
        await replay(binary, setup, shrunk.operations, false);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      return 1;
    }
    if (performance.now() - told > 30_000) {
      told = performance.now();
      report();
    }
  }
  report();
  return differences === 0 ? 0 : 1;

  function report(): void {
    const seconds = (performance.now() - began) / 1000;
    const names = [...known].map(([name, times]) => `${name}: ${times}`).join(', ');
    console.log(
      `${operations} operations on ${machines} machines, ${migrations} states compared, ${seconds.toFixed(0)} s` +
        ` (${Math.round(operations / seconds)}/s), ${differences} unexplained differences${names === '' ? '' : `; ended early by known differences: ${names}`}`,
    );
  }
}

process.exitCode = await main();
