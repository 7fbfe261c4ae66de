// Linux in QEMU boots from an image on a web server. What it wrote is there the next time, and the image is as it was.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildInitramfs, findGuestKit, findQemu, kernelCommandLine, Qemu } from '@virtkit/lab';
import { afterEach, expect, test } from 'vitest';
import { serveImage } from '../src/disk.ts';

const IMAGE_BYTES = 32 << 20;
/** Once in CI; VIRTKIT_SLOW=1 boots it again from what the first one left. */
const BOOTS = process.env['VIRTKIT_SLOW'] === '1' ? [0, 1] : [0];
const kit = findGuestKit('x86_64');
const missing = !kit.ok
  ? kit.reason
  : findQemu('x86_64') === undefined
    ? 'there is no qemu-system-x86_64'
    : spawnSync('mke2fs', ['-V']).error !== undefined
      ? 'there is no mke2fs'
      : undefined;
if (missing !== undefined) console.warn(`SKIPPED: a guest whose root is on a web server: ${missing}`);

const toClose: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
});

/** The root of a guest: its init tells what is there, and leaves a file behind. */
function makeImage(folder: string, busybox: string): string {
  const root = join(folder, 'root');
  for (const name of ['bin', 'dev', 'proc', 'etc']) mkdirSync(join(root, name), { recursive: true });
  copyFileSync(busybox, join(root, 'bin/busybox'));
  writeFileSync(
    join(root, 'init'),
    `#!/bin/busybox sh
/bin/busybox mount -o remount,rw /
echo LAB:ROOT $(/bin/busybox sha256sum /bin/busybox) times: $(/bin/busybox wc -l < /etc/boots)
echo boot >> /etc/boots
/bin/busybox sync
echo LAB:SYNCED
/bin/busybox mount -o remount,ro /
/bin/busybox poweroff -f
`,
    { mode: 0o755 },
  );
  writeFileSync(join(root, 'etc/boots'), '');
  const image = join(folder, 'root.img');
  const made = spawnSync('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', root, image, `${IMAGE_BYTES >> 10}k`]);
  expect(String(made.stderr)).toBe('');
  return image;
}

/** A web server that gives ranges, and counts the bytes that it gave. */
async function serveFile(bytes: Uint8Array): Promise<{ readonly url: string; sent(): number }> {
  let sent = 0;
  const server = createServer((request, response) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const [first, last] = [Number(from ?? 0), Math.min(Number(to ?? bytes.length - 1), bytes.length - 1)];
    response.writeHead(from === undefined ? 200 : 206, {
      'accept-ranges': 'bytes',
      'content-length': last - first + 1,
      etag: '"image"',
      ...(from !== undefined && { 'content-range': `bytes ${first}-${last}/${bytes.length}` }),
    });
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    sent += last - first + 1;
    response.end(bytes.subarray(first, last + 1));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  toClose.push(() => server.close());
  const address = server.address();
  if (address === null || typeof address !== 'object') throw new Error('no port');
  return { url: `http://127.0.0.1:${address.port}/root.img`, sent: () => sent };
}

test.skipIf(missing !== undefined)(
  'a guest boots from an image on a web server, and what it writes outlives it',
  async () => {
    if (!kit.ok) return;
    const { kernelPath, busyboxPath } = kit.kit;
    const folder = mkdtempSync(join(tmpdir(), 'vu-'));
    toClose.push(() => rmSync(folder, { recursive: true, force: true }));
    const image = readFileSync(makeImage(folder, busyboxPath));
    const before = createHash('sha256').update(image).digest('hex');
    const web = await serveFile(image);
    const initrd = buildInitramfs(kit.kit, {
      modules: ['virtio_pci', 'virtio_blk'],
      disk: false,
      network: false,
      commands: [
        'n=0; while [ ! -b /dev/vda ] && [ $n -lt 600 ]; do usleep 100000; n=$((n + 1)); done',
        'mkdir /root; mount -t ext4 -o ro /dev/vda /root; mount --move /dev /root/dev; mount --move /proc /root/proc',
        'exec switch_root /root /init',
      ],
    });
    const busybox = createHash('sha256').update(readFileSync(busyboxPath)).digest('hex');
    for (const boots of BOOTS) {
      const disk = await serveImage({
        url: web.url,
        overlay: join(folder, 'overlay'),
        socket: join(folder, 's'),
      });
      const vm = await Qemu.start({
        arch: 'x86_64',
        machine: 'q35',
        memoryMiB: 128,
        args: [
          ...[
            '-chardev',
            `socket,id=c0,path=${join(folder, 's')}`,
            '-device',
            'vhost-user-blk-pci,chardev=c0',
          ],
          ...['-kernel', kernelPath, '-initrd', 'initrd', '-append', kernelCommandLine('x86_64')],
        ],
        files: { initrd },
      });
      toClose.push(() => vm.close());
      const [, sum, times] = await vm.waitForConsole(/LAB:ROOT (\w+) \S+ times: (\d+)/, 300_000);
      expect([sum, times]).toEqual([busybox, `${boots}`]);
      await vm.waitForConsole(/LAB:SYNCED/, 300_000);
      await vm.close();
      expect(disk.written()).toBeGreaterThan(0);
      await disk.close();
    }
    // what is loaded the next time
    const again = await serveImage({
      url: web.url,
      overlay: join(folder, 'overlay'),
      socket: join(folder, 's'),
    });
    expect(again.written()).toBeGreaterThan(0);
    await again.close();
    // the image is as it was, and most of it was never asked for
    expect(createHash('sha256').update(image).digest('hex')).toBe(before);
    expect(web.sent()).toBeLessThan(IMAGE_BYTES);
  },
  600_000,
);
