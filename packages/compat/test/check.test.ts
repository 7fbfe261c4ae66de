import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import { otherDevices } from '@virtkit/device-states';
import { type MigrationStream, parseStream } from '@virtkit/migration';
import { ccw } from '@virtkit/transport-ccw';
import { mmio } from '@virtkit/transport-mmio';
import { pci } from '@virtkit/transport-pci';
import { describe, expect, test } from 'vitest';
import { checkRoms } from '../src/check/check-destination.ts';
import { checkStream, parseTarget } from '../src/index.ts';

const registry = { transports: [pci, ccw, mmio], devices: [net, blk, ...otherDevices] };
const corpus = new URL('../../lab/streams/', import.meta.url);

interface Load {
  readonly case: string;
  readonly dest: string;
  readonly ok: boolean;
  readonly stderr: string;
}

/** What QEMU 7.2, 10.0 and 11.1 decided over real streams with an unchanged command line. */
const loads = JSON.parse(
  gunzipSync(readFileSync(new URL('data/loads.json.gz', import.meta.url))).toString(),
) as Load[];
const QEMU: Readonly<Record<string, string>> = { 72: 'qemu-7.2', 100: 'qemu-10.0', 111: 'qemu-11.1' };

function read(name: string): MigrationStream {
  const version = readdirSync(corpus).find((each) => existsSync(new URL(`${each}/${name}.mig.gz`, corpus)));
  return parseStream(gunzipSync(readFileSync(new URL(`${version}/${name}.mig.gz`, corpus))));
}

describe('check says what the QEMU itself decided', () => {
  for (const load of loads) {
    test(`${load.case} into ${load.dest}: ${load.ok ? 'loads' : 'refused'}`, () => {
      const verdicts = checkStream(read(load.case), parseTarget(QEMU[load.dest] ?? ''), registry);
      const refused = verdicts.filter(({ severity }) => severity === 'refused');
      expect(refused.length > 0, JSON.stringify(verdicts)).toBe(!load.ok);
      if (load.ok || /machine type/.test(load.stderr)) return;
      // and for the reason that it gave
      const said = refused.map(({ qemuSays }) => qemuSays ?? '').filter((words) => words !== '');
      expect(
        said.some((words) => load.stderr.includes(words.slice(0, 40))),
        load.stderr,
      ).toBe(true);
    });
  }
});

describe('targets', () => {
  test('a machine type, features and properties', () => {
    const target = parseTarget('qemu-11.1.2,machine=pc-q35-7.2,features=0x10179bfffef,guest_uso4=off');
    expect(target).toMatchObject({ machine: 'pc-q35-7.2', features: 0x10179bfffefn });
    expect(target.qemu.name).toBe('11.1');
    expect(target.properties.get('guest_uso4')).toBe('off');
  });

  test.each(['', 'qemu', 'qemu-4.2', 'qemu-11.1,machine', 'qemu-11.1,features=12'])('not "%s"', (text) => {
    expect(() => parseTarget(text)).toThrow(/expected/);
  });

  test('a property that is off at the target names the feature', () => {
    const stream = read('q72-pc-idle');
    for (const [property, feature] of [
      ['event_idx', 'VIRTIO_RING_F_EVENT_IDX'],
      ['mrg_rxbuf', 'VIRTIO_NET_F_MRG_RXBUF'],
      ['config-wce', 'VIRTIO_BLK_F_CONFIG_WCE'],
      ['discard', 'VIRTIO_BLK_F_DISCARD'],
    ] as const) {
      const verdicts = checkStream(stream, parseTarget(`qemu-7.2,${property}=off`), registry);
      expect(verdicts.map((each) => each.feature)).toContain(feature);
    }
    expect(checkStream(stream, parseTarget('qemu-7.2,machine=pc-i440fx-7.1'), registry)[0]?.code).toBe(
      'machine',
    );
  });
});

describe('option ROMs, which are blocks of RAM', () => {
  const stream = read('q72-pc-reset');
  const block = stream.ram?.blocks.find(({ name }) => name.endsWith('virtio-net-pci.rom'));
  const roms = (card: string): string[] => {
    const commandLine = `qemu-system-x86_64 -M pc-i440fx-7.2 -nodefaults -device virtio-net-pci,addr=${slot},${card}`;
    const { destination } = parseTarget('qemu-7.2', { commandLine });
    if (destination === undefined) throw new Error('no destination');
    return checkRoms(stream, destination).map(({ qemuSays = '' }) => qemuSays);
  };
  const slot = `0x${/^0000:00:([0-9a-f]+)/.exec(block?.name ?? '')?.[1]}`;

  test.each(['romfile=', 'rombar=0', 'rombar=off'])('a card with %s does not take one', (card) => {
    expect(roms(card)).toEqual([`Unknown ramblock "${block?.name}", cannot accept migration`]);
  });

  test.each(['mq=on', 'romfile=efi-virtio.rom', 'rombar=1'])('a card with %s does', (card) => {
    expect(roms(card)).toEqual([]);
  });
});
