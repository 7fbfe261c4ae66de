// Clients that are broken, or mean harm: an event, an error or a closed connection, and a server that goes on.
import { mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DeviceEvent } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { closeDescriptor, createEventfd, sharedFile } from '@virtkit/linux';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { serveVfioUser, type VfioUserServer } from '../src/index.ts';
import { MAPS_MAX } from '../src/session/dma.ts';
import {
  COMMAND,
  type CommandName,
  FLAG,
  HEADER_BYTES,
  PAYLOAD_MAX,
  SET_IRQS,
} from '../src/wire/commands.ts';
import { VERSION_DATA_MAX } from '../src/wire/version.ts';
import {
  command,
  concat,
  diskOf,
  fields,
  finish,
  Guest,
  message,
  turn,
  until,
  VfioClient,
  version,
  Wire,
} from './client.ts';

let folder: string;
let server: VfioUserServer;
let events: DeviceEvent[];
let descriptors: number[];
const path = (): string => join(folder, 's');

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtkit-vfio-'));
  events = [];
  descriptors = [];
  const device = new BlkDevice({ backend: memoryDisk(1 << 20), queues: 2 });
  server = serveVfioUser(device, { path: path(), onEvent: (event) => events.push(event) });
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

type Says = readonly (readonly [Uint8Array, (readonly number[])?])[];

interface Attack {
  readonly what: string;
  readonly reason: RegExp;
  /** Messages, each with the descriptors that go with it. */
  readonly says: () => Says;
}

const EVENTFD = SET_IRQS.DATA_EVENTFD | SET_IRQS.TRIGGER;
const versionOf = (text: string, major = 0): Uint8Array =>
  message(COMMAND.VERSION, concat(fields(major), new TextEncoder().encode(text)));
const dmaMap = (address: bigint, size: bigint, { flags = 3, offset = 0n, argsz = 32 } = {}): Uint8Array =>
  command('DMA_MAP', argsz, flags, offset, address, size);

