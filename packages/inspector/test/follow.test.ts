// Descriptors followed into the guest's memory: the pages are those that a destination would have, the chains those that core takes.
import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { VirtioState } from '@virtkit/core';
import { parseStream, RamImage, ramLayout, StreamParser } from '@virtkit/migration';
import { examineDevices } from '@virtkit/migration/inspect';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MappedMemory } from '../../core/src/live/memory.ts';
import { PackedDriver, SplitDriver } from '../../core/test/live/driver.ts';
import { Rig } from '../../core/test/live/rig.ts';
import { followQueue } from '../src/model/chains.ts';
import { GuestPages } from '../src/model/guest-pages.ts';
import { readSource } from '../src/model/read.ts';
import { registry } from '../src/model/registry.ts';
import { Session } from '../src/model/session.ts';
import { blobSource } from '../src/model/source.ts';
import type { ChainRow } from '../src/model/types.ts';
import { blobOf, pathOf } from './corpus.ts';
import { ramStream } from './ram-stream.ts';
import { TEXT, waitingDisk } from './waiting-disk.ts';

const pagesOf = async (blob: Blob): Promise<GuestPages> =>
  GuestPages.of(await readSource(blobSource(blob, 'stream')));

/** Guest memory of a stream as a destination has it: the main block, and where it begins. */
function image(bytes: Uint8Array): { readonly gpa: number; readonly bytes: Uint8Array } {
  const ram = new RamImage();
  const parser = new StreamParser(ram);
  parser.push(bytes);
  parser.end();
  const [piece] = ramLayout(parseStream(bytes).configuration?.name ?? '', ram.announced);
  return { gpa: piece?.gpa ?? 0, bytes: ram.blocks.get(piece?.block ?? '') ?? new Uint8Array(0) };
}

describe('pages of the guest are those that a destination has', () => {
  test.each([
    ['10.0.13/q100-pc-live', 'pages that come again'],
    ['11.1.2/q111-s390-fullram-tiny', 'of channel I/O'],
    ['10.0.13/q100-pc-mappedram', 'in their places'],
  ])('%s: %s', { timeout: 60_000 }, async (name) => {
    const packed = await readFile(pathOf(name));
    const plain = gunzipSync(packed);
    const { gpa, bytes } = image(plain);
    expect(bytes.length).toBeGreaterThan(0);
    // out of a file piece by piece, and out of a packed one in one pass
    for (const blob of [new Blob([Uint8Array.from(plain)]), await blobOf(name)]) {
      const pages = await pagesOf(blob);
      const found = await pages.see((view) => view.bytes(gpa, bytes.length));
      expect(isDeepStrictEqual(found, Uint8Array.from(bytes))).toBe(true);
      // not where pages end, and no whole page
      const part = await pages.see((view) => view.bytes(gpa + 4090, 4110));
      expect(part).toEqual(Uint8Array.from(bytes.subarray(4090, 8200)));
    }
  });

  test('what cannot be had is said', async () => {
    const session = new Session();
    const opened = async (name: string): Promise<unknown> => {
      await session.open(blobSource(await blobOf(name), name));
      return session.memory(0x8000, 16);
    };
    await expect(opened('7.2.22/q72-pc-idle')).resolves.toMatch(/memory is not in this stream/);
    const pages = await pagesOf(await blobOf('10.0.13/q100-pc-live-xbzrle'));
    const troubles = await pages.see((view) =>
      Array.from({ length: 1024 }, (_, page) => view.trouble(page * 4096, 1)),
    );
    expect(troubles.filter((trouble) => trouble?.includes('delta')).length).toBeGreaterThan(0);
    await expect(pages.see((view) => view.trouble(2 ** 40, 1))).resolves.toBe(
      'there is no RAM at 0x10000000000',
    );
  });
});

