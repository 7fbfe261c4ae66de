// A guest moves between two QEMUs, each with a server of its own. That pages which a disk writes are in the log is shown in serve.test.ts: here
// Linux writes to them as well, so that this move would do without.

import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { buildInitramfs, findGuestKit, findQemu, isObject, kernelCommandLine, Qemu } from '@virtkit/lab';
import { afterEach, expect, test } from 'vitest';
import { serveVhostUser } from '../src/index.ts';

const slow = process.env['VIRTKIT_SLOW'] === '1';
const kit = findGuestKit('x86_64');
if (!slow) console.warn('SKIPPED: a migration between two servers: VIRTKIT_SLOW=1 runs it');
if (!kit.ok) console.warn(`SKIPPED: a migration between two servers: ${kit.reason}`);

const DISK_BYTES = 8 << 20;
const toClose: { close(): unknown }[] = [];

afterEach(async () => {
  for (const each of toClose.splice(0).reverse()) await each.close();
});

test.skipIf(!slow || !kit.ok || findQemu('x86_64') === undefined)(
  'a guest that moves while it reads has what it read, and goes on with the disk that is there',
  async () => {
    if (!kit.ok) return;
    const folder = mkdtempSync(join(tmpdir(), 'vu-'));
    toClose.push({ close: () => rmSync(folder, { recursive: true, force: true }) });
    const content = new Uint8Array(DISK_BYTES);
    for (let at = 0; at < DISK_BYTES; at += 65_536)
      globalThis.crypto.getRandomValues(content.subarray(at, at + 65_536));
    // the destination's disk has other bytes: what the guest still knows of the source's is in its memory
    const disks = [content, new Uint8Array(DISK_BYTES)];
    const servers = disks.map((bytes, index) => {
      const server = serveVhostUser(new BlkDevice({ backend: memoryDisk(bytes) }), {
        path: join(folder, `${index}`),
      });
      toClose.push(server);
      return server;
    });
    const initrd = buildInitramfs(kit.kit, {
      modules: ['virtio_pci', 'virtio_blk'],
      disk: false,
      network: false,
      afterReady: [
        // what Linux has read of a disk is forgotten when nobody has it open
        'exec 3< /dev/vda',
        '(while :; do dd if=/dev/zero of=/tmp/z bs=256k count=8 2>/dev/null; done) &',
        'read go; cat /dev/vda > /dev/null; echo LAB:READ',
        'read go; kill %1; echo LAB:SUM $(sha256sum < /dev/vda)',
        'echo LAB:FRESH $(dd if=/dev/vda bs=4k count=16 iflag=direct 2>/dev/null | sha256sum)',
      ],
    });
    const start = async (index: number, incoming: boolean): Promise<Qemu> => {
      const vm = await Qemu.start({
        arch: 'x86_64',
        machine: 'q35',
        memoryMiB: 128,
        incoming,
        args: [
          '-chardev',
          `socket,id=c0,path=${join(folder, `${index}`)}`,
          '-device',
          'vhost-user-blk-pci,chardev=c0',
          '-kernel',
          kit.kit.kernelPath,
          '-initrd',
          'initrd',
          '-append',
          kernelCommandLine('x86_64'),
        ],
        files: { initrd },
      });
      toClose.push(vm);
      return vm;
    };
    const source = await start(0, false);
    await source.waitForConsole(/LAB:READY/, 300_000);
    let asked = false;
    const stream = await source.migrate({
      capabilities: [],
      // too slow to end by itself, while the guest writes into its memory
      parameters: { 'max-bandwidth': 4 << 20, 'downtime-limit': 1 },
      timeoutMs: 300_000,
      whileActive: async (info) => {
        const ram = info['ram'];
        const rounds = isObject(ram) ? Number(ram['dirty-sync-count']) : 0;
        if (rounds < 2 || asked) return;
        // all of its memory has been sent once
        asked = true;
        source.writeConsole('go\n');
        await source.waitForConsole(/LAB:READ\r?\n/, 120_000);
        await source.qmp.execute('migrate-set-parameters', {
          'max-bandwidth': 1 << 30,
          'downtime-limit': 20_000,
        });
      },
    });
    expect(asked).toBe(true);
    expect(servers[0]?.device.queue(0)).toMatchObject({ inFlight: 0, format: undefined });
    const destination = await start(1, true);
    expect(await destination.load(stream, { capabilities: [], timeoutMs: 120_000 })).toEqual({ ok: true });
    await destination.cont();
    destination.writeConsole('go\n');
    const sum = await destination.waitForConsole(/LAB:SUM ([0-9a-f]{64})/, 120_000);
    expect(sum[1]).toBe(createHash('sha256').update(content).digest('hex'));
    // and the disk that it has now is the other one, in a ring that goes on where it was
    const fresh = await destination.waitForConsole(/LAB:FRESH ([0-9a-f]{64})/, 120_000);
    expect(fresh[1]).toBe(createHash('sha256').update(new Uint8Array(65_536)).digest('hex'));
    expect(servers[1]?.device.queue(0)?.position.lastAvailIdx).toBeGreaterThan(16);
  },
  900_000,
);
