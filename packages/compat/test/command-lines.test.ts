// A command line is read as QEMU reads it: what real QEMUs decided over forms of the same machine, and of other ones.
import { readFileSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';
import { findQemu, type QemuArch } from '@virtkit/lab';
import { acceptVirtio, parseStream } from '@virtkit/migration';
import { describe, expect, test } from 'vitest';
import { answerOf, checkStream, parseTarget } from '../src/index.ts';
import { GROUPS } from './command-lines.ts';
import { registry } from './corpus.ts';
import { loadInto } from './qemu-lines.ts';

interface Recorded {
  readonly version: string;
  readonly source: string;
  readonly stream: string;
  readonly loads: readonly {
    readonly what: string;
    readonly line: string;
    readonly ok: boolean;
    readonly stderr: string;
  }[];
}

const recorded = JSON.parse(
  brotliDecompressSync(readFileSync(new URL('data/command-lines.json.br', import.meta.url))).toString(),
) as Recorded[];

describe.each(recorded)('QEMU $version: $source', ({ version, stream, loads }) => {
  const bytes = Buffer.from(stream, 'latin1');
  test.each(loads)('$what: loads: $ok', ({ line, ok, stderr }) => {
    const target = parseTarget(`qemu-${version}`, { commandLine: line });
    const verdicts = checkStream(parseStream(bytes, { accepts: acceptVirtio(registry) }), target, registry);
    expect(answerOf(verdicts), `${line}\n${stderr}\n${JSON.stringify(verdicts, undefined, 1)}`).toBe(
      ok ? 'loads' : 'refused',
    );
  });
});

test('what is recorded is what is in the table', () => {
  const lines = new Set(GROUPS.flatMap(({ cases }) => cases.map(([, line]) => line)));
  for (const { loads } of recorded) for (const { line } of loads) expect(lines).toContain(line);
  for (const { source } of GROUPS) expect(recorded.map((each) => each.source)).toContain(source);
});

const here = new Map<QemuArch, ReturnType<typeof findQemu>>();
for (const arch of new Set(GROUPS.map((group) => group.arch))) here.set(arch, findQemu(arch));

describe.each(GROUPS)('a real QEMU decides the same: $source', ({ arch, source }) => {
  const binary = here.get(arch);
  const version = binary?.version.split('.').slice(0, 2).join('.');
  const record = recorded.find((each) => each.source === source && each.version === version);
  if (binary === undefined || record === undefined)
    console.warn(`SKIPPED: command lines of ${arch}, for there is no QEMU whose answers are recorded`);
  test.skipIf(record === undefined).each(record?.loads ?? [])(
    '$what: loads: $ok',
    { timeout: 90_000 },
    async (load) => {
      if (binary === undefined || record === undefined) return;
      const { result, stderr } = await loadInto(binary, load.line, Buffer.from(record.stream, 'latin1'));
      expect(result, stderr).toBe(load.ok ? 'loads' : 'refused');
    },
  );
});
