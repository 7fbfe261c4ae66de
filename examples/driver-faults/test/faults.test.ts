// Linux' virtio-blk against ten disks that misbehave, in one boot.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildInitramfs, findGuestKit, findQemu, kernelCommandLine, Qemu } from '@virtkit/lab';
import { afterEach, expect, test } from 'vitest';
import { TESTS } from '../src/faults.ts';
import { GUEST_SCRIPT } from '../src/guest.ts';
import { runTests } from '../src/run.ts';

const kit = findGuestKit('x86_64');
const hasQemu = findQemu('x86_64') !== undefined;
if (!kit.ok || !hasQemu)
  console.warn(
    `SKIPPED: Linux against disks that misbehave: ${kit.ok ? 'there is no qemu-system-x86_64' : kit.reason}`,
  );

let folder: string | undefined;

afterEach(() => {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

test.skipIf(!kit.ok || !hasQemu)(
  'Linux does with ten faults what is written of it',
  async () => {
    if (!kit.ok) return;
    const { kernelPath } = kit.kit;
    folder = mkdtempSync(join(tmpdir(), 'vu-'));
    const initrd = buildInitramfs(kit.kit, {
      modules: ['virtio_pci', 'virtio_blk'],
      disk: false,
      network: false,
      commands: [
        `n=0; while [ $(ls -d /sys/block/vd* 2>/dev/null | wc -l) -lt ${TESTS.length} ] && [ $n -lt 600 ]; do usleep 100000; n=$((n + 1)); done`,
        GUEST_SCRIPT,
      ],
    });
    const { results, log } = await runTests(TESTS, folder, (words) =>
      Qemu.start({
        arch: 'x86_64',
        machine: 'q35',
        memoryMiB: 128,
        args: [...words, '-kernel', kernelPath, '-initrd', 'initrd', '-append', kernelCommandLine('x86_64')],
        files: { initrd },
      }),
    );
    expect(results.map(({ test: { name }, outcome }) => [name, outcome])).toEqual(
      TESTS.map(({ name, expected }) => [name, expected]),
    );
    // what the kernel says of the ring that makes no sense
    expect(log).toMatch(/id 65535 out of range/);
  },
  600_000,
);
