// A device and its client over a real socket, with the drivers of @virtkit/testing.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DeviceEvent } from '@virtkit/core';
import { type BlkBackend, BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { clear, closeDescriptor, createEventfd, signal } from '@virtkit/linux';
import type { BlkDriver, RingWishes } from '@virtkit/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ServeOptions, serveVfioUser, type VfioUserServer } from '../src/index.ts';
import { COMMAND, FLAG, IRQ, REGION, SET_IRQS } from '../src/wire/commands.ts';
import {
  concat,
  diskOf,
  fields,
  finish,
  Guest,
  message,
  RAM_BYTES,
  turn,
  until,
  VfioClient,
  version,
  Wire,
} from './client.ts';

const SECTORS = 2048;
let folder: string;
let guest: Guest;
let events: DeviceEvent[];
const toClose: { close(): void }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtkit-vfio-'));
  guest = new Guest();
  events = [];
});

afterEach(() => {
  for (const each of toClose.splice(0).reverse()) each.close();
  guest.close();
  rmSync(folder, { recursive: true, force: true });
});

function serve({
  backend = memoryDisk(SECTORS * 512),
  queues = 1,
  ...options
}: Partial<ServeOptions> & { readonly backend?: BlkBackend; readonly queues?: number } = {}): VfioUserServer {
  const server = serveVfioUser(new BlkDevice({ backend, queues }), {
    path: join(folder, 's'),
    onEvent: (event) => events.push(event),
    ...options,
  });
  toClose.push(server);
  return server;
}

async function connect(options?: Parameters<typeof VfioClient.connect>[2]): Promise<VfioClient> {
  const client = await VfioClient.connect(join(folder, 's'), guest, options);
  toClose.push(client);
  return client;
}

const pattern = (n: number, bytes = 4096): Uint8Array => new Uint8Array(bytes).fill(n + 1);

/** Writes blocks in all queues, and reads them back. */
async function work(driver: BlkDriver, count = 64): Promise<void> {
  const writes = Array.from({ length: count }, (_, n) => driver.write(8 * n, pattern(n), n % driver.queues));
  await finish(driver);
  const reads = Array.from({ length: count }, (_, n) => driver.read(8 * n, 8, n % driver.queues));
  await finish(driver);
  expect(writes.map(({ status }) => status)).toEqual(writes.map(() => 0));
  const wrong = reads.filter(({ data, status }, n) => status !== 0 || Buffer.compare(data, pattern(n)) !== 0);
  expect(wrong).toEqual([]);
}

const RINGS: readonly (RingWishes & { readonly name: string })[] = [
  { name: 'split' },
  { name: 'split, event index, indirect', eventIdx: true, indirect: 'mixed' },
  { name: 'packed', packed: true },
  { name: 'packed, event index, indirect', packed: true, eventIdx: true, indirect: 'mixed' },
];