/** Nothing of such a client can be believed. */
const FAULTS: readonly Attack[] = [
  {
    what: 'a message that is shorter than its header',
    reason: /a message of 15 bytes/,
    says: () => [[message(1, fields(0), { size: 15 })]],
  },
  {
    what: 'a message of 4 GiB',
    reason: /a message of 4294967295 bytes/,
    says: () => [[message(1, fields(0), { size: 0xffffffff })]],
  },
  {
    what: 'a message that is a byte too long',
    reason: /expected/,
    says: () => [[message(1, fields(0), { size: HEADER_BYTES + PAYLOAD_MAX + 1 })]],
  },
  {
    what: 'a message of another type',
    reason: /of type 2/,
    says: () => [[message(1, fields(0), { flags: 2 })]],
  },
  {
    what: 'a reply to nothing',
    reason: /a reply to nothing/,
    says: () => [[version()], [message(COMMAND.DMA_READ, fields(0n, 8n), { flags: FLAG.REPLY })]],
  },
  {
    what: 'a command before VERSION',
    reason: /command 4 before VERSION/,
    says: () => [[command('DEVICE_GET_INFO', 16, 0, 0, 0)]],
  },
  { what: 'VERSION twice', reason: /a second time/, says: () => [[version()], [version()]] },
  { what: 'another major version', reason: /VERSION: 1\.0/, says: () => [[versionOf('{}\0', 1)]] },
  {
    what: 'VERSION of two bytes',
    reason: /VERSION: 2 bytes/,
    says: () => [[message(1, Uint8Array.of(0, 0))]],
  },
  { what: 'VERSION without an end', reason: /does not end with 0/, says: () => [[versionOf('{}')]] },
  { what: 'VERSION that is no JSON', reason: /is no JSON/, says: () => [[versionOf('{\0')]] },
  { what: 'VERSION that is a list', reason: /no JSON object/, says: () => [[versionOf('[]\0')]] },
  {
    what: 'VERSION whose capabilities are a number',
    reason: /capabilities are no JSON object/,
    says: () => [[versionOf('{"capabilities":4}\0')]],
  },
  {
    what: 'VERSION of endless nesting',
    reason: /is no JSON/,
    says: () => [[versionOf(`${'['.repeat(VERSION_DATA_MAX - 1)}\0`)]],
  },
  {
    what: 'VERSION of a long text',
    reason: /VERSION: 4101 bytes, 4 to 4100/,
    says: () => [[versionOf(`"${'x'.repeat(VERSION_DATA_MAX)}`)]],
  },
  {
    what: 'descriptors that nobody asked for',
    reason: /DEVICE_RESET: 1 file descriptors/,
    says: () => [[version()], [command('DEVICE_RESET'), [kept(createEventfd())]]],
  },
  {
    what: 'two files for one region',
    reason: /DMA_MAP: 2 file descriptors/,
    says: () => [
      [version()],
      [dmaMap(0n, 4096n), [kept(sharedFile('a', 4096)), kept(sharedFile('b', 4096))]],
    ],
  },
  {
    what: 'DMA_MAP that is too short',
    reason: /DMA_MAP: 16 bytes, 32 expected/,
    says: () => [[version()], [command('DMA_MAP', 32, 3, 0n)]],
  },
  {
    what: 'DMA_UNMAP that is too long',
    reason: /DMA_UNMAP: 32 bytes/,
    says: () => [[version()], [command('DMA_UNMAP', 24, 0, 0n, 0n, 0n)]],
  },
  {
    what: 'a write whose bytes are fewer than it says',
    reason: /REGION_WRITE: 16 bytes, 20 expected/,
    says: () => [[version()], [command('REGION_WRITE', 0n, 7, 4)]],
  },
  {
    what: 'a write of 4 GiB',
    reason: /REGION_WRITE: 20 bytes/,
    says: () => [[version()], [command('REGION_WRITE', 0n, 7, 0xffffffff, 0)]],
  },
  {
    what: 'a read that is too short',
    reason: /REGION_READ: 12 bytes/,
    says: () => [[version()], [command('REGION_READ', 0n, 7)]],
  },
  {
    what: 'several writes of which one is missing',
    reason: /REGION_WRITE_MULTI/,
    says: () => [[version()], [command('REGION_WRITE_MULTI', 2n, 0n, 7, 1, 0n)]],
  },
  {
    what: 'more writes than there are numbers',
    reason: /REGION_WRITE_MULTI/,
    says: () => [[version()], [command('REGION_WRITE_MULTI', (1n << 64n) - 1n)]],
  },
  {
    what: 'interrupts to a file',
    reason: /is no eventfd/,
    says: () => [[version()], [command('DEVICE_SET_IRQS', 20, EVENTFD, 2, 0, 1), [kept(sharedFile('a', 8))]]],
  },
  {
    what: 'fewer eventfds than interrupts',
    reason: /1 file descriptors for 2 interrupts/,
    says: () => [[version()], [command('DEVICE_SET_IRQS', 20, EVENTFD, 2, 0, 2), [kept(createEventfd())]]],
  },
  {
    what: 'eventfds where none belong',
    reason: /1 file descriptors for 1 interrupts/,
    says: () => [
      [version()],
      [
        command('DEVICE_SET_IRQS', 20, SET_IRQS.DATA_NONE | SET_IRQS.TRIGGER, 2, 0, 1),
        [kept(createEventfd())],
      ],
    ],
  },
  {
    what: 'choices that are not there',
    reason: /DEVICE_SET_IRQS: 20 bytes, 23 expected/,
    says: () => [
      [version()],
      [command('DEVICE_SET_IRQS', 20, SET_IRQS.DATA_BOOL | SET_IRQS.TRIGGER, 2, 0, 3)],
    ],
  },
  {
    what: 'an end within a message',
    reason: /ended within a message/,
    says: () => [[message(COMMAND.VERSION, fields(0), { size: 32 })]],
  },
];

interface Refused extends Attack {
  readonly errno: number;
}

