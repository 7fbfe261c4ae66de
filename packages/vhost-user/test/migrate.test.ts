// A guest moves from QEMU to QEMU, each with servers of its own, while it works. What it reads of one disk during a move lies in pages that only the device has
// written, so that nothing but the dirty log brings it over; the other disk is one that all servers have, and the guest writes to it all the time.
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { buildInitramfs, findGuestKit, findQemu, isObject, kernelCommandLine, Qemu } from '@virtkit/lab';
import { afterEach, expect, test } from 'vitest';
import { serveVhostUser, type VhostUserServer } from '../src/index.ts';
import type { Closing } from './network.ts';

const slow = process.env['VIRTKIT_SLOW'] === '1';
/** How often the guest moves; more by hand. */
const MOVES = Number(process.env['VIRTKIT_SERVER_MOVES'] ?? 1);
const kit = findGuestKit('x86_64');
if (!slow) console.warn('SKIPPED: a migration between two servers: VIRTKIT_SLOW=1 runs it');
if (!kit.ok) console.warn(`SKIPPED: a migration between two servers: ${kit.reason}`);

const READ_BYTES = 8 << 20;
const BLOCK = 4096;
/** Blocks that the guest writes numbers to, one after the other and again. */
const BLOCKS = 64;
const toClose: Closing[] = [];

afterEach(async () => {
  for (const each of toClose.splice(0).reverse()) await each.close();
});

function randomBytes(): Uint8Array {
  const bytes = new Uint8Array(READ_BYTES);
  for (let at = 0; at < READ_BYTES; at += 65_536)
    globalThis.crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

const sumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const GUEST = [
  // what Linux has read of a disk is forgotten when nobody has it open
  'exec 3< /dev/vda',
  '(while :; do dd if=/dev/zero of=/tmp/z bs=256k count=8 2>/dev/null; done) &',
  // the number of the last write that was told as done stands in memory, for the host to ask
  `(
    n=0
    while :; do
      n=$((n + 1)); printf %08d $n > /tmp/b
      dd if=/tmp/b of=/dev/vdb bs=4k conv=sync,notrunc oflag=direct seek=$((n % ${BLOCKS})) 2>/dev/null || echo LAB:FAILED $n
      echo $n > /tmp/told.new; mv /tmp/told.new /tmp/told
    done
  ) &`,
  `i=0
  while :; do
    read go; i=$((i + 1)); echo 3 > /proc/sys/vm/drop_caches; cat /dev/vda > /dev/null; echo LAB:READ $i
    read go; echo LAB:SUM $i $(sha256sum < /dev/vda); echo LAB:TOLD $i $(cat /tmp/told)
  done`,
];

/** The two disks of one QEMU. */
interface Side {
  readonly content: Uint8Array;
  readonly servers: readonly VhostUserServer[];
  readonly words: readonly string[];
}

function makeSide(folder: string, index: number, shared: Uint8Array): Side {
  const content = randomBytes();
  const disks = [content, shared];
  const paths = disks.map((_, disk) => join(folder, `${index}-${disk}`));
  const servers = disks.map((bytes, disk) => {
    const server = serveVhostUser(new BlkDevice({ backend: memoryDisk(bytes) }), { path: paths[disk] ?? '' });
    toClose.push(server);
    return server;
  });
  const words = paths.flatMap((path, disk) => [
    ...['-chardev', `socket,id=c${disk},path=${path}`],
    ...['-device', `vhost-user-blk-pci,chardev=c${disk}`],
  ]);
  return { content, servers, words };
}

async function start({ words }: Side, initrd: Uint8Array, incoming: boolean): Promise<Qemu> {
  if (!kit.ok) throw new Error(kit.reason);
  const vm = await Qemu.start({
    arch: 'x86_64',
    machine: 'q35',
    memoryMiB: 128,
    incoming,
    lifetimeMs: 3_600_000,
    args: [
      ...words,
      ...['-kernel', kit.kit.kernelPath, '-initrd', 'initrd'],
      // a page that Linux clears when it is allocated would be in the log by that
      ...['-append', `${kernelCommandLine('x86_64')} init_on_alloc=0 init_on_free=0`],
    ],
    files: { initrd },
  });
  toClose.push(vm);
  return vm;
}

/** Saves a machine while it runs, and has its guest read the disk when all of its memory has been sent once. */
async function saveWhileReading(vm: Qemu, move: number): Promise<Uint8Array> {
  let asked = false;
  const stream = await vm.migrate({
    capabilities: [],
    // too slow to end by itself, while the guest writes into its memory
    parameters: { 'max-bandwidth': 4 << 20, 'downtime-limit': 1 },
    timeoutMs: 300_000,
    whileActive: async (info) => {
      const ram = info['ram'];
      const rounds = isObject(ram) ? Number(ram['dirty-sync-count']) : 0;
      if (rounds < 2 || asked) return;
      asked = true;
      vm.writeConsole('go\n');
      await vm.waitForConsole(new RegExp(`LAB:READ ${move}\\r?\\n`), 120_000);
      await vm.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 1 << 30, 'downtime-limit': 20_000 });
    },
  });
  expect(asked).toBe(true);
  return stream;
}

test.skipIf(!slow || !kit.ok || findQemu('x86_64') === undefined)(
  'a guest that moves while it reads and writes has what it read, and its writes are there once',
  async () => {
    if (!kit.ok) return;
    const folder = mkdtempSync(join(tmpdir(), 'vu-'));
    toClose.push({ close: () => rmSync(folder, { recursive: true, force: true }) });
    const initrd = buildInitramfs(kit.kit, {
      modules: ['virtio_pci', 'virtio_blk'],
      disk: false,
      network: false,
      afterReady: GUEST,
    });
    const shared = new Uint8Array(BLOCKS * BLOCK);
    let side = makeSide(folder, 0, shared);
    let vm = await start(side, initrd, false);
    await vm.waitForConsole(/LAB:READY/, 300_000);
    for (let move = 1; move <= MOVES; move++) {
      const stream = await saveWhileReading(vm, move);
      for (const server of side.servers)
        expect(server.device.queue(0)).toMatchObject({ inFlight: 0, format: undefined });
      // this side's disk has other bytes: what the guest still knows of the other's is in its memory
      const next = makeSide(folder, move, shared);
      const destination = await start(next, initrd, true);
      expect(await destination.load(stream, { capabilities: [], timeoutMs: 120_000 })).toEqual({ ok: true });
      await vm.close();
      await destination.cont();
      destination.writeConsole('go\n');
      const [, sum] = await destination.waitForConsole(new RegExp(`LAB:SUM ${move} ([0-9a-f]{64})`), 120_000);
      expect(sum).toBe(sumOf(side.content));
      const [, told] = await destination.waitForConsole(
        new RegExp(`LAB:TOLD ${move} (\\d+)\\r?\\n`),
        120_000,
      );
      // the last writes that it was told of are in their blocks, or newer ones are
      const last = Number(told);
      for (let number = Math.max(1, last - BLOCKS + 1); number <= last; number++) {
        const at = (number % BLOCKS) * BLOCK;
        const found = Number(Buffer.from(shared.subarray(at, at + 8)).toString('latin1'));
        expect([found >= number, (found - number) % BLOCKS]).toEqual([true, 0]);
      }
      expect(destination.console).not.toContain('LAB:FAILED');
      side = next;
      vm = destination;
    }
  },
  300_000 + MOVES * 400_000,
);
