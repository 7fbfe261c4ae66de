// Front ends that are broken, or mean harm: an event, a closed connection, and a server that goes on.
import { mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DeviceEvent } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { closeDescriptor, WINDOWS_MAX } from '@virtkit/linux';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { serveVhostUser, type VhostUserServer } from '../src/index.ts';
import { SLOTS_MAX } from '../src/memory/guest-memory.ts';
import { FLAG, REQUEST, type RequestName } from '../src/wire/requests.ts';
import { diskOf, eventfd, FrontEnd, fields, finish, Guest, memfd, until, Wire } from './front-end.ts';

let folder: string;
let server: VhostUserServer;
let events: DeviceEvent[];
let descriptors: number[];
const path = (): string => join(folder, 's');

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtkit-vhost-'));
  events = [];
  descriptors = [];
  const device = new BlkDevice({ backend: memoryDisk(1 << 20), queues: 2 });
  server = serveVhostUser(device, { path: path(), onEvent: (event) => events.push(event) });
});

afterEach(() => {
  server.close();
  for (const fd of descriptors) closeDescriptor(fd);
  rmSync(folder, { recursive: true, force: true });
});

function kept(fd: number): number {
  descriptors.push(fd);
  return fd;
}

/** A message with any header. */
const message = (
  request: number,
  flags: number,
  size: number,
  payload: Uint8Array = new Uint8Array(0),
): Uint8Array => new Uint8Array([...fields(request, flags, size), ...payload]);

const request = (name: RequestName, payload: Uint8Array = new Uint8Array(0)): Uint8Array =>
  message(REQUEST[name], FLAG.VERSION, payload.length, payload);

const region = (gpa: bigint, size: bigint, user: bigint, offset = 0n): Uint8Array =>
  fields(gpa, size, user, offset);
const table = (...regions: readonly Uint8Array[]): Uint8Array =>
  new Uint8Array([...fields(regions.length, 0), ...regions.flatMap((bytes) => [...bytes])]);
const slot = (bytes: Uint8Array): Uint8Array => new Uint8Array([...fields(0n), ...bytes]);

interface Attack {
  readonly what: string;
  readonly reason: RegExp;
  /** Messages, each with the descriptors that go with it. */
  readonly says: () => readonly (readonly [Uint8Array, (readonly number[])?])[];
}

const RING = (queue: number): readonly (readonly [Uint8Array, (readonly number[])?])[] => [
  [request('SET_MEM_TABLE', table(region(0n, 0x10000n, 0x1000n))), [kept(memfd(0x10000))]],
  [request('SET_VRING_NUM', fields(queue, 16))],
  [request('SET_VRING_ADDR', fields(queue, 0, 0x1000n, 0x2000n, 0x3000n, 0n))],
];

