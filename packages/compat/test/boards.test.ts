// Random machines with devices that are not virtio, of four versions of QEMU: what `check` says is what a real QEMU did.
import { readFileSync } from 'node:fs';
import { findQemu } from '@virtkit/lab';
import { acceptVirtio, parseStream } from '@virtkit/migration';
import { describe, expect, test } from 'vitest';
import { cpuNumbers } from '../src/destination/topology.ts';
import { type Answer, answerOf, checkStream, parseTarget } from '../src/index.ts';
import { type RecordedLoad, unpacked } from './boards.ts';
import { registry } from './corpus.ts';
import { loadInto, streamOf } from './qemu-lines.ts';

const { streams, loads } = unpacked(readFileSync(new URL('data/boards.json.br', import.meta.url)));

function answer(stream: Uint8Array, version: string, commandLine: string): { answer: Answer; why: string } {
  const target = parseTarget(`qemu-${version}`, { commandLine });
  const verdicts = checkStream(parseStream(stream, { accepts: acceptVirtio(registry) }), target, registry);
  return { answer: answerOf(verdicts), why: `${commandLine}\n${JSON.stringify(verdicts, undefined, 1)}` };
}

const said = loads.map((load: RecordedLoad) => {
  const stream = Buffer.from(streams[load.stream] ?? '', 'latin1');
  return { load, ...answer(stream, load.to, load.line) };
});

test('no answer is the opposite of what QEMU did', () => {
  expect(said.length).toBeGreaterThan(100);
  for (const { load, answer: given, why } of said) {
    const opposite = load.ok ? 'refused' : 'loads';
    expect(given, `${load.from} to ${load.to}: ${load.stderr}\n${why}`).not.toBe(opposite);
  }
});

test('hardly any answer is left open', () => {
  const open = said.filter(({ answer: given }) => given === 'unknown' || given === 'depends');
  expect(open.length / said.length).toBeLessThan(0.1);
});

const FLASH = '-drive if=pflash,unit=0,format=raw,readonly=on,file.driver=null-co,file.read-zeroes=on';
const SOURCE =
  'qemu-system-x86_64 -machine q35,usb=on -accel tcg -m 32 -nodefaults -no-user-config -smp 4 -device usb-hub -device tulip';

/** What is replaced by what in the source's line, and whether QEMU loads. */
const CASES: readonly (readonly [what: string, from: string, to: string, ok: boolean])[] = [
  ['the same', '', '', true],
  ['fewer CPUs', '-smp 4', '-smp 2', false],
  ['as many CPUs in sockets', '-smp 4', '-smp 4,sockets=4,cores=1,threads=1', true],
  ['as many CPUs, with other APIC ids', '-smp 4', '-smp 4,maxcpus=6,sockets=2,cores=3', false],
  ['no hub, and no other device with a place', '-device usb-hub -device tulip', '', false],
  ['firmware in flash memory', '-smp', `${FLASH},file.size=2M -smp`, false],
];

const binary = findQemu('x86_64');
if (binary === undefined) console.warn('SKIPPED: machines by hand, for there is no QEMU');

describe.skipIf(binary === undefined)('a real QEMU', () => {
  let stream: Promise<Buffer> | undefined;
  test.each(CASES)('%s', { timeout: 90_000 }, async (_, from, to, ok) => {
    if (binary === undefined) return;
    stream ??= streamOf(binary, SOURCE);
    const line = SOURCE.replace(from, to);
    const { result, stderr } = await loadInto(binary, line, await stream);
    expect(result, stderr).toBe(ok ? 'loads' : 'refused');
    const version = binary.version.split('.').slice(0, 2).join('.');
    const checked = answer(await stream, version, line);
    expect(checked.answer, checked.why).toBe(result);
  });
});

test('of more CPUs than a machine can have, 8192 are listed', () => {
  expect(cpuNumbers(new Map(), 'pc-q35-10.0', 4_000_000_000, []).indices.size).toBe(8192);
});

test('the size of firmware in flash memory is asked for where no one says it', () => {
  const load = said.find(({ load: { line, ok } }) => ok && line.includes('if=pflash'))?.load;
  expect(load).toBeDefined();
  if (load === undefined) return;
  const stream = Buffer.from(streams[load.stream] ?? '', 'latin1');
  const line = load.line.replaceAll(
    /file\.driver=null-co,file\.read-zeroes=on,file\.size=\w+/g,
    'file=/fw.fd',
  );
  expect(answer(stream, load.to, line).answer).toBe('depends');
});
