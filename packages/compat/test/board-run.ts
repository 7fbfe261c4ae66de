// By hand: random machines with devices that are not virtio, in real QEMUs; their streams loaded into others, whose command line is
// a little different or written in another way; and `check` asked before. Prints each load over which they disagree, and counts.
//
//   node --import tsx --conditions=@virtkit/source test/board-run.ts [--count 100] [--seed 1] [--record]
//
// With --record, what QEMU decided is added to data/boards.json.br. VIRTKIT_QEMU_ROOTS=dir:dir: QEMUs of other Debian releases, in chroots.
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { findQemus } from '@virtkit/lab';
import { acceptVirtio, parseStream } from '@virtkit/migration';
import { answerOf, checkStream, parseTarget } from '../src/index.ts';
import { changedMachine, lineOf, type Machine, randomMachine, restyled } from './board-lines.ts';
import { packed, unpacked, withoutPages } from './boards.ts';
import { registry } from './corpus.ts';
import { loadInto, streamOf } from './qemu-lines.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    record: { type: 'boolean', default: false },
  },
});

const FILE = new URL('data/boards.json.br', import.meta.url);
const { streams, loads } = unpacked(readFileSync(FILE));
const recorded = { streams: [...streams], loads: [...loads] };

const binaries = findQemus('x86_64');
const versions = [...binaries.keys()];

/** The machine without the part that QEMU does not take; undefined: which one that is, it does not say. */
function without(machine: Machine, stderr: string): Machine | undefined {
  const found = [...stderr.matchAll(/: (-\w+) (\S+): /g)].at(-1);
  const driver = found?.[2]?.match(/(?:^|,|"driver":")(?:driver=)?([a-zA-Z][\w-]+)/)?.[1] ?? '';
  const parts = machine.parts.filter((part) => !part.includes(found?.[2] ?? '\0'));
  if (parts.length < machine.parts.length) return { ...machine, parts };
  const others = machine.parts.filter((part) => driver === '' || !part.includes(driver));
  if (others.length < machine.parts.length) return { ...machine, parts: others };
  return machine.options.length > 0 ? { ...machine, options: [] } : undefined;
}

const counts = new Map<string, number>();
const reasons = new Map<string, number>();
const count = (what: string, into = counts): void => void into.set(what, (into.get(what) ?? 0) + 1);

for (let round = 0; round < Number(values.count); round++) {
  let state = (Math.imul(Number(values.seed) * 100_003 + round, 2654435761) ^ 0x5bd1e995) >>> 0;
  const below = (most: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * most);
  };
  below(2);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  const from = pick(versions);
  const machine = randomMachine(below, '');
  const others = [pick(versions), pick(versions)];
  const oldest = [from, ...others].sort((a, b) => Number(a) - Number(b))[0] ?? from;
  const type = `${pick(['pc-i440fx', 'pc-q35'])}-${pick([oldest, oldest, '5.2'])}`;
  const binary = binaries.get(from);
  if (binary === undefined) continue;
  let source: Machine = { ...machine, type };
  let stream: Buffer | undefined;
  for (let attempt = 0; attempt < 8 && stream === undefined; attempt++) {
    try {
      stream = await streamOf(binary, lineOf(source));
    } catch (error) {
      const fewer = without(source, String(error));
      if (fewer === undefined) {
        break;
      }
      source = fewer;
    }
  }
  const sourceLine = lineOf(source);
  if (stream === undefined) {
    count('no stream');
    continue;
  }
  const before = recorded.loads.length;
  for (const to of others) {
    const target = binaries.get(to);
    if (target === undefined) continue;
    let changed = changedMachine(below, source);
    let [line, result, stderr] = ['', 'start', ''];
    for (let attempt = 0; attempt < 6 && result === 'start'; attempt++) {
      line = restyled(lineOf(changed), below);
      ({ result, stderr } = await loadInto(target, line, stream));
      const fewer = result === 'start' ? without(changed, stderr) : undefined;
      if (fewer === undefined) break;
      changed = fewer;
    }
    if (result === 'start') {
      count('not started');
      continue;
    }
    const verdicts = checkStream(
      parseStream(stream, { accepts: acceptVirtio(registry) }),
      parseTarget(`qemu-${to}`, { commandLine: line }),
      registry,
    );
    const answer = answerOf(verdicts);
    recorded.loads.push({
      stream: recorded.streams.length,
      from,
      to,
      line,
      ok: result === 'loads',
      stderr: stderr.slice(-300),
    });
    count(`QEMU ${result}, check ${answer}`);
    for (const { severity, reason } of verdicts)
      if (severity === 'unknown' || severity === 'depends') count(`${severity}: ${reason}`, reasons);
    if (answer === result || answer === 'unknown' || answer === 'depends') continue;
    console.log(`\n#${round} ${from} → ${to}: QEMU ${result}, check says ${answer}`);
    console.log(`  source: ${sourceLine}\n  target: ${line}`);
    console.log(`  QEMU: ${stderr.trim().split('\n').slice(-6).join('\n        ')}`);
    for (const { severity, path, reason } of verdicts)
      if (severity === 'refused') console.log(`  check: ${path}: ${reason}`);
  }
  if (recorded.loads.length > before) recorded.streams.push(withoutPages(stream).toString('latin1'));
}
if (values.record) writeFileSync(FILE, packed(recorded));
console.log('\n', Object.fromEntries(counts));
console.log([...reasons].sort((a, b) => b[1] - a[1]).slice(0, 40));