const ATTACKS: readonly Attack[] = [
  { what: 'another version', reason: /version 2/, says: () => [[message(1, 2, 0)]] },
  { what: 'a reply', reason: /a reply to nothing/, says: () => [[message(1, FLAG.VERSION | FLAG.REPLY, 0)]] },
  { what: 'a request that nobody offered', reason: /request 28/, says: () => [[message(28, 1, 0)]] },
  { what: 'a request of no number', reason: /request 4294967295/, says: () => [[message(0xffffffff, 1, 0)]] },
  { what: 'a payload of 4 GiB', reason: /at most 512/, says: () => [[message(2, 1, 0xffffffff)]] },
  {
    what: 'a payload that is too short',
    reason: /0 bytes and 0 file descriptors, 8/,
    says: () => [[request('SET_FEATURES')]],
  },
  {
    what: 'a payload that is too long',
    reason: /16 bytes/,
    says: () => [[request('SET_FEATURES', fields(0n, 0n))]],
  },
  {
    what: 'features that were not offered',
    reason: /features 0x/,
    says: () => [[request('SET_FEATURES', fields(1n << 63n))]],
  },
  {
    what: 'protocol features that were not offered',
    reason: /protocol features/,
    says: () => [[request('SET_PROTOCOL_FEATURES', fields(1n << 8n))]],
  },
  {
    what: 'descriptors that nobody asked for',
    reason: /1 file descriptors/,
    says: () => [[request('SET_OWNER'), [kept(eventfd())]]],
  },
  {
    what: 'nine regions',
    reason: /9 regions, at most 8/,
    says: () => [
      [
        request(
          'SET_MEM_TABLE',
          table(...Array.from({ length: 9 }, (_, n) => region(BigInt(n) << 16n, 4096n, BigInt(n) << 16n))),
        ),
      ],
    ],
  },
  {
    what: 'a region without a descriptor',
    reason: /0 file descriptors, 40 and 1 expected/,
    says: () => [[request('SET_MEM_TABLE', table(region(0n, 4096n, 0n)))]],
  },
  {
    what: 'a region behind the end of its file',
    reason: /of a file of 4096/,
    says: () => [[request('SET_MEM_TABLE', table(region(0n, 8192n, 0n))), [kept(memfd(4096))]]],
  },
  {
    what: 'a region of no bytes',
    reason: /a region of 0 bytes/,
    says: () => [[request('SET_MEM_TABLE', table(region(0n, 0n, 0n))), [kept(memfd(4096))]]],
  },
  {
    what: 'a region that goes round',
    reason: /a region of/,
    says: () => [
      [request('SET_MEM_TABLE', table(region(0xffffffff_fffff000n, 8192n, 0n))), [kept(memfd(8192))]],
    ],
  },
  {
    what: 'a region of a socket',
    reason: /of a file of/,
    says: () => [[request('SET_MEM_TABLE', table(region(0n, 4096n, 0n))), [kept(eventfd())]]],
  },
  {
    what: 'regions that overlap',
    reason: /regions overlap/,
    says: () => [
      [
        request('SET_MEM_TABLE', table(region(0n, 8192n, 0n), region(4096n, 8192n, 65536n))),
        [kept(memfd(8192)), kept(memfd(8192))],
      ],
    ],
  },
  {
    what: 'a region to remove that there is not',
    reason: /REM_MEM_REG: no region/,
    says: () => [[request('REM_MEM_REG', slot(region(0n, 4096n, 0n)))]],
  },
  { what: 'queue 2 of two', reason: /queue 2 of 2/, says: () => [[request('SET_VRING_NUM', fields(2, 16))]] },
  {
    what: 'queue 2^32 - 1',
    reason: /queue 4294967295 of 2/,
    says: () => [[request('SET_VRING_BASE', fields(0xffffffff, 0))]],
  },
  {
    what: 'a ring of 1025 entries',
    reason: /1025 entries/,
    says: () => [[request('SET_VRING_NUM', fields(0, 1025))]],
  },
  {
    what: 'a ring that is nowhere',
    reason: /in none of the regions/,
    says: () => [[request('SET_VRING_ADDR', fields(0, 0, 1n, 2n, 3n, 0n))]],
  },
  {
    what: 'a ring without a size',
    reason: /has no size/,
    says: () => [[request('SET_VRING_KICK', fields(0n)), [kept(eventfd())]]],
  },
  {
    what: 'a ring without kicks',
    reason: /would have to be polled/,
    says: () => [...RING(0), [request('SET_VRING_KICK', fields(0x100n))]],
  },
  {
    what: 'kicks from a file',
    reason: /is no eventfd/,
    says: () => [...RING(0), [request('SET_VRING_KICK', fields(0n)), [kept(memfd(8))]]],
  },
  {
    what: 'kicks from a file that is called as an eventfd',
    reason: /is no eventfd/,
    says: () => {
      const name = join(folder, '[eventfd]');
      writeFileSync(name, '');
      return [...RING(0), [request('SET_VRING_KICK', fields(0n)), [kept(openSync(name, 'r+'))]]];
    },
  },
  {
    what: 'interrupts to a file',
    reason: /is no eventfd/,
    says: () => [[request('SET_VRING_CALL', fields(0n)), [kept(openSync('/dev/full', 'r+'))]]],
  },
  {
    what: 'a size for a ring that runs',
    reason: /queue 1 runs/,
    says: () => [
      ...RING(1),
      [request('SET_VRING_KICK', fields(1n)), [kept(eventfd())]],
      [request('SET_VRING_NUM', fields(1, 16))],
    ],
  },
  {
    what: 'other features while a ring runs',
    reason: /while a ring runs/,
    says: () => [
      ...RING(1),
      [request('SET_VRING_KICK', fields(1n)), [kept(eventfd())]],
      [request('SET_FEATURES', fields(1n << 32n))],
    ],
  },
  {
    what: 'a piece of the configuration behind its end',
    reason: /bytes 200 to 300/,
    says: () => [[request('GET_CONFIG', fields(200, 100, 0))]],
  },
  {
    what: 'a piece of 4 GiB',
    reason: /GET_CONFIG: bytes/,
    says: () => [[request('GET_CONFIG', fields(0, 0xffffffff, 0))]],
  },
  {
    what: 'a log of 2^60 bytes',
    reason: /SET_LOG_BASE: 1152921504606846976 bytes/,
    says: () => [[request('SET_LOG_BASE', fields(1n << 60n, 0n)), [kept(memfd(4096))]]],
  },
  {
    what: 'a list of chains for a million queues',
    reason: /a list for/,
    says: () => [[request('GET_INFLIGHT_FD', fields(0n, 0n, 0xffffffff, 0))]],
  },
  {
    what: 'a list of chains that is too short',
    reason: /SET_INFLIGHT_FD: 64 bytes at 0/,
    says: () => [[request('SET_INFLIGHT_FD', fields(64n, 0n, 0x00800002, 0)), [kept(memfd(64))]]],
  },
  {
    what: 'a list of chains at an odd place',
    reason: /SET_INFLIGHT_FD: 8192 bytes at 1/,
    says: () => [[request('SET_INFLIGHT_FD', fields(8192n, 1n, 0x00800002, 0)), [kept(memfd(16384))]]],
  },
  { what: 'an end within a message', reason: /ended within a message/, says: () => [[message(2, 1, 8)]] },
];

