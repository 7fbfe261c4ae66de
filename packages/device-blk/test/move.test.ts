// Stopped and moved at any moment: nothing lost, nothing done twice that the driver could see.

import { BLK_S, BLK_T, BlkDevice, type BlkOptions, type BlkState, memoryDisk } from '@virtkit/device-blk';
import { StateError } from '@virtkit/vmstate';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Machine, type MachineOptions, pattern, type State, type Submitted } from './machine.ts';
import { SlowDisk, settle } from './slow-disk.ts';

const SECTORS = 256;
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

function machine(
  how: MachineOptions = {},
  options: Partial<BlkOptions> = {},
  bytes = pattern(SECTORS * 512, 1),
) {
  const disk = new SlowDisk(bytes);
  const m = new Machine(new BlkDevice({ backend: disk, ...options }), how);
  disk.finish();
  disk.begun.length = 0;
  return { m, disk };
}

/** The same machine somewhere else: its memory and its disk, a device that is made anew. */
function moved(m: Machine, bytes: Uint8Array, options: Partial<BlkOptions> = {}) {
  const state = m.live.capture();
  const how = { ...m.options, ram: m.ram.slice(), idle: true };
  const { m: next, disk } = machine(how, options, bytes);
  next.rings.push(
    ...m.rings.map((ring) => ({ ...ring, chains: new Map(ring.chains), free: [...ring.free] })),
  );
  next.little = m.little;
  next.heap = m.heap;
  next.live.restore(state);
  return { m: next, disk };
}

describe('pause', () => {
  test('keeps what finishes until resume, and touches nothing', async () => {
    const { m, disk } = machine();
    const data = pattern(512, 2);
    const write = m.write(3, data);
    const read = m.read(8, 512);
    m.live.pause();
    const before = m.ram.slice();
    await disk.finishAll();
    expect(same(m.ram, before)).toBe(true);
    expect(m.disk.inFlight).toBe(2);
    expect(m.live.capture().device.requests).toHaveLength(2);
    m.live.resume();
    expect(write.status).toBe(BLK_S.OK);
    // its data had no place to go: read once more
    expect(disk.begun).toEqual(['write 3', 'read 8', 'read 8']);
    await disk.finishAll();
    expect(read.status).toBe(BLK_S.OK);
    expect(same(read.data, disk.bytes.subarray(4096, 4608))).toBe(true);
    expect(m.used()).toHaveLength(2);
  });

  test('does not matter to what finishes after it', async () => {
    const { m, disk } = machine();
    const read = m.read(8, 512);
    m.live.pause();
    m.live.pause();
    m.live.resume();
    expect(disk.begun).toEqual(['read 8']);
    await disk.finishAll();
    expect(read.status).toBe(BLK_S.OK);
  });

  test('in the middle of a read makes it be read again', async () => {
    const { m, disk } = machine();
    const read = m.read(8, 512);
    m.live.pause();
    disk.finish();
    m.live.resume();
    await settle();
    expect(disk.begun).toEqual(['read 8', 'read 8']);
    expect(read.status).toBe(0xee);
    await disk.finishAll();
    expect(read.status).toBe(BLK_S.OK);
    expect(same(read.data, disk.bytes.subarray(4096, 4608))).toBe(true);
  });

  test('leaves kicks for later', async () => {
    const { m, disk } = machine();
    m.live.pause();
    const read = m.read(0, 512);
    expect(disk.begun).toEqual([]);
    m.live.resume();
    await disk.finishAll();
    expect(read.status).toBe(BLK_S.OK);
  });
});

const FORMS: readonly (readonly [string, MachineOptions])[] = [
  ['split', {}],
  ['split, indirect', { indirect: true }],
  ['packed', { rings: { packed: true } }],
  ['packed, indirect', { rings: { packed: true }, indirect: true }],
  ['in order', { rings: { inOrder: true } }],
  ['packed, in order', { rings: { packed: true, inOrder: true } }],
  ['legacy, big-endian', { legacy: true, endian: 'big' }],
];

