// `virtkit serve`: a process of its own, and a front end at its socket.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { RngDriver } from '@virtkit/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { missing, NbdServer, qemuNbd } from '../../device-blk/test/nbd-servers.ts';
import {
  VfioClient,
  Guest as VfioGuest,
  diskOf as vfioDisk,
  finish as vfioFinish,
} from '../../vfio-user/test/client.ts';
import { diskOf, FrontEnd, finish, Guest, turn, Wire } from '../../vhost-user/test/front-end.ts';
import { EventLines } from '../src/serve/event-lines.ts';
import { vfioUserWords, wordsFor } from '../src/serve/words.ts';
import { useCommand } from './command.ts';

const { virtkit } = useCommand();

let folder: string;
const running: ChildProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vu-'));
});

afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

/** Runs the command from the sources, which find the package that it serves with. */
function command(...args: readonly string[]) {
  const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', '--conditions=@virtkit/source', main, ...args], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.push(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const errors: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => errors.push(chunk));
  return {
    child,
    next: async () => JSON.parse(String((await lines.next()).value ?? `"${errors.join('')}"`)),
    exit: async () => {
      const [code] = child.exitCode === null ? await once(child, 'exit') : [child.exitCode];
      return { code, stderr: errors.join('') };
    },
  };
}

describe('what is written of events', () => {
  test('a hundred a second, and how many were left out', async () => {
    const written: string[] = [];
    const lines = new EventLines(
      async (text) => void written.push(text),
      () => {},
    );
    for (let n = 0; n < 5000; n++) lines.event({ event: 'fault', n: BigInt(n) });
    lines.close();
    expect(written).toHaveLength(101);
    expect(written[0]).toBe('{"event":"fault","n":"0x0"}\n');
    expect(JSON.parse(written.at(-1) ?? '')).toEqual({ event: 'events-left-out', count: 4900 });
    lines.event({ event: 'fault' });
    lines.close();
    expect(written).toHaveLength(102);
  });

  test('what cannot be written is told once, and ends nothing', async () => {
    const told: unknown[] = [];
    const lines = new EventLines(
      async () => {
        throw new Error('no space left on the device');
      },
      (error) => told.push(error),
    );
    for (let n = 0; n < 10; n++) lines.event({ event: 'fault' });
    lines.close();
    await new Promise((resolve) => setImmediate(resolve));
    expect(told).toHaveLength(1);
  });
});

