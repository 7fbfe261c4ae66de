// By hand: asks real QEMUs about the command lines of command-lines.ts, and writes what they decided. What is recorded already
// is kept; remove the file to ask again.
//
//   node --import tsx --conditions=@virtkit/source test/record-command-lines.ts
//
// VIRTKIT_QEMU_ROOTS=dir:dir: QEMUs of other Debian releases, in chroots.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';
import { findQemus } from '@virtkit/lab';
import { GROUPS } from './command-lines.ts';
import { loadInto, streamOf } from './qemu-lines.ts';

interface Recorded {
  readonly version: string;
  readonly source: string;
  /** A character a byte. */
  readonly stream: string;
  readonly loads: {
    readonly what: string;
    readonly line: string;
    readonly ok: boolean;
    readonly stderr: string;
  }[];
}

const file = new URL('data/command-lines.json.br', import.meta.url);
const recorded: Recorded[] = existsSync(file)
  ? JSON.parse(brotliDecompressSync(readFileSync(file)).toString())
  : [];
for (const { arch, source, cases } of GROUPS) {
  for (const [version, binary] of findQemus(arch)) {
    if (version === '5.2') continue;
    const before = recorded.findIndex((each) => each.version === version && each.source === source);
    const stream =
      before >= 0 ? Buffer.from(recorded[before]?.stream ?? '', 'latin1') : await streamOf(binary, source);
    const known = new Map(recorded[before]?.loads.map((load) => [load.line, load]));
    const loads: Recorded['loads'] = [];
    for (const [what, line] of cases) {
      const old = known.get(line);
      if (old !== undefined) {
        loads.push({ ...old, what });
        continue;
      }
      const { result, stderr } = await loadInto(binary, line, stream);
      if (result === 'start') console.log(`${version}, ${what}: not started: ${stderr.trim()}`);
      else loads.push({ what, line, ok: result === 'loads', stderr: stderr.trim().slice(-600) });
    }
    const record = { version, source, stream: stream.toString('latin1'), loads };
    if (before >= 0) recorded[before] = record;
    else recorded.push(record);
    writeFileSync(
      file,
      brotliCompressSync(JSON.stringify(recorded), {
        // the streams have the firmware in common
        params: { [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_QUALITY]: 9 },
      }),
    );
    console.log(`${version} ${arch}: ${loads.length} loads, ${loads.filter(({ ok }) => !ok).length} refused`);
  }
}
