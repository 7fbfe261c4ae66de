import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import { type MigrationStream, parseStream } from '@virtkit/migration';
import { pci } from '@virtkit/transport-pci';
import { describe, expect, test } from 'vitest';
import { type Difference, diffStreams } from '../src/index.ts';

const registry = { transports: [pci], devices: [net, blk] };

function read(name: string): MigrationStream {
  const file = new URL(`../../lab/streams/${name}.mig.gz`, import.meta.url);
  return parseStream(gunzipSync(readFileSync(file)));
}

function refused(a: string, b: string): string[] {
  return diffStreams(read(a), read(b), registry)
    .filter(({ weight }) => weight === 'refused')
    .map(({ path }: Difference) => path);
}

describe('diff', () => {
  test('a stream and itself', () => {
    const stream = read('7.2.22/q72-pc-idle');
    expect(diffStreams(stream, stream, registry)).toEqual([]);
  });

  test('only guest state differs between an idle and a running guest of one machine', () => {
    const differences = diffStreams(
      read('7.2.22/q72-pc-idle'),
      read('7.2.22/q72-pc-inflight-flush'),
      registry,
    );
    expect(differences.length).toBeGreaterThan(10);
    expect(
      differences.filter(({ weight, path }) => weight === 'refused' && path.startsWith('virtio')),
    ).toEqual([]);
  });

  test('without vectors: the byte that QEMU refuses first is among those that matter', () => {
    // get_pci_config_device: Bad config data: i=0x34
    expect(refused('7.2.22/q72-pc-idle', '7.2.22/q72-pc-novectors-io').join()).toContain('config[0x34]');
  });

  test('another machine type', () => {
    expect(refused('10.0.13/q100-q35-io', '10.0.13/q100-q35-72-io')).toContain('configuration / machine');
  });
});