describe('serve', () => {
  test('a disk: words, events, and all that was written when it has ended', async () => {
    const [image, socket] = [join(folder, 'disk.img'), join(folder, 's')];
    writeFileSync(image, new Uint8Array(1 << 20));
    const { child, next, exit } = command(
      'serve',
      'blk',
      '--disk',
      image,
      '--socket',
      socket,
      '--queues',
      '2',
      '--json',
    );
    expect(await next()).toMatchObject({
      event: 'serving',
      device: 'virtio-blk',
      words: { qemu: [/memfd/, /socket/, /num-queues=2/].map((part) => expect.stringMatching(part)) },
    });
    const guest = new Guest();
    const frontEnd = await FrontEnd.connect(socket, guest);
    expect(await next()).toEqual({ event: 'front-end', device: 'virtio-blk' });
    const driver = diskOf(frontEnd, {}, 2);
    for (let n = 0; n < 16; n++) driver.write(8 * n, new Uint8Array(4096).fill(n + 1), n % 2);
    await finish(driver);
    child.kill('SIGTERM');
    expect(await exit()).toEqual({ code: 0, stderr: '' });
    expect(existsSync(socket)).toBe(false);
    const bytes = readFileSync(image);
    expect(Array.from({ length: 17 }, (_, n) => bytes[4096 * n])).toEqual([
      ...Array.from({ length: 16 }, (_, n) => n + 1),
      0,
    ]);
    frontEnd.close();
    guest.close();
  });

  const noServer = missing('qemu-nbd');
  if (noServer !== undefined) console.warn(`SKIPPED: a disk that an NBD server holds: ${noServer}`);
  test.skipIf(noServer !== undefined)(
    'a disk that an NBD server holds, which is killed meanwhile',
    async () => {
      const [image, socket] = [join(folder, 'disk.img'), join(folder, 's')];
      writeFileSync(image, new Uint8Array(1 << 20));
      const server = new NbdServer(qemuNbd(folder, image));
      await server.start();
      try {
        const { child, next, exit } = command(
          'serve',
          'blk',
          '--disk',
          server.uri(),
          '--socket',
          socket,
          '--json',
        );
        await next();
        const guest = new Guest();
        const frontEnd = await FrontEnd.connect(socket, guest);
        const driver = diskOf(frontEnd, {}, 1);
        for (let n = 0; n < 8; n++) driver.write(8 * n, new Uint8Array(4096).fill(n + 1), 0);
        await finish(driver);
        await server.kill();
        for (let n = 8; n < 16; n++) driver.write(8 * n, new Uint8Array(4096).fill(n + 1), 0);
        await server.start();
        await finish(driver);
        child.kill('SIGTERM');
        const { code, stderr } = await exit();
        expect([code, stderr]).toEqual([0, expect.stringMatching(/: connected\n/)]);
        const bytes = readFileSync(image);
        expect(Array.from({ length: 17 }, (_, n) => bytes[4096 * n])).toEqual([
          ...Array.from({ length: 16 }, (_, n) => n + 1),
          0,
        ]);
        frontEnd.close();
        guest.close();
      } finally {
        await server.kill();
      }
    },
  );

  test('a disk as a PCI function, by vfio-user', async () => {
    const [image, socket] = [join(folder, 'disk.img'), join(folder, 's')];
    writeFileSync(image, new Uint8Array(1 << 20));
    const { child, next, exit } = command(
      ...['serve', 'blk', '--disk', image, '--queues', '2', '--socket', socket, '--vfio-user', '--json'],
    );
    const { words } = await next();
    expect(words.qemu[1]).toBe(
      `-device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"${socket}"}}'`,
    );
    const guest = new VfioGuest();
    const client = await VfioClient.connect(socket, guest);
    const driver = vfioDisk(client, {}, 2);
    const write = driver.write(8, new Uint8Array(512).fill(7), 1);
    await vfioFinish(driver);
    expect(write.status).toBe(0);
    client.close();
    guest.close();
    expect([await next(), await next()].map(({ event }) => event)).toEqual(['client', 'client-left']);
    child.kill('SIGTERM');
    expect(await exit()).toMatchObject({ code: 0 });
    expect(readFileSync(image)[8 * 512]).toBe(7);
    expect(existsSync(socket)).toBe(false);
  });

  test('a device of a module, and the words for a type that has none of its own', async () => {
    const module = join(folder, 'my-device.mjs');
    writeFileSync(
      module,
      `const empty = { decode: () => null, encode: () => {} };
export default async () => ({
  layer: { contract: 1, name: 'mine', virtioId: 42, version: 1, minimum: 1, features: {}, loadDevice: () => [empty], saveDevice: () => empty },
  features: 0n, queueSizes: [8, 8, 8], configLength: 12,
  attach() {}, handleQueue() {}, capture: () => null,
});`,
    );
    const { child, next, exit } = command(
      'serve',
      module,
      '--socket',
      join(folder, 's'),
      '--json',
      '--stats',
      '1',
    );
    const { words } = await next();
    expect(words).toEqual({
      qemu: expect.arrayContaining([
        '-device vhost-user-test-device-pci,chardev=c0,virtio-id=42,num_vqs=3,vq_size=8,config_size=12',
      ]),
      libvirt: [],
      cloudHypervisor: [],
    });
    const wire = new Wire(join(folder, 's'));
    expect(await wire.u64('GET_QUEUE_NUM')).toBe(3n);
    wire.close();
    const events = [await next(), await next(), await next()].map(({ event }) => event);
    expect(events).toEqual(expect.arrayContaining(['front-end', 'front-end-left', 'stats']));
    child.kill('SIGINT');
    expect(await exit()).toMatchObject({ code: 0 });
  });

  test('a disk that misbehaves on purpose: each fault is an event', async () => {
    const [image, socket] = [join(folder, 'disk.img'), join(folder, 's')];
    writeFileSync(image, new Uint8Array(1 << 20));
    const faults = 'error:write@2; torn=100@2; bad-id:flush@1';
    const { child, next, exit } = command(
      ...['serve', 'blk', '--disk', image, '--socket', socket, '--json', '--fault', faults],
    );
    await next();
    const guest = new Guest();
    const frontEnd = await FrontEnd.connect(socket, guest);
    await next();
    const driver = diskOf(frontEnd);
    const writes = [1, 2, 3].map((n) => driver.write(8 * n, new Uint8Array(512).fill(n)));
    await finish(driver);
    expect(writes.map(({ status }) => status)).toEqual([0, 1, 0]);
    expect([await next(), await next()]).toEqual([
      {
        event: 'fault-injected',
        device: 'virtio-blk',
        facts: { kind: 'error', queue: 0, count: 2, request: 'write' },
      },
      { event: 'fault-injected', kind: 'torn', position: 8 * 3 * 512, length: 512 },
    ]);
    child.kill('SIGTERM');
    await exit();
    const bytes = readFileSync(image);
    expect([8, 16, 24].map((sector) => [bytes[512 * sector], bytes[512 * sector + 100]])).toEqual([
      [1, 1],
      [0, 0],
      [3, 0],
    ]);
    frontEnd.close();
    guest.close();
  });

  test('the device of the page about serve, which a driver gets bytes from', async () => {
    const page = new URL('../../site/pages/reference/cli/serve.md', import.meta.url);
    const [, code = ''] =
      /```ts\n(import \{ randomFillSync[\s\S]*?)```/.exec(readFileSync(page, 'utf8')) ?? [];
    // where its imports are found from
    const module = join(
      fileURLToPath(new URL('../node_modules/', import.meta.url)),
      `.my-device-${process.pid}.ts`,
    );
    writeFileSync(module, code);
    try {
      const socket = join(folder, 's');
      const { child, next, exit } = command('serve', module, '--socket', socket, '--json');
      expect(await next()).toMatchObject({
        device: 'virtio-rng',
        words: { qemu: expect.arrayContaining(['-device vhost-user-rng-pci,chardev=c0']) },
      });
      const guest = new Guest();
      const frontEnd = await FrontEnd.connect(socket, guest, { deviceId: 4, configBytes: 0 });
      const driver = new RngDriver({ transport: frontEnd, ram: guest.ram });
      driver.probe();
      driver.start();
      const request = driver.read(64);
      while (request.data === undefined) {
        driver.service();
        await turn();
      }
      expect(new Set(request.data).size).toBeGreaterThan(8);
      frontEnd.close();
      guest.close();
      child.kill('SIGTERM');
      expect(await exit()).toMatchObject({ code: 0 });
    } finally {
      rmSync(module, { force: true });
    }
  });

  test.each([
    { args: ['rng', '--fault', 'torn'], says: '--fault: torn is for blk, whose disk is known here' },
    {
      args: ['rng', '--fault', 'error:read'],
      says: "--fault: fault 'error:read': virtio-rng has no such requests",
    },
    { args: ['rng', '--fault', 'delay'], says: "--fault: fault 'delay': delay=NUMBER expected" },
    { args: ['blk'], says: 'serve blk: --disk IMAGE is missing' },
    { args: ['blk', '--disk', '/nowhere/x'], says: '/nowhere/x: no such file or directory', code: 3 },
    {
      args: ['blk', '--disk', 'nbd+unix:///?socket=/nowhere/x'],
      says: 'nbd+unix:///?socket=/nowhere/x: no such file or directory',
      code: 3,
    },
    { args: ['blk', '--disk', 'nbd+unix:///'], says: 'nbd+unix:// needs ?socket=PATH' },
  ])('what cannot be is told: $args', async ({ args, says, code = 2 }) => {
    const { exit } = command('serve', ...args, '--socket', join(folder, 's'));
    expect(await exit()).toEqual({ code, stderr: `virtkit: ${says}\n` });
  });

  test('without the package that it serves with, the command says which one', () => {
    const { status, stderr } = virtkit(['serve', 'rng', '--socket', join(folder, 's')]);
    expect([status, stderr]).toEqual([
      2,
      'virtkit: serve needs the package @virtkit/vhost-user, which is for Linux: npm install @virtkit/vhost-user\n',
    ]);
  });
});

