// Runs Jazzer.js, which is libFuzzer in Node, over one target.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { FuzzTarget } from './target.ts';

const HERE = fileURLToPath(new URL('..', import.meta.url));
const BUNDLE = `${HERE}dist/targets.js`;

/** Report of what came of fuzzing one target. */
export interface FuzzReport {
  readonly executions: number;
  /** Edges of the code that were reached. */
  readonly coverage: number;
  readonly inputs: number;
  /** Processor time, without that of loading the sources. */
  readonly cpuSeconds: number;
  /** Time at which an edge was reached for the first time, last: seconds of processor time from the beginning. */
  readonly lastNewSeconds: number;
  /** The first line of what was thrown, and the file with the input. */
  readonly crash?: string;
}

/** Puts all targets and the sources of the packages into one file. */
export async function bundle(): Promise<void> {
  const { status } = spawnSync(process.execPath, [binary('tsup', 'dist/cli-default.js')], {
    cwd: HERE,
    stdio: 'ignore',
  });
  if (status !== 0) throw new Error('tsup failed: run it in packages/fuzz to see why');
}

function binary(name: string, path: string): string {
  const require = createRequire(import.meta.url);
  return `${dirname(require.resolve(`${name}/package.json`))}/${path}`;
}

/** The program and its first arguments: Node, with the C library of another system if that is asked for. */
function node(): [string, ...string[]] {
  const root = process.env['VIRTKIT_FUZZ_ROOT'];
  if (root === undefined) return [process.execPath];
  const loader = `${root}/lib64/ld-linux-x86-64.so.2`;
  const folders = [`${root}/usr/lib/x86_64-linux-gnu`, `${root}/lib/x86_64-linux-gnu`].filter((path) =>
    existsSync(path),
  );
  return [loader, '--library-path', folders.join(':'), process.execPath];
}

/** Says why the fuzzer cannot run on this system; undefined if it can. */
export function whyNot(): string | undefined {
  const [program, ...first] = node();
  const { status, stderr, error } = spawnSync(program, [...first, '-e', "require('@jazzer.js/core')"], {
    cwd: HERE,
    encoding: 'utf8',
  });
  if (status === 0) return undefined;
  const said = stderr?.split('\n').find((line) => /Error: /.test(line));
  return said ?? error?.message ?? `it ends with status ${status}`;
}

/** libFuzzer's dictionary: a quoted word a line. */
function dictionary(target: FuzzTarget): string[] {
  const { words = [], name } = target;
  if (words.length === 0) return [];
  const quoted = words.map((word) => {
    const bytes = typeof word === 'string' ? Buffer.from(word, 'latin1') : word;
    return `"${[...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}"`;
  });
  const path = `${HERE}.fuzz/${name}.dict`;
  writeFileSync(path, `${quoted.join('\n')}\n`);
  return [`-dict=${path}`];
}

/** Clock ticks of Linux in a second: `sysconf(_SC_CLK_TCK)`. */
const TICKS = 100;

/** Processor time that a process has used; undefined if it is gone. Linux: proc(5), fields 14 and 15 of `stat`. */
function cpuSeconds(pid: number | undefined): number | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS;
  } catch {
    return undefined;
  }
}

/** Time for which a target is fuzzed: seconds of the clock, or of processor time, which a busy machine gives late. */
export type FuzzTime = { readonly seconds: number } | { readonly cpuSeconds: number };

/** Longest time of the clock for one input. How much processor time an input may take is judged by `instrumented.ts`. */
const HANGS_MS = 300_000;

export async function fuzzTarget(target: FuzzTarget, folder: string, time: FuzzTime): Promise<FuzzReport> {
  const crashes = `${HERE}.fuzz/crashes/`;
  mkdirSync(crashes, { recursive: true });
  const sync = target.run.constructor.name === 'AsyncFunction' ? [] : ['--sync'];
  const [program, ...first] = node();
  const child = spawn(
    program,
    [
      ...first,
      binary('@jazzer.js/core', 'dist/cli.js'),
      BUNDLE,
      folder,
      ...sync,
      '--disableBugDetectors',
      '.*',
      `--timeout=${HANGS_MS}`,
      '-i',
      'dist/targets',
      '--',
      ...('seconds' in time ? [`-max_total_time=${time.seconds}`] : []),
      `-max_len=${target.lengthMax}`,
      '-rss_limit_mb=4096',
      '-print_final_stats=1',
      `-artifact_prefix=${crashes}${target.name}-`,
      ...dictionary(target),
    ],
    {
      cwd: HERE,
      env: { ...process.env, VIRTKIT_FUZZ_TARGET: target.name },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const report = {
    executions: 0,
    coverage: 0,
    inputs: 0,
    cpuSeconds: 0,
    lastNewSeconds: 0,
    crash: undefined as string | undefined,
  };
  /** Processor time at which the sources were loaded, and inputs are run. */
  let loaded: number | undefined;
  const used = (): number => {
    const now = cpuSeconds(child.pid);
    if (now !== undefined && loaded !== undefined) report.cpuSeconds = now - loaded;
    return report.cpuSeconds;
  };
  const read = async (stream: NodeJS.ReadableStream): Promise<void> => {
    for await (const line of createInterface({ input: stream })) {
      if (line.startsWith('INFO: seed corpus')) loaded ??= cpuSeconds(child.pid);
      const [, executions, cov, inputs] = /^#(\d+)\s.*cov: (\d+).*corp: (\d+)/.exec(line) ?? [];
      if (executions !== undefined) {
        if (Number(cov) > report.coverage) report.lastNewSeconds = used();
        Object.assign(report, {
          executions: Number(executions),
          coverage: Number(cov),
          inputs: Number(inputs),
        });
      } else if (/^(==\d+==|\S*Error: |ALARM)/.test(line) && report.crash === undefined) report.crash = line;
    }
  };
  const watch = setInterval(() => {
    if ('cpuSeconds' in time && used() >= time.cpuSeconds) child.kill('SIGINT');
  }, 1000);
  await Promise.all([
    read(child.stdout),
    read(child.stderr),
    new Promise((resolve) => child.on('close', resolve)),
  ]);
  clearInterval(watch);
  const files = readdirSync(crashes).filter((name) => name.startsWith(`${target.name}-`));
  const { crash, ...rest } = report;
  return {
    ...rest,
    ...((crash ?? files[0]) !== undefined && { crash: `${crash ?? 'crashed'} (${files.join(', ')})` }),
  };
}
