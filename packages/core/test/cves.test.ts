// Known attacks on QEMU's rings and on its loading of their state, against ours. `pnpm cves` lists them all.
import { isStateError, nodeAt, Reader, Trace, Writer } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import { MappedMemory } from '../src/live/memory.ts';
import { ELEMENT_BYTES, elementField } from '../src/state/element.ts';
import { lampOnBus, lampState1 } from './foreign.ts';
import { AVAIL_BIT, INDIRECT, NEXT, Rig, type RigOptions, WRITE } from './live/rig.ts';

const DESC = 0x1000;
const TABLE = 0x8000;
const BUFFER = 0x10000;
const END_OF_RAM = 0x40000;

/** Writes a descriptor in the format of the ring, the first one as available. */
type Put = (table: number, i: number, addr: number, length: number, flags: number, next?: number) => void;
type Format = 'split' | 'packed';

interface RingAttack {
  readonly cve: string;
  readonly what: string;
  /** What QEMU says since it was mended. */
  readonly fault: string;
  readonly setUp: (put: Put) => void;
  readonly options?: RigOptions;
}

const RING_ATTACKS: readonly RingAttack[] = [
  {
    cve: 'CVE-2011-2212',
    what: 'an indirect table of more pieces than a request can have',
    fault: 'virtio: too many write descriptors in indirect table',
    setUp: (put) => {
      put(DESC, 0, TABLE, 16 * 1025, INDIRECT);
      for (let i = 0; i < 1025; i++) put(TABLE, i, BUFFER, 1, NEXT, i + 1);
    },
  },
  {
    cve: 'CVE-2016-5403',
    what: 'more requests in flight than the ring has entries',
    fault: 'Virtqueue size exceeded',
    setUp: (put) => put(DESC, 0, BUFFER, 1, 0),
    options: { indices: { inuse: 8 } },
  },
  {
    cve: 'CVE-2016-6490',
    what: 'a descriptor of no bytes',
    fault: 'virtio: zero sized buffers are not allowed',
    setUp: (put) => put(DESC, 0, BUFFER, 0, WRITE),
  },
  {
    cve: 'CVE-2016-7422',
    what: 'a descriptor whose memory cannot be mapped',
    fault: 'virtio: bogus descriptor or out of resources',
    setUp: (put) => put(DESC, 0, 0x5000_0000, 64, WRITE),
  },
  {
    cve: 'CVE-2020-13659',
    what: 'a descriptor of which only the beginning can be mapped',
    fault: 'virtio: bogus descriptor or out of resources',
    setUp: (put) => put(DESC, 0, END_OF_RAM - 16, 4096, WRITE),
  },
  {
    cve: 'CVE-2026-6425',
    what: 'an indirect table whose length is no multiple of a descriptor',
    fault: 'Invalid size for indirect buffer table',
    setUp: (put) => {
      put(DESC, 0, TABLE, 16 * 3 + 8, INDIRECT);
      for (let i = 0; i < 4; i++) put(TABLE, i, BUFFER, 1, NEXT, i + 1);
    },
  },
];

function rigFor(format: Format, setUp: (put: Put) => void, options: RigOptions = {}): Rig {
  const rig = new Rig({
    memory: new MappedMemory([{ gpa: 0, bytes: new Uint8Array(END_OF_RAM) }]),
    ...options,
  });
  setUp((table, i, addr, length, flags, next = 0) => {
    if (format === 'split') rig.desc(table, i, addr, length, flags, next);
    else rig.desc(table, i, addr, length, 0, table === DESC ? flags | AVAIL_BIT : flags & ~NEXT);
  });
  if (format === 'split') rig.offer(0);
  return rig;
}