/** What happens to a machine: sector numbers, and which of the waiting operations finishes. */
type Step =
  | readonly ['read' | 'write', number]
  | readonly ['finish', number]
  | readonly ['pause' | 'resume' | 'move' | 'again'];

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.tuple(fc.constantFrom('read' as const, 'write' as const), fc.nat({ max: SECTORS - 1 })),
  },
  { weight: 4, arbitrary: fc.tuple(fc.constant('finish' as const), fc.nat()) },
  {
    weight: 1,
    arbitrary: fc.tuple(
      fc.constantFrom('pause' as const, 'resume' as const, 'move' as const, 'again' as const),
    ),
  },
);

describe.each(FORMS)('a machine that is moved: %s', (_name, how) => {
  test('loses and repeats nothing', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const options = { queues: 2, queueSize: 64 };
        let { m, disk } = machine(how, options);
        const expected = disk.bytes.slice();
        /** Sectors with a request under way: nobody knows what is in them. */
        const busy = new Map<number, { request: Submitted; data: Uint8Array; write: boolean }>();
        let seed = 0;
        let returned = 0;
        let submitted = 0;
        const collect = (): void => {
          returned += m.used(0).length + m.used(1).length;
          for (const [sector, { request, data, write }] of busy) {
            if (m.ram[request.statusAt] === 0xee) continue;
            expect(m.ram[request.statusAt]).toBe(BLK_S.OK);
            if (write) expected.set(data, sector * 512);
            else expect(same(m.ram.subarray(request.dataAt, request.dataAt + 512), data)).toBe(true);
            busy.delete(sector);
          }
        };
        for (const [what, number] of steps) {
          if (what === 'read' || what === 'write') {
            const sector = number as number;
            if (busy.has(sector)) continue;
            const data =
              what === 'write' ? pattern(512, ++seed) : expected.slice(sector * 512, sector * 512 + 512);
            const request =
              what === 'write' ? m.write(sector, data, sector % 2) : m.read(sector, 512, sector % 2);
            busy.set(sector, { request, data, write: what === 'write' });
            submitted++;
          } else if (what === 'finish' && disk.waiting.length > 0) {
            disk.finish((number as number) % disk.waiting.length);
            await settle();
          } else if (what === 'pause') m.live.pause();
          else if (what === 'resume') m.live.resume();
          else if (what === 'move') {
            // where it came from, what is under way is done, and changes nothing any more
            const old = m;
            const oldDisk = disk;
            ({ m, disk } = moved(m, disk.bytes, options));
            old.live.pause();
            await oldDisk.finishAll();
            m.live.resume();
          } else if (what === 'again') m.live.restore(m.live.capture());
          collect();
        }
        m.live.resume();
        for (let i = 0; i < 4; i++) await disk.finishAll();
        collect();
        expect(busy.size).toBe(0);
        expect(returned).toBe(submitted);
        expect(m.disk.inFlight).toBe(0);
        expect(m.faults).toEqual([]);
        expect(same(disk.bytes, expected)).toBe(true);
      }),
      { numRuns: 40 },
    );
  });
});