test('a device behind an IOMMU is not followed, since its addresses are no places in memory', async () => {
  const session = new Session();
  const { devices } = await session.open(blobSource(await blobOf('10.0.13/q100-q35-iommu-io'), 'stream'));
  const sectionOf = (type: string): number => devices.find(({ name }) => name === type)?.section ?? -1;
  for (const type of ['virtio-blk', 'virtio-net'])
    await expect(session.chains(sectionOf(type), 0)).resolves.toMatchObject({
      waiting: [],
      trouble: expect.stringContaining("the device's addresses are those of the machine's IOMMU"),
    });
  // the IOMMU itself is a device whose addresses are the guest's; its memory is not in this stream
  await expect(session.chains(sectionOf('virtio-iommu'), 0)).resolves.toMatchObject({
    trouble: expect.stringContaining('memory'),
  });
});

/** A modern disk of the corpus, whose only queue is put elsewhere. */
const [disk] = examineDevices(
  parseStream(gunzipSync(await readFile(pathOf('7.2.22/q72-pc-idle')))),
  registry,
).filter(({ device }) => device.name === 'virtio-blk');

function stateWith({ setup }: Rig, lastAvailIdx: number, packed?: number): VirtioState {
  const state = disk?.decoded?.state;
  const [queue] = state?.queues ?? [];
  if (state === undefined || queue === undefined) throw new Error('the disk cannot be read');
  const [desc, avail, used] = [setup.desc, setup.avail, setup.used].map(BigInt);
  if (desc === undefined || avail === undefined || used === undefined) throw new Error('no addresses');
  const slots = packed === undefined ? {} : { packedVirtqueues: [packedSlot(packed)] };
  return {
    ...state,
    queues: [{ ...queue, num: setup.size, desc, lastAvailIdx }],
    subsections: { ...state.subsections, virtqueues: [{ avail, used }], ...slots },
  };
}

const packedSlot = (position: number) => ({
  lastAvailIdx: position & 0x7fff,
  lastAvailWrapCounter: position >> 15 !== 0,
  usedIdx: 0,
  usedWrapCounter: true,
  inuse: 0,
});

const SIZE = 8;

describe('chains that wait are those that core takes', () => {
  const buffers = fc.array(
    fc.record({
      addr: fc.integer({ min: 0x10000, max: 0x1ffff }),
      length: fc.integer({ min: 1, max: 9000 }),
    }),
    { minLength: 1, maxLength: 4 },
  );
  const steps = fc.array(
    fc.record({ buffers, out: fc.nat(4), indirect: fc.boolean(), takes: fc.nat(3), gives: fc.boolean() }),
    { minLength: 1, maxLength: 12 },
  );

  test.each(['split', 'packed'] as const)('in %s rings', async (format) => {
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        const bytes = new Uint8Array(0x40000);
        const rig = new Rig({ size: SIZE, memory: new MappedMemory([{ gpa: 0, bytes }]) });
        const driver = format === 'split' ? new SplitDriver(rig) : new PackedDriver(rig);
        let taken = format === 'split' ? 0 : 0x8000;
        for (const { buffers: list, out, indirect, takes, gives } of all) {
          driver.add(
            list.map((buffer, n) => ({ ...buffer, write: n >= out })),
            indirect,
          );
          for (let n = 0; n < takes; n++) {
            const chain = driver.queue.pop();
            if (chain === undefined) break;
            taken = format === 'split' ? (taken + 1) & 0xffff : nextSlot(taken, chain.ndescs);
            if (gives) driver.queue.push(chain, 0);
          }
          driver.take();
        }
        const state = format === 'split' ? stateWith(rig, taken) : stateWith(rig, 0, taken);
        const pages = await pagesOf(new Blob([ramStream(bytes)]));
        const { waiting, trouble } = await pages.see((view) => followQueue(view, state, 0, [], true));
        expect(trouble).toBeUndefined();
        const expected: unknown[] = [];
        for (let chain = driver.queue.pop(); chain !== undefined; chain = driver.queue.pop()) {
          const { index, out, in: into } = chain.element();
          expected.push({ head: index, out: out.map(plain), in: into.map(plain) });
        }
        expect(waiting.map(asElement)).toEqual(expected);
      }),
      { numRuns: 40 },
    );
  });
});

