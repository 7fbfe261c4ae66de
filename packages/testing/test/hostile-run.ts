/**
 * node --import tsx --conditions=@virtkit/source test/hostile-run.ts [--operations 10000000] [--seed 1] [--changing] [part of a name]...
 *
 * Hostile guests, as many operations as are asked for over all targets, and what it took. With --changing their memory
 * changes while devices read it.
 */
import { parseArgs } from 'node:util';
import { HOSTILE } from './hostile-targets.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    operations: { type: 'string', default: '10000000' },
    seed: { type: 'string', default: '1' },
    changing: { type: 'boolean', default: false },
  },
});

const MIB = 2 ** 20;
const chosen = HOSTILE.filter(({ name }) => positionals.every((word) => name.includes(word)));
const each = Math.ceil(Number(values.operations) / chosen.length);
const began = performance.now();
const total = { operations: 0, lives: 0, faults: 0, moves: 0, refused: 0 };
let hardest = 0;
let hardestName = '';
let [heap, resident] = [0, 0];
const reasons = new Set<string>();
const refusals = new Set<string>();
const watch = (): void => {
  const { heapUsed, external, rss } = process.memoryUsage();
  heap = Math.max(heap, heapUsed + external);
  resident = Math.max(resident, rss);
};
for (const { name, run } of chosen) {
  const start = performance.now();
  const report = await run(each, Number(values.seed), { onProgress: watch, changing: values.changing });
  watch();
  const seconds = (performance.now() - start) / 1000;
  console.log(
    `${name}: ${report.operations} operations in ${seconds.toFixed(1)} s, ${report.lives} lives, ${report.faults} faults, ` +
      `${report.moves} moves (${report.refused} refused), hardest ${report.hardest} steps (${report.hardestName})`,
  );
  for (const key of ['operations', 'lives', 'faults', 'moves', 'refused'] as const) total[key] += report[key];
  if (report.hardest > hardest) [hardest, hardestName] = [report.hardest, `${report.hardestName}, ${name}`];
  for (const reason of report.reasons) reasons.add(reason);
  for (const refusal of report.refusals) refusals.add(refusal);
}
const seconds = (performance.now() - began) / 1000;
console.log(
  `\n${total.operations} operations in ${seconds.toFixed(0)} s: ${total.lives} lives, ${total.faults} faults of ${reasons.size} kinds, ` +
    `${total.moves} moves (${total.refused} refused); hardest operation ${hardest} accesses and bytes (${hardestName}); ` +
    `heap and buffers at most ${(heap / MIB).toFixed(0)} MiB, process ${(resident / MIB).toFixed(0)} MiB`,
);
console.log(`${[...reasons].sort().join('\n')}\n\nrefused:\n${[...refusals].sort().join('\n')}`);
