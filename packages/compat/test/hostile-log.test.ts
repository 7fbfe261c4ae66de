/** Logs that are made to cost much: work is counted, not timed. */
import { countWork, workGrowthOf } from '@virtkit/lab/work.ts';
import { beforeAll, describe, expect, test } from 'vitest';
import type { explain as Explain } from '../src/index.ts';

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
  'Could not open a '.repeat(58),
  'State of a '.repeat(90),
  'vhost-user migration disabled: '.repeat(32),
  '-machine type=pc '.repeat(58),
  'qemu-kvm: '.repeat(100),
  'virt-launcher-a-'.repeat(62),
  '{"msg":'.repeat(140),
  `message: '${'a'.repeat(980)}`,
  '\x1b[1'.repeat(240),
  'Target a does not match '.repeat(40),
  `Features 0x${'f'.repeat(480)} unsupported. Allowed features: 0x${'0'.repeat(450)}`,
];

const NAMED = HOSTILE.map((line) => [line.slice(0, 60), line] as const);

describe('a hostile log', () => {
  let explain: typeof Explain;

  beforeAll(async () => {
    // an import that is counted comes behind this
    await countWork();
    ({ explain } = await import('../src/index.ts'));
  });

  test.each(NAMED)('takes work in proportion to its lines: %s', async (_name, line) => {
    const growth = await workGrowthOf(
      (lines) => `${line}\n`.repeat(lines),
      (text) => void explain(text),
      Math.ceil(5000 / line.length),
    );
    // 2 where each line looks at all others
    expect(growth).toBeLessThan(1.1);
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