describe('a disk', () => {
  test.each(RINGS)('is written and read: $name', async (rings) => {
    serve({ rings: { packed: true } });
    await work(diskOf(await connect(), rings));
    expect(events.map(({ name }) => name)).toEqual(['client']);
  });

  test('with four queues, each with a vector', async () => {
    const server = serve({ queues: 4 });
    const client = await connect();
    expect(client.vectors).toHaveLength(5);
    await work(diskOf(client, { eventIdx: true }, 4));
    for (let queue = 0; queue < 4; queue++) expect(server.device.queue(queue)?.interrupts).toBeGreaterThan(0);
  });

  test('with 20 vectors, whose eventfds come in several messages', async () => {
    serve({ queues: 19 });
    const client = await connect();
    expect(client.vectors).toHaveLength(20);
    await work(diskOf(client, {}, 19));
  });

  test('by the INTx line, which is masked until the client unmasks it', async () => {
    const server = serve();
    const client = await connect({ interrupts: 'intx' });
    await work(diskOf(client));
    expect(server.device.queue(0)?.interrupts).toBeGreaterThan(1);
  });

  test('whose guest memory lies high', async () => {
    guest.close();
    guest = new Guest(0x7ffd_e123_4000);
    serve();
    await work(diskOf(await connect(), { eventIdx: true, indirect: 'always' }));
  });

  test('by clients one after the other, also after a reset', async () => {
    const server = serve();
    for (let turn = 0; turn < 3; turn++) {
      const client = await connect();
      await work(diskOf(client), 8);
      await client.wire.done('DEVICE_RESET', new Uint8Array(0));
      expect(await client.readStatus()).toBe(0);
      client.wire.post(REGION.CONFIG, 4, Uint8Array.of(6, 0));
      client.wire.post(REGION.CONFIG, client.msixAt + 2, Uint8Array.of(0, 0x80));
      await work(diskOf(client), 8);
      toClose.pop();
      client.close();
      await until(() => server.client === undefined);
      expect(server.device.status).toBe(0);
    }
    expect(server.served).toBe(3);
  });

  test('that takes long keeps nobody who asks for a register waiting', async () => {
    const held: (() => void)[] = [];
    const disk = memoryDisk(SECTORS * 512);
    const backend: BlkBackend = Object.assign(Object.create(disk), {
      read: (...args: Parameters<typeof disk.read>) =>
        new Promise<void>((resolve) => held.push(resolve)).then(() => disk.read(...args)),
    });
    const server = serve({ backend });
    const client = await connect();
    const driver = diskOf(client);
    const read = driver.read(0, 8);
    await until(() => held.length > 0);
    for (let asked = 0; asked < 20; asked++) expect(await client.readStatus()).toBe(15);
    const { kicks } = server.device.queue(0) ?? {};
    expect([kicks, read.status]).toEqual([1, undefined]);
    while (driver.pending > 0) {
      for (const go of held.splice(0)) go();
      driver.service();
      await turn();
    }
    expect(read.status).toBe(0);
  });

  test('whose client goes with a request under way, which then does nothing', async () => {
    const held: (() => void)[] = [];
    const disk = memoryDisk(new Uint8Array(SECTORS * 512).fill(9));
    const backend: BlkBackend = Object.assign(Object.create(disk), {
      read: (...args: Parameters<typeof disk.read>) =>
        new Promise<void>((resolve) => held.push(resolve)).then(() => disk.read(...args)),
    });
    const server = serve({ backend });
    const client = await connect();
    const read = diskOf(client).read(0, 8);
    await until(() => held.length > 0);
    toClose.pop();
    client.close();
    await until(() => server.client === undefined);
    for (const go of held) go();
    await server.device.idle();
    expect(read.data.every((byte) => byte === 0)).toBe(true);
    expect(events.map(({ name }) => name)).toEqual(['client', 'client-left']);
  });
});

