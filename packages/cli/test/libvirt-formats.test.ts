// What a real libvirt leaves of a domain: all of it opens, and what holds no device says so.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { delay, findQemus, isObject, type JsonValue, Libvirtd, Qemu, whyNoLibvirt } from '@virtkit/lab';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { readInput } from '../src/read.ts';
import { say } from './libvirt-lab.ts';

const has = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
const why = whyNoLibvirt() ?? (has('qemu-img') ? undefined : 'qemu-img not installed');
if (why !== undefined) console.warn(`SKIPPED: formats of a real libvirt: ${why}`);
/** Each needs a daemon of its own. */
const packings = process.env['VIRTKIT_CHANGES'] === 'all' ? ['raw', 'gzip', 'bzip2', 'xz', 'lzop'] : ['xz'];

/** A machine that nobody has started to run: it has all its devices. */
const domain = (
  disk: string,
): string => `<domain type='qemu'><name>vk</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${disk}'/><target dev='vda' bus='virtio'/></disk>
<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface></devices></domain>`;

let daemon: Libvirtd | undefined;
afterEach(async () => {
  await daemon?.close();
  daemon = undefined;
});
afterAll(() => daemon?.close());

async function started(packing: string): Promise<Libvirtd> {
  daemon = await Libvirtd.start({
    config: [`save_image_format = "${packing}"`, `snapshot_image_format = "${packing}"`],
  });
  const disk = join(daemon.directory, 'disk.qcow2');
  spawnSync('qemu-img', ['create', '-f', 'qcow2', disk, '16M']);
  const file = join(daemon.directory, 'vk.xml');
  writeFileSync(file, domain(disk));
  await daemon.ask('define', file);
  await daemon.ask('start', '--paused', 'vk');
  return daemon;
}

async function answerOf(file: string): Promise<string> {
  const read = await readInput(file, true);
  expect(read.error).toBeUndefined();
  expect(read.check?.difference).toBe(-1);
  expect(read.stream.sections.map(({ header }) => header.idstr)).toEqual(
    expect.arrayContaining([expect.stringMatching(/virtio-net$/), expect.stringMatching(/virtio-blk$/)]),
  );
  return say(read, { target: 'qemu-7.2' }).answer;
}

describe.skipIf(why !== undefined)('of a domain', () => {
  test.each(packings)(
    'saves packed with %s, and managed ones, open and load',
    { timeout: 300_000 },
    async (packing) => {
      if (packing !== 'raw' && !has(packing)) return console.warn(`SKIPPED: ${packing} is not installed`);
      const libvirt = await started(packing);
      const saved = join(libvirt.directory, 'vk.save');
      await libvirt.ask('save', 'vk', saved);
      expect(await answerOf(saved)).toBe('loads');
      await libvirt.ask('restore', '--paused', saved);
      await libvirt.ask('managedsave', 'vk');
      expect(await answerOf(join(libvirt.directory, 'lib/qemu/save/vk.save'))).toBe('loads');
    },
  );

  test('snapshots and dumps open where they hold devices, and say so where they do not', {
    timeout: 300_000,
  }, async () => {
    const libvirt = await started('raw');
    const at = (name: string): string => join(libvirt.directory, name);
    await libvirt.ask('snapshot-create-as', 'vk', 'inside');
    expect(await answerOf(`${at('disk.qcow2')}#inside`)).toBe('loads');
    await libvirt.ask(
      ...['snapshot-create-as', 'vk', 'outside', '--memspec', `file=${at('memspec')},snapshot=external`],
      ...['--diskspec', `vda,snapshot=external,file=${at('overlay.qcow2')}`],
    );
    expect(await answerOf(at('memspec'))).toBe('loads');
    // a stopped guest whose state was written has given its disks away
    await libvirt.ask('destroy', 'vk');
    await libvirt.ask('start', '--paused', 'vk');
    await libvirt.ask('dump', '--live', 'vk', at('live'));
    expect(await answerOf(at('live'))).toBe('loads');
    await libvirt.ask('dump', '--live', '--memory-only', 'vk', at('memory'));
    await expect(readInput(at('memory'), false).then(({ error }) => error?.message)).resolves.toMatch(
      /a memory dump .* the state of no device/,
    );
    // a disk alone
    const { error } = await readInput(at('overlay.qcow2'), false);
    expect(error?.message).toMatch(/none of its snapshots/);
  });
});

const newer = [...findQemus('x86_64').values()].filter(({ version }) => Number.parseInt(version, 10) >= 10);
if (newer.length === 0)
  console.warn('SKIPPED: sparse saves, for no QEMU from 10.0 on is in VIRTKIT_QEMU_ROOTS');

/** Header and XML in front of a stream, as newer libvirts write them for the capability mapped-ram. libvirt: `virQEMUSaveHeader` */
function sparseHeader(bytes: number): Buffer {
  const head = Buffer.alloc(bytes);
  head.write('LibvirtQemudSave', 'latin1');
  [3, bytes - 92, 0, 6].forEach((value, index) => {
    head.writeUInt32LE(value, 16 + 4 * index);
  });
  head.write("<domain type='qemu'><name>vk</name></domain>", 92);
  return head;
}

test.each(newer)(
  'a sparse save of QEMU $version, whose pages have places of their own, opens',
  async (binary) => {
    const vm = await Qemu.start({
      arch: 'x86_64',
      binary,
      machine: 'q35',
      sharedMemory: false,
      memoryMiB: 32,
      args: ['-nodefaults', '-device', 'virtio-rng-pci,id=r'],
      paused: true,
    });
    try {
      const file = join(vm.dir, 'sparse.save');
      writeFileSync(file, sparseHeader(1 << 16));
      const capabilities = [{ capability: 'mapped-ram', state: true }];
      await vm.qmp.execute('migrate-set-capabilities', { capabilities });
      await vm.qmp.execute('migrate', { uri: `file:${file},offset=${1 << 16}` });
      let status: JsonValue | undefined;
      do {
        await delay(50);
        const said = await vm.qmp.execute('query-migrate');
        status = isObject(said) ? said['status'] : undefined;
      } while (status !== 'completed' && status !== 'failed');
      const read = await readInput(file, true);
      expect([status, read.error, read.check?.difference, read.stream.libvirt?.version]).toEqual([
        'completed',
        undefined,
        -1,
        3,
      ]);
      expect(read.stream.sections.map(({ header }) => header.idstr)).toContain('0000:00:01.0/virtio-rng');
    } finally {
      await vm.close();
    }
  },
);