describe('an event and a closed connection', () => {
  test.each(ATTACKS)('for $what', async ({ reason, says }) => {
    const open = readdirSync('/proc/self/fd').length;
    const wire = new Wire(path());
    for (const [bytes, fds] of says()) wire.raw(bytes, fds);
    if (/within/.test(reason.source)) wire.close();
    await until(() => events.some(({ name }) => name === 'front-end-fault'));
    expect(events.at(-1)).toMatchObject({ name: 'front-end-fault', reason: expect.stringMatching(reason) });
    expect(server.frontEnd).toBeUndefined();
    // nothing of the front end is kept here
    if (!/within/.test(reason.source)) wire.close();
    for (const fd of descriptors.splice(0)) closeDescriptor(fd);
    expect(readdirSync('/proc/self/fd').length).toBe(open);
    // and the next one is served
    const guest = new Guest();
    const frontEnd = await FrontEnd.connect(path(), guest);
    const driver = diskOf(frontEnd);
    const read = driver.read(0, 1);
    await finish(driver);
    expect(read.status).toBe(0);
    frontEnd.close();
    guest.close();
  });
});

describe('bounds', () => {
  test('more file descriptors with a message than 8 are refused and closed', async () => {
    const open = readdirSync('/proc/self/fd').length;
    const fds = Array.from({ length: 8 }, () => kept(eventfd()));
    const wire = new Wire(path());
    const bytes = request('SET_FEATURES', fields(0n));
    // eight with the first byte, and eight more with the others
    wire.raw(bytes.subarray(0, 6), fds);
    wire.raw(bytes.subarray(6), fds);
    await until(() => events.some(({ name }) => name === 'front-end-fault'));
    expect(events.at(-1)?.reason).toBe('more than 8 file descriptors with a message');
    wire.close();
    for (const fd of descriptors.splice(0)) closeDescriptor(fd);
    expect(readdirSync('/proc/self/fd').length).toBe(open);
  });

  test('more than 512 regions', async () => {
    const wire = new Wire(path());
    const file = kept(memfd(4096));
    for (let n = 0; n <= SLOTS_MAX; n++) {
      wire.send('ADD_MEM_REG', slot(region(BigInt(n) << 13n, 4096n, BigInt(n) << 13n)), [file]);
      if (n < SLOTS_MAX) await wire.u64('GET_MAX_MEM_SLOTS');
    }
    await until(() => events.some(({ name }) => name === 'front-end-fault'));
    expect(events.at(-1)?.reason).toBe('ADD_MEM_REG: more than 512 regions');
    wire.close();
  });

  test('more than 2048 windows since the front end has connected, also one after the other', async () => {
    const wire = new Wire(path());
    const file = kept(memfd(4096));
    const place = (n: number): Uint8Array => slot(region(BigInt(n) << 31n, 4096n, BigInt(n) << 31n));
    for (let n = 0; n < WINDOWS_MAX; n++) {
      // the same place again is nothing new
      for (const gpa of [n, n >> 1]) {
        wire.send('ADD_MEM_REG', place(gpa), [file]);
        wire.send('REM_MEM_REG', place(gpa));
      }
      if (n % 16 === 0) await wire.u64('GET_STATUS');
    }
    await wire.u64('GET_STATUS');
    expect(events.map(({ name }) => name)).toEqual(['front-end']);
    wire.send('ADD_MEM_REG', place(WINDOWS_MAX), [file]);
    await until(() => events.some(({ name }) => name === 'front-end-fault'));
    expect(events.at(-1)?.reason).toMatch('more than 2048 windows of guest memory');
    wire.close();
  });

  test('a front end that does not take its answers is sent away', async () => {
    const wire = new Wire(path());
    for (let sent = 0; !events.some(({ name }) => name === 'front-end-fault'); sent++) {
      wire.raw(request('GET_FEATURES'));
      if (sent % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(events.at(-1)?.reason).toBe('the front end does not take its answers');
    wire.close();
  });

  test.each([
    { what: 'a log', says: [request('SET_LOG_BASE', fields(4096n, 0n))] },
    { what: 'a list of chains', says: [request('SET_INFLIGHT_FD', fields(4096n, 0n, 0x00100002, 0))] },
  ])('$what that could become shorter is told of, as memory is', async ({ says }) => {
    const name = join(folder, 'file');
    writeFileSync(name, new Uint8Array(4096));
    const file = kept(openSync(name, 'r+'));
    for (const [fd, shrinkable] of [
      [kept(memfd(4096)), false],
      [file, true],
    ] as const) {
      const wire = new Wire(path());
      for (const bytes of says) wire.raw(bytes, [fd]);
      wire.send('GET_STATUS');
      await wire.next();
      await until(() => server.frontEnd !== undefined);
      expect(server.frontEnd?.shrinkable).toBe(shrinkable);
      wire.close();
      await until(() => server.frontEnd === undefined);
    }
  });

  test('memory that has gone is zeros to whoever has an array of it still', async () => {
    const guest = new Guest();
    const frontEnd = await FrontEnd.connect(path(), guest);
    await frontEnd.wire.u64('GET_STATUS');
    guest.bytes.fill(7);
    const bytes = server.device.memory.regionAt(0)?.bytes;
    expect([bytes?.length, bytes?.[4711]]).toEqual([guest.bytes.length, 7]);
    frontEnd.close();
    await until(() => server.frontEnd === undefined);
    expect([bytes?.length, bytes?.[4711]]).toEqual([guest.bytes.length, 0]);
    bytes?.fill(1);
    expect(guest.bytes[4711]).toBe(7);
    guest.close();
  });
});
