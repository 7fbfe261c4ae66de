// A device and its front end over a real socket, with the drivers of @virtkit/testing.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DeviceEvent } from '@virtkit/core';
import { type BlkBackend, BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { acceptFrom, closeDescriptor, listenAt, mapShared, receive } from '@virtkit/linux';
import type { BlkDriver, RingWishes } from '@virtkit/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { serveVhostUser, type VhostUserServer } from '../src/index.ts';
import { diskOf, FrontEnd, fields, finish, Guest, memfd, turn, until } from './front-end.ts';

const SECTORS = 2048;
let folder: string;
let guest: Guest;
let events: DeviceEvent[];
const toClose: { close(): void }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtkit-vhost-'));
  guest = new Guest();
  events = [];
});

afterEach(() => {
  for (const each of toClose.splice(0).reverse()) each.close();
  guest.close();
  rmSync(folder, { recursive: true, force: true });
});

const content = new Uint8Array(SECTORS * 512);

function serve(
  options: { readonly backend?: BlkBackend; readonly queues?: number; readonly inOrder?: boolean } = {},
): VhostUserServer & { readonly model: BlkDevice } {
  const { backend = memoryDisk(content.fill(0)), queues = 1, inOrder = false } = options;
  const model = new BlkDevice({ backend, queues });
  const server = serveVhostUser(model, {
    path: join(folder, 's'),
    rings: { inOrder },
    onEvent: (event) => events.push(event),
  });
  toClose.push(server);
  return Object.assign(server, { model });
}

async function connect(options?: Parameters<typeof FrontEnd.connect>[2]): Promise<FrontEnd> {
  const frontEnd = await FrontEnd.connect(join(folder, 's'), guest, options);
  toClose.push(frontEnd);
  return frontEnd;
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
  { name: 'split, in order', inOrder: true },
  { name: 'packed', packed: true },
  { name: 'packed, event index, indirect', packed: true, eventIdx: true, indirect: 'mixed' },
  { name: 'packed, in order', packed: true, inOrder: true },
];

