import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { explain } from '../src/index.ts';

interface Refusal {
  readonly case: string;
  readonly dest: string;
  readonly change: string;
  readonly stderr: string;
  readonly error: string;
}

/** What QEMU 7.2, 10.0 and 11.1 said when they refused real streams. */
const refusals = JSON.parse(
  gunzipSync(readFileSync(new URL('data/refusals.json.gz', import.meta.url))).toString(),
) as Refusal[];

describe('every refusal of a real QEMU has a cause', () => {
  for (const [index, refusal] of refusals.entries()) {
    // a destination that did not start for want of its machine type or options says nothing about a load
    if (/unsupported machine type|could not|Property .* not found/.test(refusal.stderr)) continue;
    test(`${index}: ${refusal.case} into ${refusal.dest} ${refusal.change}`, () => {
      const causes = explain(`${refusal.stderr}\n${refusal.error}`).filter(({ role }) => role === 'cause');
      expect(causes).not.toEqual([]);
      for (const { meaning } of causes) expect(meaning).not.toContain('undefined');
    });
  }
});

describe('lines', () => {
  test('features by bit, with what decides over them', () => {
    const [found] = explain('Features 0x1c0010130afffaf unsupported. Allowed features: 0x10179bfffef');
    expect(found).toMatchObject({ code: 'features', role: 'cause', facts: { device: 'virtio-net' } });
    expect(found?.features?.map(({ bit, name, property }) => [bit, name, property])).toEqual([
      [54, 'VIRTIO_NET_F_GUEST_USO4', 'guest_uso4'],
      [55, 'VIRTIO_NET_F_GUEST_USO6', 'guest_uso6'],
      [56, 'VIRTIO_NET_F_HOST_USO', 'host_uso'],
    ]);
  });

  test.each([
    ['VQ 0 size 0x100 Guest index 0x5 inconsistent with Host index 0x2ff: delta 0xfd06', 'ring-index'],
    ['VQ 1 size 0x100 < last_avail_idx 0x400 - used_idx 0x1', 'ring-inuse'],
    ['VQ 0 vring.num 1024 exceeds allocated max 256', 'ring-size'],
    [
      'get_pci_config_device: Bad config data: i=0x6e read: 0 device: 40 cmask: ff wmask: 0 w1cmask:0',
      'pci-config',
    ],
    ['Unknown ramblock "0000:00:03.0/virtio-net-pci.rom", cannot accept migration', 'ramblock'],
    ['Missing section footer for 0000:00:02.0/virtio-blk', 'footer'],
    ['virtio-net-device/rss: incoming version_id 2 is too new for local version_id 1', 'vmsd-version'],
    ["VM subsection 'virtio/128bit_features' in 'virtio' does not exist", 'subsection'],
    ["Machine type received is 'pc-q35-8.2' and local is 'pc-q35-7.2'", 'machine'],
    ['virtio: unexpected memory split', 'request-memory'],
    ['MIG_CMD 0xb unknown (len 0x0)', 'command'],
  ])('%s', (line, code) => {
    expect(explain(line).map((found) => found.code)).toEqual([code]);
    const logged = `2026-01-01T10:00:00.123456Z qemu-system-x86_64: ${line}`;
    expect(explain(logged).map((found) => found.line)).toEqual([line]);
  });

  test('the chain of QEMU 11.1, in one line', () => {
    const found = explain(
      "load of migration failed: Invalid argument: error while loading state for instance 0x0 of device '0000:00:01.0/virtio-blk': Failed to load element of type virtio for virtio",
    );
    expect(found.map(({ code }) => code)).toEqual(['failed', 'where', 'where']);
  });

  test('equal numbers of 10.2 and later are not called compatible', () => {
    const [found] = explain(
      `Features 0x${'10130006e54'.padStart(32, '0')} unsupported. Allowed features: 0x${'10179006e54'.padStart(32, '0')}`,
    );
    expect(found?.code).toBe('features-masked');
  });

  test('text that is none of it', () => {
    expect(explain('hello\n\nworld: 1 != one')).toEqual([]);
  });
});
