// A stream of 1 GiB through a pipe: CPU and peak memory of `virtkit inspect`, beside a bare loop that reads the same
// bytes, and QEMU's analyze-migration.py where ANALYZE_MIGRATION names it.
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { NullSink, RAM, type SectionHeader, StreamParser, StreamWriter } from '@virtkit/migration';

const PAGES = 262_144;
const directory = mkdtempSync(`${tmpdir()}/virtkit-bench-`);
const file = `${directory}/stream.mig`;

/** The device state of a real stream behind a gibibyte of made pages. */
function makeStream(): void {
  const source = gunzipSync(
    readFileSync(new URL('../../lab/streams/7.2.22/q72-pc-fullram-tiny.mig.gz', import.meta.url)),
  );
  const to = openSync(file, 'w');
  const writer = new StreamWriter((bytes, start, end) => void writeSync(to, bytes, start, end - start));
  class Copy extends NullSink {
    #page = new Uint8Array(4096).fill(0xa5);
    #inRam = false;
    override header(version: number): void {
      writer.header(version);
    }
    override configuration(value: Parameters<StreamWriter['configuration']>[0]): void {
      writer.configuration(value);
    }
    override section(header: SectionHeader): void {
      this.#inRam = header.idstr === 'ram';
      writer.section(header);
    }
    override ramSize(): void {
      writer.ramSize(BigInt(PAGES) * 4096n);
      writer.ramBlock({ name: 'pc.ram', length: PAGES * 4096 });
      for (let page = 0; page < PAGES; page++) {
        writer.ramPage(page === 0 ? RAM.PAGE : RAM.PAGE | RAM.CONTINUE, page * 4096, 0);
        writer.ramData(this.#page, 0, 4096);
      }
    }
    override ramMark(flags: number, offset: number): void {
      if (this.#inRam) writer.ramMark(flags, offset);
    }
    override body(bytes: Uint8Array): void {
      writer.body(bytes);
    }
    override footer(id: number): void {
      writer.footer(id);
    }
    override eof(): void {
      writer.eof();
    }
    override vmdesc(text: Uint8Array): void {
      writer.vmdesc(text);
    }
  }
  const parser = new StreamParser(new Copy());
  parser.push(source);
  parser.end();
  closeSync(to);
}

const REPORT = `data:text/javascript,${encodeURIComponent(
  "process.on('exit', () => { const u = process.resourceUsage(); process.stderr.write('\\nUSAGE ' + JSON.stringify({ cpu: (u.userCPUTime + u.systemCPUTime) / 1000, rss: u.maxRSS / 1024 })); })",
)}`;
const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
const bare = 'let n = 0; for await (const chunk of process.stdin) n += chunk.length; console.log(n);';
const bareSync =
  "const fs = require('node:fs'); const b = new Uint8Array(1 << 18); let n = 0; for (let c; (c = fs.readSync(0, b)) > 0; ) n += c; console.log(n);";
const commands = {
  'bare loop': ['--input-type=module', '-e', bare],
  'bare readSync': ['-e', bareSync],
  'virtkit inspect': [cli, 'inspect', '--json', '-'],
};

/** CPU milliseconds and peak MiB of a Node program that gets the stream through a pipe. */
function run(args: readonly string[]): { readonly cpu: number; readonly rss: number } {
  const quoted = ['--import', REPORT, ...args].map((arg) => `'${arg.replaceAll("'", "'\\''")}'`).join(' ');
  const done = spawnSync('sh', ['-c', `cat '${file}' | '${process.execPath}' ${quoted} > /dev/null`], {
    encoding: 'utf8',
  });
  const usage = /USAGE (.*)$/.exec(done.stderr)?.[1];
  if (usage === undefined) throw new Error(done.stderr);
  return JSON.parse(usage) as { cpu: number; rss: number };
}

try {
  makeStream();
  const results: Record<string, { cpu: number; rss: number }[]> = {};
  for (let round = 0; round < 5; round++) {
    for (const [name, args] of Object.entries(commands))
      results[name] = [...(results[name] ?? []), run(args)];
  }
  const median = (name: string, key: 'cpu' | 'rss'): number =>
    (results[name] ?? []).map((result) => result[key]).sort((a, b) => a - b)[2] ?? 0;
  console.log('1 GiB of RAM through a pipe, medians of 5 interleaved runs');
  for (const name of Object.keys(commands))
    console.log(
      `  ${name.padEnd(16)} ${median(name, 'cpu').toFixed(0)} ms CPU, ${median(name, 'rss').toFixed(0)} MiB peak`,
    );
  console.log(
    `  virtkit / bare loop: ${(median('virtkit inspect', 'cpu') / median('bare loop', 'cpu')).toFixed(2)}`,
  );
  const script = process.env['ANALYZE_MIGRATION'];
  if (script !== undefined) {
    const start = process.hrtime.bigint();
    const done = spawnSync('python3', [script, '-f', file, '-d', 'desc'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    console.log(
      `  analyze-migration.py (from the file): ${Number(process.hrtime.bigint() - start) / 1e6} ms wall, exit ${done.status}`,
    );
  }
} finally {
  rmSync(directory, { recursive: true });
}