/** What is answered with an error: the connection goes on. */
const REFUSALS: readonly Refused[] = [
  {
    what: 'a command that is not known',
    errno: 95,
    reason: /command 14 is not offered/,
    says: () => [[message(14, fields(0))]],
  },
  {
    what: 'migration, which QEMU does not ask for',
    errno: 95,
    reason: /DEVICE_FEATURE is not offered/,
    says: () => [[command('DEVICE_FEATURE', 8, 0)]],
  },
  {
    what: 'a region that there is not',
    errno: 22,
    reason: /region 9/,
    says: () => [[command('DEVICE_GET_REGION_INFO', 32, 0, 9, 0, 0n, 0n)]],
  },
  {
    what: 'a type of interrupts that there is not',
    errno: 22,
    reason: /of type 5/,
    says: () => [[command('DEVICE_GET_IRQ_INFO', 16, 0, 5, 0)]],
  },
  {
    what: 'too little room for a reply',
    errno: 22,
    reason: /argsz 15/,
    says: () => [[command('DEVICE_GET_INFO', 15, 0, 0, 0)]],
  },
  {
    what: 'too little room for a region',
    errno: 22,
    reason: /argsz 31/,
    says: () => [[command('DEVICE_GET_REGION_INFO', 31, 0, 0, 0, 0n, 0n)]],
  },
  {
    what: 'a map with a wrong argsz',
    errno: 22,
    reason: /argsz 0/,
    says: () => [[dmaMap(0n, 4096n, { argsz: 0 })]],
  },
  {
    what: 'a map that can neither be read nor written',
    errno: 22,
    reason: /flags 0x0/,
    says: () => [[dmaMap(0n, 4096n, { flags: 0 })]],
  },
  { what: 'a map of no bytes', errno: 22, reason: /0 bytes/, says: () => [[dmaMap(0n, 0n)]] },
  {
    what: 'a map that goes round',
    errno: 22,
    reason: /DMA_MAP/,
    says: () => [[dmaMap((1n << 64n) - 4096n, 8192n)]],
  },
  {
    what: 'a map of a file that is too short',
    errno: 22,
    reason: /of a file of 4096/,
    says: () => [[dmaMap(0n, 8192n), [kept(sharedFile('a', 4096))]]],
  },
  {
    what: 'a map behind the end of its file',
    errno: 22,
    reason: /of a file of 4096/,
    says: () => [[dmaMap(0n, 4096n, { offset: 1n }), [kept(sharedFile('a', 4096))]]],
  },
  {
    what: 'a map at an offset of 2^64 - 1',
    errno: 22,
    reason: /a region of 4096 bytes/,
    says: () => [[dmaMap(0n, 4096n, { offset: (1n << 64n) - 1n }), [kept(sharedFile('a', 4096))]]],
  },
  {
    what: 'a map of an eventfd',
    errno: 22,
    reason: /of a file of/,
    says: () => [[dmaMap(0n, 4096n), [kept(createEventfd())]]],
  },
  {
    what: 'a map of a file that can only be read',
    errno: 22,
    reason: /mmap/,
    says: () => {
      const name = join(folder, 'file');
      writeFileSync(name, new Uint8Array(4096));
      return [[dmaMap(0n, 4096n), [kept(openSync(name, 'r'))]]];
    },
  },
  {
    what: 'maps that overlap',
    errno: 17,
    reason: /4096 bytes at 0x1fff overlaps 4096 bytes at 0x1000/,
    says: () => [
      [dmaMap(0x1000n, 4096n), [kept(sharedFile('a', 4096))]],
      [dmaMap(0x1fffn, 4096n), [kept(sharedFile('b', 4096))]],
    ],
  },
  {
    what: 'a map that overlaps one without a file',
    errno: 17,
    reason: /overlaps/,
    says: () => [[dmaMap(0n, 4096n)], [dmaMap(0n, 1n), [kept(sharedFile('b', 4096))]]],
  },
  {
    what: 'the end of a map that there is not',
    errno: 2,
    reason: /no region of 4096 bytes at 0x0/,
    says: () => [[command('DMA_UNMAP', 24, 0, 0n, 4096n)]],
  },
  {
    what: 'the end of a part of a map',
    errno: 2,
    reason: /no region of 4096/,
    says: () => [
      [dmaMap(0n, 8192n), [kept(sharedFile('a', 8192))]],
      [command('DMA_UNMAP', 24, 0, 0n, 4096n)],
    ],
  },
  {
    what: 'a dirty bitmap',
    errno: 95,
    reason: /flags 0x1/,
    says: () => [[command('DMA_UNMAP', 24, 1, 0n, 4096n)]],
  },
  {
    what: 'the end of all maps, and of one',
    errno: 22,
    reason: /all, and a region/,
    says: () => [[command('DMA_UNMAP', 24, 2, 0n, 4096n)]],
  },
  {
    what: 'a read behind the end',
    errno: 22,
    reason: /4 bytes at 254 of region 7/,
    says: () => [[command('REGION_READ', 254n, 7, 4)]],
  },
  {
    what: 'a read at 2^64 - 1',
    errno: 22,
    reason: /REGION_READ/,
    says: () => [[command('REGION_READ', (1n << 64n) - 1n, 7, 4)]],
  },
  {
    what: 'a read of 4 GiB',
    errno: 22,
    reason: /4294967295 bytes/,
    says: () => [[command('REGION_READ', 0n, 7, 0xffffffff)]],
  },
  {
    what: 'a read of no bytes',
    errno: 22,
    reason: /0 bytes/,
    says: () => [[command('REGION_READ', 0n, 7, 0)]],
  },
  {
    what: 'a read of a region that there is not',
    errno: 22,
    reason: /region 4294967295/,
    says: () => [[command('REGION_READ', 0n, 0xffffffff, 4)]],
  },
  {
    what: 'a write to a region that there is not',
    errno: 22,
    reason: /region 3/,
    says: () => [[command('REGION_WRITE', 0n, 3, 4, 0)]],
  },
  {
    what: 'one of several writes behind the end',
    errno: 22,
    reason: /REGION_WRITE_MULTI: 1 bytes at 256/,
    says: () => [[command('REGION_WRITE_MULTI', 1n, 256n, 7, 1, 0n)]],
  },
  {
    what: 'one of several writes that is too long',
    errno: 22,
    reason: /9 bytes in a write/,
    says: () => [[command('REGION_WRITE_MULTI', 1n, 0n, 7, 9, 0n)]],
  },
  {
    what: 'interrupts behind the last one',
    errno: 22,
    reason: /2 interrupts from 2 on/,
    says: () => [[command('DEVICE_SET_IRQS', 20, EVENTFD, 2, 2, 2)]],
  },
  {
    what: 'interrupts from 2^32 - 1 on',
    errno: 22,
    reason: /from 4294967295 on/,
    says: () => [[command('DEVICE_SET_IRQS', 20, EVENTFD, 2, 0xffffffff, 2)]],
  },
  {
    what: 'interrupts of two actions',
    errno: 22,
    reason: /flags 0x31/,
    says: () => [[command('DEVICE_SET_IRQS', 20, 0x31, 2, 0, 1)]],
  },
  {
    what: 'interrupts of no action',
    errno: 22,
    reason: /flags 0x1/,
    says: () => [[command('DEVICE_SET_IRQS', 20, 0x01, 2, 0, 1)]],
  },
  {
    what: 'interrupts of unknown flags',
    errno: 22,
    reason: /flags 0x121/,
    says: () => [[command('DEVICE_SET_IRQS', 20, 0x121, 2, 0, 1)]],
  },
  {
    what: 'a masked vector',
    errno: 95,
    reason: /are not masked here/,
    says: () => [[command('DEVICE_SET_IRQS', 20, 0x09, 2, 0, 1)]],
  },
  {
    what: 'an eventfd that masks',
    errno: 95,
    reason: /no eventfd masks/,
    says: () => [
      [
        command('DEVICE_SET_IRQS', 20, SET_IRQS.DATA_EVENTFD | SET_IRQS.MASK, 0, 0, 1),
        [kept(createEventfd())],
      ],
    ],
  },
];