describe('words', () => {
  test('of a device behind vfio-user', () => {
    const { qemu, libvirt, cloudHypervisor } = vfioUserWords("/tmp/it's <a>/s");
    expect(qemu[1]).toBe(
      `-device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/it'\\''s <a>/s"}}'`,
    );
    expect(libvirt[2]).toBe(
      `<qemu:commandline><qemu:arg value='-device'/><qemu:arg value='{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/it&apos;s &lt;a>/s"}}'/></qemu:commandline>`,
    );
    expect(cloudHypervisor).toEqual([]);
  });

  const shape = { id: 2, queues: 1, queueSize: 256, configBytes: 57 };

  test('of a disk', () => {
    expect(wordsFor("/run/a'b,c", false, shape)).toEqual({
      qemu: [
        '-object memory-backend-memfd,id=mem,size=1G,share=on -m 1G -machine q35,memory-backend=mem',
        "-chardev socket,id=c0,path=/run/a'b,,c,reconnect=1",
        '-device vhost-user-blk-pci,chardev=c0',
      ],
      libvirt: [
        "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>",
        "<disk type='vhostuser' device='disk'><driver name='qemu' type='raw'/><source type='unix' path='/run/a&apos;b,c'><reconnect enabled='yes' timeout='1'/></source><target dev='vda' bus='virtio'/></disk>",
      ],
      cloudHypervisor: [
        '--memory size=1G,shared=on',
        "--disk vhost_user=true,socket=/run/a'b,c,num_queues=1",
      ],
    });
  });

  test('of a device whose front end cannot connect again', () => {
    for (const id of [4, 42])
      expect(wordsFor('/s', false, { ...shape, id }).qemu[1]).toBe('-chardev socket,id=c0,path=/s');
  });

  test('of a card with two pairs, where QEMU listens', () => {
    const words = wordsFor('/s', true, { ...shape, id: 1, queues: 4, mac: '52:54:00:00:00:01' });
    expect(words.qemu.slice(1)).toEqual([
      '-chardev socket,id=c0,path=/s,server=on',
      '-netdev vhost-user,id=n0,chardev=c0,queues=2',
      '-device virtio-net-pci,netdev=n0,mq=on,mac=52:54:00:00:00:01',
    ]);
    expect(words.cloudHypervisor).toEqual([]);
  });
});
