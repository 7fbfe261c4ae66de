import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { growthOf } from '@virtkit/lab/growth.ts';
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

/** A line for each kind of message, and what looks like the beginning of many. */
const HOSTILE: readonly string[] = [
  'fe0 != fe1',
  'VQ 0 size 0x100 < last_avail_idx 0x0 - used_idx 0x1',
  'VQ 0 size 0x100 Guest index 0x5 inconsistent with Host index 0x2ff: delta 0xfd06',
  'VQ 1 vring.num 256 exceeds allocated max 0',
  'Features 0x1c0010130afffaf unsupported. Allowed features: 0x10179bfffef',
  'get_pci_config_device: Bad config data: i=0x10 read: 81 device: 1 cmask: ff wmask: c0 w1cmask:0',
  'virtio-net-device/rss: incoming version_id 2 is too new for local version_id 1',
  "VM subsection 'virtio/128bit_features' in 'virtio' does not exist",
  'Failed to load virtio-net:virtio',
  'Failed to load virtio-console:virtio',
  'Input validation failed: a/b',
  'load of migration failed: Invalid argument: Failed to load a:b: Failed to load c:d',
  "error while loading state for instance 0x0 of device '0000:00:02.0/virtio-net'",
  'Size mismatch: pc.ram: 0x1 != 0x2',
  'Missing section footer for 0000:00:02.0/virtio-blk',
  'instance virtio-____________________',
  `of device ${'/'.repeat(980)}`,
  'a'.repeat(990),
  'a-/'.repeat(330),
  '0 != '.repeat(190),
  'Failed to load '.repeat(60),
  ': A'.repeat(330),
  `Features 0x${'f'.repeat(480)} unsupported. Allowed features: 0x${'0'.repeat(450)}`,
];

const NAMED = HOSTILE.map((line) => [line.slice(0, 60), line] as const);

describe('a hostile log', () => {
  // a busy machine may disturb a measurement; what is quadratic is so each time
  test.each(NAMED)('takes linear time: %s', { retry: 3 }, (_name, line) => {
    const lines = Math.ceil(20_000 / line.length);
    const growth = growthOf((size) => `${line}\n`.repeat(size), explain, lines);
    // 2 where each line looks at all others
    expect(growth).toBeLessThan(1.5);
  });

  test('one line of any length is looked at as far as QEMU writes lines', () => {
    const long = `${'a'.repeat(2000)} VQ 1 vring.num 256 exceeds allocated max 0`;
    expect(explain(long)).toEqual([]);
  });

  test.each(NAMED)('is not answered with more than there is to say: %s', (_name, line) => {
    const text = `${line}\n`.repeat(10);
    expect(JSON.stringify(explain(text)).length).toBeLessThan(20 * (text.length + 1000));
  });
});