const openDescriptors = (): number => readdirSync('/proc/self/fd').length;

/** The next client finds a disk that works. */
async function works(): Promise<void> {
  const guest = new Guest();
  const client = await VfioClient.connect(path(), guest);
  const driver = diskOf(client);
  const read = driver.read(0, 1);
  await finish(driver);
  expect(read.status).toBe(0);
  client.close();
  guest.close();
  await until(() => server.client === undefined);
}

describe('an event and a closed connection', () => {
  test.each(FAULTS)('for $what', async ({ reason, says }) => {
    const open = openDescriptors();
    const wire = new Wire(path());
    for (const [bytes, fds] of says()) wire.raw(bytes, fds);
    if (/within/.test(reason.source)) wire.close();
    await until(() => events.some(({ name }) => name === 'client-fault'));
    expect(events.at(-1)).toMatchObject({ name: 'client-fault', reason: expect.stringMatching(reason) });
    expect(server.client).toBeUndefined();
    if (!/within/.test(reason.source)) wire.close();
    for (const fd of descriptors.splice(0)) closeDescriptor(fd);
    expect(openDescriptors()).toBe(open);
    await works();
  });
});

describe('an error, and a connection that goes on', () => {
  test.each(REFUSALS)('for $what', async ({ errno, reason, says }) => {
    const open = openDescriptors();
    const wire = new Wire(path());
    wire.raw(version());
    await wire.next();
    const messages = says();
    for (const [index, [bytes, fds]] of messages.entries()) {
      wire.raw(bytes, fds);
      const { flags, error, payload } = (await wire.next()) ?? {};
      const last = index === messages.length - 1;
      expect([flags, error]).toEqual(last ? [FLAG.REPLY | FLAG.ERROR, errno] : [FLAG.REPLY, 0]);
      if (last) expect(payload).toHaveLength(0);
    }
    expect(events.map(({ name }) => name)).toEqual(['client', 'client-refused']);
    expect(events.at(-1)?.reason).toMatch(reason);
    await wire.done('DEVICE_GET_INFO', fields(16, 0, 0, 0));
    wire.close();
    await until(() => server.client === undefined);
    for (const fd of descriptors.splice(0)) closeDescriptor(fd);
    expect(openDescriptors()).toBe(open);
    await works();
  });
});