describe('a disk', () => {
  test.each(RINGS)('is written and read: $name', async (rings) => {
    serve({ inOrder: rings.inOrder ?? false });
    await work(diskOf(await connect(), rings));
    expect(events.map(({ name }) => name)).toEqual(['front-end']);
  });

  test('with four queues', async () => {
    const server = serve({ queues: 4 });
    const driver = diskOf(await connect(), { eventIdx: true }, 4);
    expect(driver.queues).toBe(4);
    await work(driver);
    for (let queue = 0; queue < 4; queue++) expect(server.device.queue(queue)?.setups).toBe(1);
  });

  test('by a front end that shows its memory slot by slot', async () => {
    const server = serve();
    const frontEnd = await connect({ slots: true });
    expect(await frontEnd.wire.u64('GET_MAX_MEM_SLOTS')).toBe(512n);
    await work(diskOf(frontEnd));
    expect(server.frontEnd).toMatchObject({ regions: 1, memoryBytes: guest.bytes.length, shrinkable: false });
  });

  test('whose guest memory lies where a process has its own', async () => {
    guest.close();
    guest = new Guest(0x7ffd_e123_4000);
    serve();
    await work(diskOf(await connect({ slots: true }), { eventIdx: true, indirect: 'always' }));
  });

  test('by a front end that knows no protocol features', async () => {
    serve();
    const frontEnd = await connect({ protocol: 0n });
    await work(diskOf(frontEnd));
  });

  test('by a front end that tells of a new packed ring only where the driver stands: DPDK', async () => {
    serve();
    const frontEnd = await connect();
    frontEnd.freshPacked = 0x8000;
    await work(diskOf(frontEnd, { packed: true }));
  });

  test('that is slow: answers come when the back end has them, and a ring that is stopped waits for them', async () => {
    const waiting: (() => void)[] = [];
    const disk = memoryDisk(content.fill(7));
    const slow: BlkBackend = {
      size: disk.size,
      firstSector: new Uint8Array(512),
      read: (...args) =>
        new Promise<void>((resolve) => {
          waiting.push(() => {
            disk.read(...args);
            resolve();
          });
        }),
      write: disk.write,
    };
    const server = serve({ backend: slow });
    const frontEnd = await connect();
    const driver = diskOf(frontEnd);
    const reads = [driver.read(0, 1), driver.read(1, 1), driver.read(2, 1)];
    await until(() => waiting.length === 3);
    let stopped: number | undefined;
    const stopping = frontEnd.stopRing(0).then((base) => {
      stopped = base;
    });
    for (let i = 0; i < 20; i++) await turn();
    // in the ring, and not to be taken any more
    const late = driver.read(3, 1);
    for (let i = 0; i < 20; i++) await turn();
    expect([stopped, waiting.length]).toEqual([undefined, 3]);
    for (const done of waiting.splice(0)) done();
    await stopping;
    expect([stopped, server.device.queue(0)?.inFlight]).toEqual([3, 0]);
    frontEnd.startRing(0, 3);
    await until(() => waiting.length === 1);
    for (const done of waiting.splice(0)) done();
    await finish(driver);
    expect([...reads, late].map(({ status }) => status)).toEqual([0, 0, 0, 0]);
  });

  test('is stopped and goes on where it was, also in a packed ring', async () => {
    serve();
    for (const rings of [{}, { packed: true }]) {
      const frontEnd = await connect();
      const driver = diskOf(frontEnd, rings);
      for (let round = 0; round < 5; round++) {
        await work(driver, 17);
        frontEnd.startRing(0, await frontEnd.stopRing(0));
      }
      frontEnd.close();
      toClose.pop();
      await until(() => events.at(-1)?.name === 'front-end-left');
    }
  });

  test('follows a ring of which one part alone gets another place', async () => {
    const server = serve();
    const frontEnd = await connect();
    diskOf(frontEnd);
    const ring = frontEnd.rings.get(0);
    if (ring === undefined) throw new Error('a ring expected');
    await until(() => server.device.queue(0)?.format === 'split');
    const moved = [
      { ...ring, desc: ring.desc + 0x1000 },
      { ...ring, driver: ring.driver + 0x1000 },
      { ...ring, device: ring.device + 0x1000 },
    ];
    for (const place of moved) {
      frontEnd.placeRing(0, place);
      await until(() => {
        const now = server.device.queue(0);
        const parts = [now?.desc, now?.avail, now?.used];
        return parts.every((part, n) => part === BigInt([place.desc, place.driver, place.device][n] ?? 0));
      });
    }
  });

  test('does nothing while its ring is not enabled, and what waits then is done', async () => {
    serve();
    const frontEnd = await connect();
    const driver = diskOf(frontEnd);
    await work(driver, 4);
    frontEnd.wire.send('SET_VRING_ENABLE', fields(0, 0));
    await frontEnd.wire.u64('GET_STATUS');
    const read = driver.read(0, 1);
    for (let i = 0; i < 20; i++) await turn();
    driver.service();
    expect(read.status).toBeUndefined();
    frontEnd.wire.send('SET_VRING_ENABLE', fields(0, 1));
    await finish(driver);
    expect(read.status).toBe(0);
  });

  test('tells of another size, and the front end reads it', async () => {
    const disk = { size: 512 * 100, read() {}, write() {} };
    const { model } = serve({ backend: disk });
    const frontEnd = await connect();
    const driver = diskOf(frontEnd);
    expect(driver.capacity).toBe(100);
    const pair = await socketPair(folder);
    toClose.push({ close: () => [pair.near, pair.far].forEach(closeDescriptor) });
    frontEnd.wire.send('SET_BACKEND_REQ_FD', new Uint8Array(0), [pair.far]);
    await frontEnd.wire.u64('GET_STATUS');
    disk.size = 512 * 200;
    model.resize();
    const message = await pair.next();
    expect([...message]).toEqual([2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    const { view } = await frontEnd.wire.ask('GET_CONFIG', fields(0, 8, 0));
    expect(view.getUint32(12, true)).toBe(200);
  });

  test('a driver that is reset begins anew, and nothing of the one before comes back', async () => {
    const server = serve();
    const frontEnd = await connect();
    const driver = diskOf(frontEnd);
    await work(driver, 8);
    // a driver waits for its reset before it makes another ring in the same place
    frontEnd.setStatus(0);
    await frontEnd.wire.u64('GET_STATUS');
    driver.start();
    await work(driver, 8);
    frontEnd.wire.send('RESET_DEVICE');
    await frontEnd.wire.u64('GET_STATUS');
    expect(server.device.status).toBe(0);
  });

  test('a machine that stops says that its driver is no more, and still asks where the ring stands; it goes on there', async () => {
    serve();
    const frontEnd = await connect();
    const driver = diskOf(frontEnd);
    await work(driver, 16);
    const status = frontEnd.status();
    // QEMU 7.2, in this order, when its machine is stopped and goes on
    frontEnd.setStatus(0);
    const base = await frontEnd.stopRing(0);
    expect(base).toBe(32);
    frontEnd.accept(frontEnd.accepted);
    frontEnd.startRing(0, base);
    frontEnd.setStatus(status);
    await work(driver, 16);
  });

  test('a driver that breaks a rule: one event, NEEDS_RESET, and a reset mends it', async () => {
    serve();
    const frontEnd = await connect();
    const driver = diskOf(frontEnd);
    const ring = frontEnd.rings.get(0);
    if (ring === undefined) throw new Error('no ring');
    guest.ram.setU16(ring.driver + 4, 4711, true);
    guest.ram.setU16(ring.driver + 2, 1, true);
    frontEnd.notify(0);
    await until(() => events.some(({ name }) => name === 'fault'));
    expect(events.at(-1)).toMatchObject({ reason: 'Guest says index 4711 is available' });
    expect((await frontEnd.wire.u64('GET_STATUS')) & 0x40n).toBe(0x40n);
    driver.start();
    await work(driver, 4);
  });
});

/** A socket pair, which Linux's `/proc` makes of two connections. */
async function socketPair(dir: string) {
  const { Wire } = await import('./front-end.ts');
  const listener = listenAt(join(dir, 'pair'));
  const far = new Wire(join(dir, 'pair')).fd;
  const near = acceptFrom(listener) ?? -1;
  closeDescriptor(listener);
  return {
    near,
    far,
    async next(): Promise<Uint8Array> {
      const bytes = new Uint8Array(64);
      for (;;) {
        const { count } = receive(near, bytes);
        if (count >= 0) return bytes.slice(0, count);
        await turn();
      }
    },
  };
}

describe('pages that are written', () => {
  test('are in the log while the front end wants it, and only they', async () => {
    serve();
    const frontEnd = await connect();
    const driver = diskOf(frontEnd);
    await work(driver, 4);
    const file = memfd(4096);
    toClose.push({ close: () => closeDescriptor(file) });
    const log = mapShared(file, 0, 4096).window(0, 4096);
    await frontEnd.wire.ask('SET_LOG_BASE', fields(4096n, 0n), [file]);
    await finish(driver);
    expect(log.every((byte) => byte === 0)).toBe(true);
    frontEnd.wire.send('SET_FEATURES', fields(frontEnd.accepted | (1n << 30n) | (1n << 26n)));
    await frontEnd.wire.u64('GET_STATUS');
    const read = driver.read(0, 8);
    await finish(driver);
    expect(read.status).toBe(0);
    const pages = [...log.keys()].flatMap((at) =>
      Array.from({ length: 8 }, (_, bit) => 8 * at + bit).filter(() => log[at] !== 0),
    );
    const dirty = pages.filter((page) => ((log[page >> 3] ?? 0) >> (page & 7)) & 1);
    const used = Math.floor((frontEnd.rings.get(0)?.device ?? 0) / 4096);
    expect(dirty).toContain(used);
    // the data, its status, the used ring
    expect(dirty.length).toBeGreaterThan(1);
    expect(dirty.length).toBeLessThan(6);
    log.fill(0);
    frontEnd.wire.send('SET_FEATURES', fields(frontEnd.accepted | (1n << 30n)));
    await frontEnd.wire.u64('GET_STATUS');
    driver.read(0, 8);
    await finish(driver);
    expect(log.every((byte) => byte === 0)).toBe(true);
  });
});

/** A disk that answers when the test lets it. */
function heldDisk(
  bytes: Uint8Array,
): BlkBackend & { readonly asked: number[]; answer(which?: (position: number) => boolean): void } {
  const disk = memoryDisk(bytes);
  const asked: number[] = [];
  let waiting: { readonly position: number; readonly done: () => void }[] = [];
  return {
    size: disk.size,
    firstSector: new Uint8Array(512),
    asked,
    read: (...args) => disk.read(...args),
    write: (position, source, from, length) => {
      asked.push(position / 512);
      disk.write(position, source, from, length);
      return new Promise((done) => waiting.push({ position, done }));
    },
    answer(which = () => true) {
      const now = waiting.filter(({ position }) => which(position / 512));
      waiting = waiting.filter((each) => !now.includes(each));
      for (const { done } of now) done();
    },
  };
}

describe('requests in flight when a server ends', () => {
  test('are done by the next one, in the order in which they were taken, and the others are not done again', async () => {
    const first = heldDisk(content.fill(0));
    const before = serve({ backend: first });
    const frontEnd = await connect();
    await frontEnd.keepInFlight(1, 128);
    const driver = diskOf(frontEnd);
    const writes = Array.from({ length: 10 }, (_, n) => driver.write(8 * n, pattern(n)));
    await until(() => first.asked.length === 10);
    // in an order of its own, and one of the last is answered: the ring's used entries say nothing of the others
    first.answer((sector) => [8, 32, 72].includes(sector));
    await until(() => {
      driver.service();
      return driver.pending === 7;
    });
    before.close();
    expect(await frontEnd.wire.next()).toBeUndefined();

    const second = heldDisk(content);
    const after = serve({ backend: second });
    const again = await connect();
    await again.keepInFlight(1, 128);
    again.accept(frontEnd.accepted);
    const ring = frontEnd.rings.get(0);
    if (ring === undefined) throw new Error('no ring');
    again.rings.set(0, ring);
    // QEMU says the used index: what it knows when its back end has gone
    again.startRing(0, guest.ram.u16(ring.device + 2, true));
    await until(() => second.asked.length === 7);
    expect(second.asked).toEqual([0, 16, 24, 40, 48, 56, 64]);
    expect(after.device.queue(0)).toMatchObject({ inFlight: 7 });
    second.answer();
    await until(() => {
      driver.virtio.collect(0);
      return driver.pending === 0;
    });
    expect(writes.map(({ status }) => status)).toEqual(writes.map(() => 0));
    expect(after.device.queue(0)?.inFlight).toBe(0);
  });

  test('a list that makes no sense is read all the same, and harms nobody', async () => {
    serve();
    const frontEnd = await connect();
    await frontEnd.keepInFlight(1, 128);
    const list = guest.inFlight;
    if (list === undefined) throw new Error('no list');
    const size = Number(new DataView(list.payload.buffer).getBigUint64(0, true));
    const bytes = mapShared(list.descriptor, 0, size).window(0, size);
    for (const fill of [0xff, 1, 0x80]) {
      bytes.fill(fill);
      bytes.set([1, 0], 8);
      const driver = diskOf(frontEnd);
      driver.read(0, 1);
      for (let i = 0; i < 20; i++) await turn();
      guest.renew();
    }
    await frontEnd.wire.u64('GET_STATUS');
  });
});

describe('front ends', () => {
  test('come one after the other; nothing of one is left for the next', async () => {
    const server = serve();
    await turn();
    const before = readdirSync('/proc/self/fd').length;
    for (let round = 0; round < 5; round++) {
      guest.renew();
      const frontEnd = await connect();
      await work(diskOf(frontEnd), 8);
      frontEnd.close();
      toClose.pop();
      await until(() => server.frontEnd === undefined);
    }
    expect(server.served).toBe(5);
    expect(readdirSync('/proc/self/fd').length).toBe(before);
  });

  test('a second one waits until the first has gone', async () => {
    const server = serve();
    const first = await connect();
    const second = connect();
    await work(diskOf(first), 8);
    expect(server.served).toBe(1);
    first.close();
    toClose.splice(toClose.indexOf(first), 1);
    await work(diskOf(await second), 8);
    expect(server.served).toBe(2);
  });

  test('one that is sent away hears of it, and the socket goes', async () => {
    const server = serve();
    const frontEnd = await connect();
    server.close();
    expect(await frontEnd.wire.next()).toBeUndefined();
    expect(readdirSync(folder)).toEqual([]);
  });

  test('a server takes over the socket of one that was killed, and none that somebody listens on', async () => {
    const server = serve();
    expect(() => serve()).toThrow('EADDRINUSE');
    server.close();
    toClose.length = 0;
    serve();
    await work(diskOf(await connect()), 2);
  });
});
