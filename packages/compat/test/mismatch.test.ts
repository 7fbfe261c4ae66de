import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import { otherDevices } from '@virtkit/device-states';
import { acceptVirtio, StreamCollector, StreamParser } from '@virtkit/migration';
import { ccw } from '@virtkit/transport-ccw';
import { mmio } from '@virtkit/transport-mmio';
import { pci } from '@virtkit/transport-pci';
import { isStateError, type StateError } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import { checkStream, parseTarget, unreadable, type Verdict } from '../src/index.ts';

const registry = { transports: [pci, ccw, mmio], devices: [net, blk, ...otherDevices] };
const corpus = new URL('../../lab/streams/', import.meta.url);

interface Load {
  readonly case: string;
  readonly dest: string;
  /** What was other than at the source, in words. */
  readonly change: string;
  readonly ok: boolean;
  readonly stderr: string;
}

/** What QEMU decided where the destination's command line, or the stream, was changed. */
const loads = JSON.parse(
  gunzipSync(readFileSync(new URL('data/mismatches.json.gz', import.meta.url))).toString(),
) as Load[];
const QEMU: Readonly<Record<string, string>> = { 72: 'qemu-7.2', 100: 'qemu-10.0', 111: 'qemu-11.1' };

function read(name: string): { stream: Buffer; commandLine: readonly string[] } {
  const version = readdirSync(corpus).find((each) => existsSync(new URL(`${each}/${name}.mig.gz`, corpus)));
  const file = (suffix: string): Buffer => readFileSync(new URL(`${version}/${name}${suffix}`, corpus));
  const info = JSON.parse(file('.json').toString()) as { command_line: readonly string[] };
  return { stream: gunzipSync(file('.mig.gz')), commandLine: info.command_line };
}

/** The destination's command line, from the source's and the words for the change. */
function changed(words: readonly string[], change: string): string[] {
  const isDevice = (index: number): boolean => words[index - 1] === '-device';
  const has = (word: string, id: string): boolean => word.split(',').includes(`id=${id}`);
  const without = (id: string): string[] =>
    words.filter((word, at) => {
      const gone = (at: number): boolean => isDevice(at) && has(words[at] ?? '', id);
      return !gone(at) && !(word === '-device' && gone(at + 1));
    });
  const [, to, from] = /^dest: '(.*)' instead of '(.*)'$/.exec(change) ?? [];
  if (to !== undefined && from !== undefined) return words.map((word) => word.replace(from, to));
  const [, device = '', more] = /^dest: (\w+) has (.*)$/.exec(change) ?? [];
  if (more !== undefined)
    return words.map((word, at) => (isDevice(at) && has(word, device) ? `${word},${more}` : word));
  const [, gone] = /^dest: without device (\w+)$/.exec(change) ?? [];
  if (gone !== undefined) return without(gone);
  const [, other, place = ''] = /^dest: (.*) in place of device (\w+)$/.exec(change) ?? [];
  if (other !== undefined) return words.map((word, at) => (isDevice(at) && has(word, place) ? other : word));
  const [, added] = /^dest: additional -device (.*)$/.exec(change) ?? [];
  if (added !== undefined) return [...words, '-device', added];
  if (change.startsWith('dest: devices')) {
    const places = words.flatMap((word, at) => (isDevice(at) && /^virtio-(blk|net)/.test(word) ? [at] : []));
    return words
      .map((word, at) => words[places[1 - places.indexOf(at)] ?? -1] ?? word)
      .map((word, at) => (places.includes(at) ? word : (words[at] ?? '')));
  }
  const [, into] = /^into QEMU 11.1.2 with (.*)$/.exec(change) ?? [];
  if (into !== undefined) return without('net0').map((word) => (word.startsWith('virtio-blk') ? into : word));
  return [...words];
}

/** The stream with what was done to it. */
function damaged(stream: Buffer, change: string): Buffer {
  const copy = Buffer.from(stream);
  const name = copy.indexOf('0000:00:02.0/virtio-blk');
  if (change.startsWith('stream cut in')) return copy.subarray(0, name + 300);
  if (change.startsWith('stream cut before'))
    return copy.subarray(
      0,
      copy.indexOf('{"configuration"') >= 0
        ? copy.indexOf('{"configuration"') - 5
        : copy.lastIndexOf('{"page_size"') - 5,
    );
  if (change.startsWith('first byte')) copy[0] = 0x50;
  if (change === 'version 4') copy.writeUInt32BE(4, 4);
  if (change.startsWith('one byte')) copy[name + '0000:00:02.0/virt'.length] = 'X'.charCodeAt(0);
  return copy;
}

/** As the command does it: a stream that cannot be read is not loaded either. */
function check(load: Load): { refused: readonly Verdict[]; verdicts: readonly Verdict[] } {
  const { stream, commandLine } = read(load.case);
  const capabilities = load.change.startsWith('capability') ? '' : 'x-ignore-shared';
  const target = parseTarget(`${QEMU[load.dest]},capabilities=${capabilities}`, {
    commandLine: changed(commandLine, load.change),
  });
  const collector = new StreamCollector();
  const parser = new StreamParser(collector, { accepts: acceptVirtio(registry) });
  let broken: StateError | undefined;
  try {
    parser.push(damaged(stream, load.change));
    parser.end();
  } catch (error) {
    if (!isStateError(error)) throw error;
    broken = error;
  }
  const found = checkStream(collector.partial(), target, registry);
  const verdicts = broken === undefined ? found : [...found, unreadable(broken)];
  return { refused: verdicts.filter(({ severity }) => severity === 'refused'), verdicts };
}

describe('check says what the QEMU itself decided about a destination that is not as the source was', () => {
  for (const [index, load] of loads.entries()) {
    test(`${index} ${load.case} into ${load.dest}, ${load.change}: ${load.ok ? 'loads' : 'refused'}`, () => {
      const { refused, verdicts } = check(load);
      expect(refused.length > 0, JSON.stringify(verdicts, undefined, 1)).toBe(!load.ok);
      // and for the reason that it gave, in its words: the first one in the stream's order
      const [first] = refused;
      if (first === undefined) return;
      // QEMU reads zeros behind the end of its file, and complains about those
      if (first.code === 'truncated') expect(load.change).toMatch(/^stream cut/);
      else expect(load.stderr).toContain(first.qemuSays);
    });
  }
});
