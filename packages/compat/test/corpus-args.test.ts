import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import { otherDevices } from '@virtkit/device-states';
import { parseStream } from '@virtkit/migration';
import { ccw } from '@virtkit/transport-ccw';
import { mmio } from '@virtkit/transport-mmio';
import { pci } from '@virtkit/transport-pci';
import { describe, expect, test } from 'vitest';
import { checkStream, parseTarget } from '../src/index.ts';

const registry = { transports: [pci, ccw, mmio], devices: [net, blk, ...otherDevices] };
const corpus = new URL('../../lab/streams/', import.meta.url);

interface Info {
  readonly command_line?: readonly string[];
}

const files = readdirSync(corpus).flatMap((version) =>
  readdirSync(new URL(`${version}/`, corpus))
    .filter((file) => file.endsWith('.mig.gz'))
    .map((file) => [version, file.slice(0, -'.mig.gz'.length)] as const),
);

describe('a QEMU loads its own stream with its own command line', () => {
  for (const [version, name] of files) {
    const at = (suffix: string): Buffer => readFileSync(new URL(`${version}/${name}${suffix}`, corpus));
    const { command_line: commandLine } = JSON.parse(at('.json').toString()) as Info;
    if (commandLine === undefined) continue;
    test(`${version}/${name}`, () => {
      const stream = parseStream(gunzipSync(at('.mig.gz')));
      // a Linux whose taps have all that guests used
      const target = parseTarget(`qemu-${version}`, { commandLine, hostKernel: '6.17' });
      const verdicts = checkStream(stream, target, registry);
      const refused = verdicts.filter(({ severity }) => severity === 'refused' || severity === 'unknown');
      // what QEMU writes of packed rings it cannot read
      const own = /packed.*inflight|throttled-packed/.test(name) ? 'request-layout' : undefined;
      expect(refused.filter(({ code }) => code !== own)).toEqual([]);
    });
  }
});