describe('bounds', () => {
  test('more file descriptors with a message than 16 are refused and closed', async () => {
    const open = openDescriptors();
    const fds = Array.from({ length: 16 }, () => kept(createEventfd()));
    const wire = new Wire(path());
    // sixteen with the first byte, and sixteen more with the others
    const bytes = version();
    wire.raw(bytes.subarray(0, 6), fds);
    wire.raw(bytes.subarray(6), fds);
    await until(() => events.some(({ name }) => name === 'client-fault'));
    expect(events.at(-1)?.reason).toBe('more than 16 file descriptors with a message');
    wire.close();
    for (const fd of descriptors.splice(0)) closeDescriptor(fd);
    expect(openDescriptors()).toBe(open);
  });

  test('more than 512 regions are refused, with files and without', async () => {
    const wire = new Wire(path());
    wire.raw(version());
    await wire.next();
    const file = kept(sharedFile('a', 4096));
    const map = (n: number) => fields(32, 3, 0n, BigInt(n) << 13n, 4096n);
    for (let n = 0; n < MAPS_MAX; n++) await wire.done('DMA_MAP', map(n), n % 2 === 0 ? [file] : []);
    expect((await wire.ask('DMA_MAP', map(MAPS_MAX))).error).toBe(28);
    expect((await wire.ask('DMA_MAP', map(MAPS_MAX), [file])).error).toBe(28);
    await wire.done('DMA_UNMAP', fields(24, 0, 0n, 4096n));
    await wire.done('DMA_MAP', map(MAPS_MAX), [file]);
    wire.close();
  });

  test('a client that does not take its replies is sent away', async () => {
    const wire = new Wire(path());
    wire.raw(version());
    while (!events.some(({ name }) => name === 'client-fault')) {
      wire.raw(command('REGION_READ', 0n, 4, 4096));
      await turn();
    }
    expect(events.at(-1)?.reason).toBe('the client does not take its replies');
    wire.close();
    await works();
  });
});

/** A number that is more often one that means something. */
const word = fc.oneof(fc.nat(9), fc.constantFrom(16, 20, 24, 32, 256, 4096, 16384), fc.nat(0xffffffff));
const anyMessage = fc.record({
  command: fc.oneof(
    fc.constantFrom(...(Object.keys(COMMAND) as CommandName[]).map((name) => COMMAND[name])),
    fc.nat(30),
  ),
  flags: fc.constantFrom(0, 0, 0, FLAG.NO_REPLY, FLAG.REPLY),
  words: fc.array(word, { maxLength: 12 }),
  cut: fc.constantFrom(0, 0, 0, 1, 2, 3),
  descriptors: fc.constantFrom('', '', '', 'e', 'f', 'ef', 'eee'),
});

test('whatever clients say, the next one finds a disk that works, and nothing stays open', async () => {
  const open = openDescriptors();
  const [event, file] = [createEventfd(), sharedFile('a', 1 << 16)];
  await fc.assert(
    fc.asyncProperty(fc.array(anyMessage, { maxLength: 12 }), async (messages) => {
      const wire = new Wire(path());
      const { served } = server;
      wire.raw(version());
      for (const { command: number, flags, words, cut, descriptors: kinds } of messages) {
        const payload = fields(...words);
        const bytes = message(number, payload.subarray(0, Math.max(0, payload.length - cut)), { flags });
        wire.raw(
          bytes,
          [...kinds].map((kind) => (kind === 'e' ? event : file)),
        );
      }
      await until(() => server.served > served);
      wire.close();
      await until(() => server.client === undefined);
      expect(server.device.status).toBe(0);
    }),
    { numRuns: 200 },
  );
  closeDescriptor(event);
  closeDescriptor(file);
  await works();
  expect(openDescriptors()).toBe(open);
});
