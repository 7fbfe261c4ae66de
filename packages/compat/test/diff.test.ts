import type { MigrationStream } from '@virtkit/migration';
import { describe, expect, test } from 'vitest';
import { type Difference, diffStreams } from '../src/index.ts';
import { readStream, registry, streamNames } from './corpus.ts';

function read(name: string): MigrationStream {
  return readStream(name.replace(/^.*\//, ''));
}

function refused(a: string, b: string): string[] {
  return diffStreams(read(a), read(b), registry)
    .filter(({ weight }) => weight === 'refused')
    .map(({ path }: Difference) => path);
}

describe('diff', () => {
  test.each(streamNames())('$name ($version) differs in nothing from itself', ({ name }) => {
    expect(diffStreams(read(name), read(name), registry)).toEqual([]);
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

  describe('a device with several sections', () => {
    const stream = read('7.2.22/q72-pc-idle');
    const [whole] = stream.sections.filter(({ header }) => header.idstr.endsWith('virtio-blk'));
    if (whole === undefined) throw new Error('no disk in the stream');
    const piece = (kind: 'start' | 'part' | 'end', size: number): typeof whole => ({
      header: { ...whole.header, idstr: 'spapr/htab', kind },
      offset: 0,
      body: new Uint8Array(size),
    });
    const withSections = (...sections: (typeof whole)[]): MigrationStream => ({ ...stream, sections });

    test('in pieces: how many, and how large, is state', () => {
      const short = withSections(piece('start', 4), piece('end', 8));
      const long = withSections(piece('start', 4), piece('part', 90), piece('end', 8));
      expect(diffStreams(long, short, registry)).toEqual([
        {
          path: 'spapr/htab',
          a: '102 bytes in 3 pieces',
          b: '12 bytes in 2 pieces',
          weight: 'state',
          reason: 'sent in pieces while the machine ran',
        },
      ]);
      expect(diffStreams(long, withSections(), registry)).toEqual([
        expect.objectContaining({ path: 'spapr/htab', a: 'present', weight: 'refused' }),
      ]);
      expect(diffStreams(withSections(), long, registry)).toEqual([
        expect.objectContaining({ path: 'spapr/htab', b: 'present', weight: 'state' }),
      ]);
    });

    test('twice: each is compared, and one more is one more', () => {
      const twice = withSections(whole, whole);
      expect(diffStreams(twice, twice, registry)).toEqual([]);
      expect(diffStreams(twice, withSections(whole), registry)).toEqual([
        expect.objectContaining({ a: 'present', weight: 'refused' }),
      ]);
      expect(diffStreams(withSections(whole), twice, registry)).toEqual([
        expect.objectContaining({ b: 'present', weight: 'state' }),
      ]);
    });
  });
});