describe('the protocol', () => {
  test('tells of the function what QEMU asks for', async () => {
    serve({ queues: 4 });
    const wire = new Wire(join(folder, 's'));
    toClose.push(wire);
    wire.raw(version());
    const reply = await wire.next();
    expect([reply?.view.getUint16(0, true), reply?.view.getUint16(2, true)]).toEqual([0, 0]);
    const text = new TextDecoder().decode(reply?.payload.slice(4));
    expect(text.endsWith('\0')).toBe(true);
    expect(JSON.parse(text.slice(0, -1))).toEqual({
      capabilities: {
        max_msg_fds: 16,
        max_data_xfer_size: 65536,
        max_dma_maps: 512,
        pgsizes: 4096,
        write_multiple: true,
      },
    });
    const words = (view: DataView): number[] =>
      Array.from({ length: view.byteLength / 4 }, (_, i) => view.getUint32(4 * i, true));
    expect(words(await wire.done('DEVICE_GET_INFO', fields(16, 0, 0, 0)))).toEqual([16, 3, 9, 5]);
    const sizes: number[] = [];
    for (let index = 0; index < 9; index++)
      sizes.push(words(await wire.done('DEVICE_GET_REGION_INFO', fields(32, 0, index, 0, 0n, 0n)))[4] ?? -1);
    expect(sizes).toEqual([0, 4096, 0, 0, 16384, 0, 0, 256, 0]);
    const irqs: number[][] = [];
    for (let index = 0; index < 5; index++)
      irqs.push(words(await wire.done('DEVICE_GET_IRQ_INFO', fields(16, 0, index, 0))).slice(1));
    expect(irqs).toEqual([
      [7, 0, 1],
      [0, 1, 0],
      [1, 2, 5],
      [1, 3, 1],
      [0, 4, 0],
    ]);
  });

  test('a vector without an eventfd is pending, and is sent when it has one', async () => {
    serve();
    const client = await connect();
    const none = fields(20, SET_IRQS.DATA_EVENTFD | SET_IRQS.TRIGGER, IRQ.MSIX, 1, 1);
    await client.wire.done('DEVICE_SET_IRQS', none);
    const driver = diskOf(client);
    const read = driver.read(0, 8);
    const [msixBar, pending] = [1, 2048];
    await until(() => events.length > 0);
    for (let bits = 0; bits === 0; ) bits = (await client.wire.read(msixBar, pending, 4)).getUint32(0, true);
    const vector = client.vectors[1] ?? -1;
    expect(clear(vector)).toBe(false);
    await client.wire.done('DEVICE_SET_IRQS', none, [vector]);
    expect((await client.wire.read(msixBar, pending, 4)).getUint32(0, true)).toBe(0);
    await finish(driver);
    expect(read.status).toBe(0);
  });

  test('the client tries interrupts, one or some', async () => {
    serve({ queues: 4 });
    const client = await connect();
    const due = (): number[] => client.vectors.flatMap((fd, vector) => (clear(fd) ? [vector] : []));
    await client.wire.done(
      'DEVICE_SET_IRQS',
      fields(20, SET_IRQS.DATA_NONE | SET_IRQS.TRIGGER, IRQ.MSIX, 1, 2),
    );
    expect(due()).toEqual([1, 2]);
    const some = concat(
      fields(23, SET_IRQS.DATA_BOOL | SET_IRQS.TRIGGER, IRQ.MSIX, 0, 3),
      Uint8Array.of(1, 0, 1),
    );
    await client.wire.done('DEVICE_SET_IRQS', some);
    expect(due()).toEqual([0, 2]);
    await client.wire.done(
      'DEVICE_SET_IRQS',
      fields(20, SET_IRQS.DATA_NONE | SET_IRQS.TRIGGER, IRQ.MSIX, 0, 0),
    );
    await client.wire.done(
      'DEVICE_SET_IRQS',
      fields(20, SET_IRQS.DATA_NONE | SET_IRQS.TRIGGER, IRQ.MSIX, 0, 5),
    );
    expect(due()).toEqual([]);
  });

  test('an eventfd for errors is kept, tried and given back', async () => {
    serve();
    const client = await connect();
    const bell = createEventfd();
    toClose.push({ close: () => closeDescriptor(bell) });
    const set = (flags: number, count: number): Uint8Array => fields(20, flags, IRQ.ERR, 0, count);
    for (let time = 0; time < 2; time++)
      await client.wire.done('DEVICE_SET_IRQS', set(SET_IRQS.DATA_EVENTFD | SET_IRQS.TRIGGER, 1), [bell]);
    await work(diskOf(client), 4);
    expect(clear(bell)).toBe(false);
    await client.wire.done('DEVICE_SET_IRQS', set(SET_IRQS.DATA_NONE | SET_IRQS.TRIGGER, 1));
    expect(clear(bell)).toBe(true);
    await client.wire.done('DEVICE_SET_IRQS', set(SET_IRQS.DATA_NONE | SET_IRQS.TRIGGER, 0));
    await client.wire.done('DEVICE_SET_IRQS', set(SET_IRQS.DATA_NONE | SET_IRQS.TRIGGER, 1));
    expect(clear(bell)).toBe(false);
  });

  test('an eventfd unmasks the line', async () => {
    serve();
    const client = await connect({ interrupts: 'intx' });
    const unmask = createEventfd();
    toClose.push({ close: () => closeDescriptor(unmask) });
    const line = client.intx ?? -1;
    const request = fields(20, SET_IRQS.DATA_EVENTFD | SET_IRQS.UNMASK, IRQ.INTX, 0, 1);
    await client.wire.done('DEVICE_SET_IRQS', request, [unmask]);
    const driver = diskOf(client);
    driver.read(0, 8);
    await until(() => clear(line));
    // nobody has read what it was: it is still up
    signal(unmask);
    await until(() => clear(line));
    signal(unmask);
    await finish(driver);
  });

  test('several writes in one message are done in their order', async () => {
    serve();
    const client = await connect();
    await work(diskOf(client), 4);
    const [bar, status] = [4, 20];
    const write = (value: number): Uint8Array =>
      concat(fields(BigInt(status), bar, 1), fields(BigInt(value)));
    const view = await client.wire.done(
      'REGION_WRITE_MULTI',
      concat(fields(3n), write(0), write(1), write(3)),
    );
    expect(view.getBigUint64(0, true)).toBe(3n);
    expect(await client.readStatus()).toBe(3);
  });

  test('a write without effect on the driver is answered, one with NO_REPLY is not', async () => {
    serve();
    const client = await connect();
    const payload = concat(fields(20n, 4, 1), Uint8Array.of(1));
    client.wire.raw(message(COMMAND.REGION_WRITE, payload, { flags: FLAG.NO_REPLY }));
    const view = await client.wire.done('REGION_WRITE', payload);
    expect([view.byteLength, view.getUint32(12, true)]).toEqual([16, 1]);
  });

  test('memory for which there is no file is told, and is none', async () => {
    const server = serve();
    const wire = new Wire(join(folder, 's'));
    toClose.push(wire);
    wire.raw(version());
    await wire.next();
    await wire.done('DMA_MAP', fields(32, 3, 0n, 0n, 0x10_0000n));
    await wire.done('DMA_MAP', fields(32, 1, 0n, 0xf000_0000n, 0x10_0000n));
    await wire.done('DMA_MAP', fields(32, 3, 0n, 0x10_0000n, BigInt(RAM_BYTES)), [guest.file]);
    expect(server.client).toEqual({
      regions: 1,
      memoryBytes: RAM_BYTES,
      unreachableBytes: 0x10_0000,
      shrinkable: false,
    });
    await wire.done('DMA_UNMAP', fields(24, 0, 0n, 0x10_0000n));
    await wire.done('DMA_UNMAP', fields(24, 2, 0n, 0n));
    expect(server.client).toMatchObject({ regions: 0, unreachableBytes: 0 });
  });

  test('memory that is read-only is not written', async () => {
    serve();
    const client = await connect();
    const all = [0n, BigInt(RAM_BYTES)] as const;
    await client.wire.done('DMA_UNMAP', fields(24, 0, ...all));
    await client.wire.done('DMA_MAP', fields(32, 1, 0n, ...all), [guest.file]);
    diskOf(client).read(0, 8);
    await until(() => events.some(({ name }) => name === 'fault'));
    await turn();
    expect((await client.readStatus()) & 0x40).toBe(0x40);
  });

  test('a client that goes without waiting for its replies has left, and done nothing wrong', async () => {
    const server = serve();
    const wire = new Wire(join(folder, 's'));
    wire.raw(version());
    for (let n = 0; n < 4; n++) wire.raw(message(COMMAND.DEVICE_GET_INFO, fields(16, 0, 0, 0)));
    wire.close();
    await until(() => server.served === 1 && server.client === undefined);
    expect(events.map(({ name }) => name)).toEqual(['client', 'client-left']);
  });

  test('nothing of a client stays open', async () => {
    const server = serve();
    const open = readdirSync('/proc/self/fd').length;
    const client = await connect();
    await work(diskOf(client), 4);
    toClose.pop();
    client.close();
    await until(() => server.client === undefined);
    expect(readdirSync('/proc/self/fd').length).toBe(open);
  });
});
