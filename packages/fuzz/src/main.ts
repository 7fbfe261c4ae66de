/**
 * node --import tsx --conditions=@virtkit/source src/main.ts COMMAND [TARGET]...
 *
 * list                       targets, and how many inputs are kept of each
 * run [--seconds 600]        fuzzes each target for so many seconds of processor time with Jazzer.js (libFuzzer), and tells what it found
 * keep                       keeps a small selection of what was found in corpus/
 * steps [--steps 1000000]    a hostile guest on bare rings, so many steps; [--seed 1]
 *
 * Without a target, all of them. Jazzer.js needs glibc 2.38: where the system's is older, VIRTKIT_FUZZ_ROOT names the root
 * directory of a newer system (`debootstrap --variant=minbase trixie DIR`), whose libraries are then used.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Random } from '@virtkit/testing/suite';
import { readCorpus, writeCorpus } from './corpus.ts';
import { bundle, fuzzTarget, whyNot } from './jazzer.ts';
import { minimise } from './minimise.ts';
import { playRing } from './ring-guest.ts';
import type { FuzzTarget } from './target.ts';
import { TARGETS } from './targets.ts';
import { seedFolder, workFolder } from './work-folder.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '600' },
    steps: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: '1' },
  },
});
const [command = 'list', ...names] = positionals;
const chosen = names.length === 0 ? TARGETS : names.map(named);

function named(name: string): FuzzTarget {
  const target = TARGETS.find((each) => each.name === name);
  if (target === undefined)
    throw new Error(`no target "${name}"; there are ${TARGETS.map((t) => t.name).join(', ')}`);
  return target;
}

function found(target: FuzzTarget): Uint8Array[] {
  const folder = workFolder(target);
  return readdirSync(folder).map((name) => new Uint8Array(readFileSync(`${folder}${name}`)));
}

async function run(seconds: number): Promise<void> {
  const reason = whyNot();
  if (reason !== undefined) throw new Error(`the fuzzer does not run here: ${reason}`);
  await bundle();
  for (const target of chosen) {
    const report = await fuzzTarget(target, seedFolder(target), { cpuSeconds: seconds });
    console.log(
      [
        target.name,
        `${report.executions} executions`,
        `${report.cpuSeconds.toFixed(0)} s of CPU`,
        `coverage ${report.coverage}`,
        `${report.inputs} inputs`,
        `last new coverage after ${report.lastNewSeconds.toFixed(0)} s`,
        report.crash ?? 'no defect',
      ].join('; '),
    );
  }
}

async function keep(): Promise<void> {
  for (const target of chosen) {
    const before = [...readCorpus(target.name), ...target.seeds()];
    const all = [...before, ...found(target)].filter(({ length }) => length <= target.lengthMax);
    const kept = await minimise(target, all);
    writeCorpus(target.name, kept);
    const bytes = kept.reduce((sum, { length }) => sum + length, 0);
    console.log(`${target.name}: ${kept.length} of ${all.length} inputs kept, ${bytes} bytes`);
  }
}

/** Steps on one ring before another one, of another shape, is taken. */
const LIFE = 4000;

function steps(count: number, seed: number): void {
  const total = { steps: 0, chains: 0, faults: 0, moves: 0 };
  const began = process.cpuUsage();
  for (let n = 0; total.steps < count; n++) {
    const life = seed * 1_000_003 + n;
    try {
      const report = playRing(new Random(life), LIFE);
      for (const key of ['steps', 'chains', 'faults', 'moves'] as const) total[key] += report[key];
    } catch (error) {
      console.error(`life ${life}`);
      throw error;
    }
  }
  const { user, system } = process.cpuUsage(began);
  console.log(
    `${total.steps} steps, ${total.chains} chains, ${total.moves} moves, ${total.faults} rings broken and begun anew, in ${((user + system) / 1e6).toFixed(0)} s of CPU; no defect`,
  );
}

if (command === 'run') await run(Number(values.seconds));
else if (command === 'keep') await keep();
else if (command === 'steps') steps(Number(values.steps), Number(values.seed));
else if (command === 'list')
  for (const { name, about } of TARGETS)
    console.log(`${name}: ${about}; ${readCorpus(name).length} inputs kept`);
else throw new Error(`no command "${command}"`);