describe('the state', () => {
  test('is the same after a restore, at any moment', async () => {
    const { m, disk } = machine({ rings: { packed: true } }, { queues: 2 });
    m.read(0, 1024, 1);
    m.write(9, pattern(512, 3), 0);
    m.read(4, 512, 1);
    const saved = m.live.capture();
    expect(saved.device.layout).toEqual({ queue: true, ndescs: 'after', byteOrder: 'little' });
    expect(saved.device.requests.map(({ queue, ndescs }) => [queue, ndescs])).toEqual([
      [1, 3],
      [0, 3],
      [1, 3],
    ]);
    // the last comes first
    expect(saved.device.requests[0]?.element.in.map(({ len }) => len)).toEqual([512n, 1n]);
    const { m: next } = moved(m, disk.bytes, { queues: 2 });
    expect(next.live.capture().device).toEqual(saved.device);
    const before = { ...m.options, rings: { packed: true }, idle: true };
    const other = new Machine(
      new BlkDevice({ backend: memoryDisk(65536), queues: 2, ndescs: 'before' }),
      before,
    );
    other.live.restore(saved);
    expect(other.live.capture().device.layout?.ndescs).toBe('before');
  });

  test('has the segments as the driver gave them, however header and data lie', async () => {
    const { m } = machine();
    const at = m.header(BLK_T.OUT, 3, pattern(512, 1));
    const status = m.alloc(8);
    m.add(0, [
      { addr: at, len: 528 },
      { addr: status, len: 8, write: true },
    ]);
    m.kick();
    expect(m.live.capture().device.requests).toMatchObject([
      { element: { out: [{ addr: BigInt(at), len: 528n }], in: [{ addr: BigInt(status), len: 8n }] } },
    ]);
  });

  test('has what the driver does not know yet', async () => {
    const { m, disk } = machine({ rings: { inOrder: true } });
    m.write(0, pattern(512, 1));
    m.write(1, pattern(512, 2));
    disk.finish(1);
    await settle();
    expect(m.used()).toEqual([]);
    expect(m.live.capture().device.requests).toHaveLength(2);
    const { m: next, disk: nextDisk } = moved(m, disk.bytes.slice());
    next.live.resume();
    await nextDisk.finishAll();
    expect(next.used()).toHaveLength(2);
    expect(same(nextDisk.bytes.subarray(512, 1024), pattern(512, 2))).toBe(true);
  });

  test('of a broken device keeps its requests', async () => {
    const { m, disk } = machine();
    m.write(0, pattern(512, 1));
    m.add(0, [{ addr: m.header(0, 0), len: 16 }]);
    m.kick();
    expect(m.live.broken).toBe(true);
    const saved = m.live.capture();
    expect(saved.device.requests).toHaveLength(1);
    const { m: next, disk: nextDisk } = moved(m, disk.bytes);
    expect(next.disk.inFlight).toBe(1);
    expect(next.live.capture().device).toEqual(saved.device);
    next.live.resume();
    await nextDisk.finishAll();
    expect(next.used()).toEqual([]);
    expect(next.disk.inFlight).toBe(0);
    next.start();
    const read = next.read(0, 512);
    await nextDisk.finishAll();
    expect(read.status).toBe(BLK_S.OK);
  });
});

describe('a state that does not fit is refused, and nothing has changed', () => {
  const original = (): { m: Machine; state: State } => {
    const { m } = machine({}, { queues: 2 });
    m.read(0, 512);
    return { m, state: m.live.capture() };
  };
  const change = (state: State, requests: BlkState['requests']): State => ({
    ...state,
    device: { ...state.device, requests },
  });

  test.each<
    [string, (request: BlkState['requests'][number], state: State) => BlkState['requests'][number] | State]
  >([
    ['request-queue', (request) => ({ ...request, queue: 2 })],
    ['request-index', (request) => ({ ...request, element: { ...request.element, index: 256 } })],
    [
      'request-memory',
      (request) => ({ ...request, element: { ...request.element, in: [{ addr: 0xfff_0000n, len: 1n }] } }),
    ],
    [
      'request-memory',
      (request) => ({ ...request, element: { ...request.element, out: [{ addr: 2n ** 63n, len: 16n }] } }),
    ],
    [
      'request-memory',
      (request) => ({
        ...request,
        element: { ...request.element, out: [{ addr: 0x1000n, len: 2n ** 63n }] },
      }),
    ],
    [
      'request-memory',
      (request) => ({ ...request, element: { ...request.element, out: [{ addr: 0n, len: 0n }] } }),
    ],
    [
      'request-queue-idle',
      (request, state) => ({
        ...change(state, [{ ...request, queue: 1 }]),
        queues: state.queues.map((queue, i) => (i === 1 ? { ...queue, desc: 0n, lastAvailIdx: 0 } : queue)),
      }),
    ],
  ])('%s', (code, mutate) => {
    const { m, state } = original();
    const [request] = state.device.requests;
    if (request === undefined) throw new Error('no request');
    const mutated = mutate(request, state);
    const bad = 'queues' in mutated ? mutated : change(state, [mutated]);
    const { m: next } = machine({ ram: m.ram, idle: true }, { queues: 2 });
    const before = next.live.capture();
    try {
      next.live.restore(bad);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(StateError);
      expect((error as StateError).code).toBe(code);
    }
    expect(next.live.capture()).toEqual(before);
    expect(next.disk.inFlight).toBe(0);
  });

  test('more queues than the device has', () => {
    const { m, state } = original();
    const { m: next } = machine({ ram: m.ram, idle: true });
    expect(() => next.live.restore(state)).toThrow(/VIRTIO_BLK_F_MQ/);
  });
});
