// Devices other than disks and cards at destinations that were made differently: what real QEMUs decided, recorded by
// record-others.ts, and what `checkStream` and `explain` say.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import { otherDevices } from '@virtkit/device-states';
import { acceptVirtio, parseStream, type Registry } from '@virtkit/migration';
import { mmio } from '@virtkit/transport-mmio';
import { pci } from '@virtkit/transport-pci';
import { describe, expect, test } from 'vitest';
import { checkStream, explain, parseTarget, type Verdict } from '../src/index.ts';
import type { Recorded } from './record-others.ts';

const registry: Registry = { transports: [pci, mmio], devices: [net, blk, ...otherDevices] };
const corpus = new URL('../../lab/streams/', import.meta.url);

const loads = JSON.parse(
  gunzipSync(readFileSync(new URL('data/others.json.gz', import.meta.url))).toString(),
) as Recorded[];

function verdictsFor({ case: name, dest, commandLine }: Recorded): Verdict[] {
  const version = readdirSync(corpus).find((each) => existsSync(new URL(`${each}/${name}.mig.gz`, corpus)));
  const bytes = gunzipSync(readFileSync(new URL(`${version}/${name}.mig.gz`, corpus)));
  const target = parseTarget(`qemu-${dest.split('.').slice(0, 2).join('.')},capabilities=x-ignore-shared`, {
    commandLine,
  });
  return checkStream(parseStream(bytes, { accepts: acceptVirtio(registry) }), target, registry);
}

/** What the log says, without what comes of the guest's memory being empty in these loads. */
function causeLines(stderr: string): string {
  return stderr
    .split('\n')
    .filter((line) => !/Guest index 0x0 inconsistent|warning:/.test(line))
    .join('\n');
}

describe.each([...new Set(loads.map((load) => load.case))])('%s', (name) => {
  test.each(loads.filter((load) => load.case === name))('into $dest, $change: $ok', (load) => {
    const refused = verdictsFor(load).filter(({ severity }) => severity === 'refused');
    if (load.ok) expect(refused).toEqual([]);
    else expect(refused).not.toEqual([]);
    if (load.ok) return;
    const log = causeLines(load.stderr);
    expect(
      explain(log).filter(({ role }) => role === 'cause'),
      log,
    ).not.toEqual([]);
    // QEMU's words are among those that were foretold
    const said = refused.flatMap(({ qemuSays }) => (qemuSays === undefined ? [] : [qemuSays]));
    expect(
      said.some((words) => foretold(words, log)),
      `${said.join('; ')}\n${log}`,
    ).toBe(true);
  });
});

/** Features are told as far as a stream tells them: the guest's, and not what the target would allow. */
function foretold(words: string, log: string): boolean {
  return log.includes(words.replace(/ Allowed features: .*/, ''));
}

test('there are loads of all three versions, with both outcomes', () => {
  const kinds = new Set(loads.map(({ dest, ok }) => `${dest.split('.')[0]} ${ok}`));
  expect([...kinds].sort()).toEqual(['10 false', '10 true', '11 false', '11 true', '7 false', '7 true']);
});