describe.each(['split', 'packed'] as const)('%s rings: one fault, and nothing is taken', (format) => {
  test.each(RING_ATTACKS)('$cve: $what', ({ fault, setUp, options }) => {
    const rig = rigFor(format, setUp, options);
    const queue = rig[format]();
    const before = queue.inFlight;
    expect(queue.pop()).toBeUndefined();
    expect(rig.owner.faults.map(({ reason }) => reason)).toEqual([fault]);
    expect(queue.inFlight).toBe(before);
    // the device is broken: nothing more is looked at
    expect(queue.pop()).toBeUndefined();
    expect(rig.owner.faults).toHaveLength(1);
  });
});

describe('packed rings', () => {
  test('CVE-2026-16457: a ring in which every descriptor is available and goes on is looked at to its end, not for ever', () => {
    const rig = rigFor('packed', (put) => {
      for (let i = 0; i < 8; i++) put(DESC, i, BUFFER, 1, NEXT);
    });
    const queue = rig.packed();
    expect(queue.isEmpty()).toBe(false);
    expect(queue.availBytes(1 << 30, 1 << 30)).toBe(false);
    expect(queue.pop()).toBeUndefined();
    expect(rig.owner.faults).toHaveLength(1);
  });
});

/** A saved device with other bytes in one field. */
function saved(path: string, bytes: readonly number[]): Uint8Array {
  const trace = new Trace();
  const body = lampOnBus.encode(lampState1);
  lampOnBus.decode(body, 0, { trace });
  const node = nodeAt(trace.root, path);
  if (node === undefined || node.end - node.start !== bytes.length)
    throw new Error(`no field ${path} of ${bytes.length} bytes`);
  body.set(bytes, node.start);
  return body;
}

interface StateAttack {
  readonly cve: string;
  readonly what: string;
  readonly path: string;
  readonly bytes: readonly number[];
  readonly code: string;
}

const STATE_ATTACKS: readonly StateAttack[] = [
  {
    cve: 'CVE-2013-4151',
    what: 'more queues than there can be',
    path: 'numQueues',
    bytes: [0, 0, 4, 1],
    code: 'count',
  },
  {
    cve: 'CVE-2013-6399',
    what: 'a selected queue behind the last one',
    path: 'queueSel',
    bytes: [4, 0],
    code: 'queue-sel',
  },
];

describe('saved devices that are not loaded', () => {
  test.each(STATE_ATTACKS)('$cve: $what', ({ path, bytes, code }) => {
    const body = saved(path, bytes);
    expect(() => lampOnBus.load(body)).toThrow(expect.objectContaining({ code }));
  });

  test.each([
    ['of 2 GiB', [0x7f, 0xff, 0xff, 0xff]],
    ['of a negative length', [0xff, 0xff, 0xff, 0xff]],
    ['one byte longer than all that is left', [0, 0, 1, 0]],
  ])('CVE-2014-0182: configuration space %s', (_name, length) => {
    // the field begins with its length
    const body = saved('config', [...length, 1, 2, 3, 4]);
    expect(() => lampOnBus.load(body)).toThrow(expect.objectContaining({ code: 'truncated' }));
  });

  test.each([
    ['CVE-2013-4535', 'pieces to write', 8],
    ['CVE-2013-4536', 'pieces to read', 4],
  ])('%s: a request in flight with more %s than there can be', (_cve, _what, offset) => {
    const field = elementField('little');
    const element = { index: 0, out: [], in: [] };
    const output = new Writer(ELEMENT_BYTES);
    field.encode(output, element, undefined);
    const bytes = output.finish();
    expect(field.decode(new Reader(bytes), undefined)).toEqual(element);
    for (const count of [1025, 0x7fff_ffff, 0xffff_ffff]) {
      new DataView(bytes.buffer, bytes.byteOffset).setUint32(offset, count, true);
      expect(() => field.decode(new Reader(bytes), undefined)).toThrow(
        expect.objectContaining({ code: 'count' }),
      );
    }
  });
});

test('errors are of the kind that callers expect', () => {
  let thrown: unknown;
  try {
    lampOnBus.load(saved('numQueues', [0xff, 0xff, 0xff, 0xff]));
  } catch (error) {
    thrown = error;
  }
  expect(isStateError(thrown)).toBe(true);
});