/** The slot behind a chain, with the wrap counter as bit 15. */
function nextSlot(position: number, slots: number): number {
  const next = (position & 0x7fff) + slots;
  return next < SIZE ? (position & 0x8000) | next : ((position & 0x8000) ^ 0x8000) | (next - SIZE);
}

const plain = ({ addr, len }: { readonly addr: bigint; readonly len: bigint }) => [Number(addr), Number(len)];

function asElement({ head, segments, problem }: ChainRow) {
  expect(problem).toBeUndefined();
  const of = (writable: boolean) =>
    segments.flatMap((each) => (each.writable === writable ? [[Number(each.address), each.bytes]] : []));
  return { head, out: of(false), in: of(true) };
}

describe('a ring that makes no sense is shown as far as it goes', () => {
  const rig = (): { readonly rig: Rig; readonly bytes: Uint8Array } => {
    const bytes = new Uint8Array(0x40000);
    return { rig: new Rig({ size: SIZE, memory: new MappedMemory([{ gpa: 0, bytes }]) }), bytes };
  };
  const followed = async (made: { rig: Rig; bytes: Uint8Array }, lastAvail = 0) =>
    (await pagesOf(new Blob([gzipSync(ramStream(made.bytes))]))).see((view) =>
      followQueue(view, stateWith(made.rig, lastAvail), 0, [], true),
    );

  test('a loop ends', async () => {
    const made = rig();
    made.rig.desc(0x1000, 0, 0x10000, 16, 1, 1);
    made.rig.desc(0x1000, 1, 0x11000, 16, 1, 0);
    made.rig.offer(0);
    const { waiting } = await followed(made);
    expect(waiting).toMatchObject([{ head: 0, problem: expect.stringMatching(/a loop/) }]);
    expect(waiting[0]?.segments).toHaveLength(SIZE);
  });

  test.each([
    ['a head outside', (made: Rig) => made.offer(SIZE), /head 8 of 8/],
    ['a next outside', (made: Rig) => offerFirst(made, 0x10000, 16, 1, 99), /next is descriptor 99 of 8/],
    ['a table of no whole entries', (made: Rig) => offerFirst(made, 0x10000, 17, 4, 0), /table of 17 bytes/],
    ['a table outside of RAM', (made: Rig) => offerFirst(made, 2 ** 40, 32, 4, 0), /no RAM at 0x10000000000/],
  ])('%s is told', async (_what, spoil, words) => {
    const made = rig();
    spoil(made.rig);
    const { waiting } = await followed(made);
    expect(waiting).toMatchObject([{ problem: expect.stringMatching(words) }]);
  });

  test('indices that cannot be are told', async () => {
    const { waiting, trouble } = await followed(rig(), 40_000);
    expect([waiting, trouble]).toEqual([[], expect.stringMatching(/index 0 is 25536 ahead/)]);
  });
});

test('a queue of a device is followed to its buffers', async () => {
  const { bytes, section } = waitingDisk();
  const session = new Session();
  const { complete, error } = await session.open(blobSource(new Blob([bytes]), 'stream'));
  expect(error).toBeUndefined();
  expect(complete).toBe(true);
  const { waiting, more, taken, trouble } = await session.chains(section, 0);
  expect({ more, taken, trouble }).toEqual({ more: 0, taken: [], trouble: undefined });
  expect(waiting).toMatchObject([
    {
      indirect: true,
      segments: [
        { bytes: 512, writable: false },
        { bytes: 1, writable: true },
      ],
    },
  ]);
  const [first] = waiting[0]?.segments ?? [];
  const found = await session.memory(Number(first?.address), TEXT.length);
  expect(Buffer.from(found).toString()).toBe(TEXT);
});

function offerFirst(rig: Rig, address: number, bytes: number, flags: number, next: number): void {
  rig.desc(0x1000, 0, address, bytes, flags, next);
  rig.offer(0);
}
