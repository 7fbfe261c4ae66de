// What the back end cannot do: QEMU's rerror and werror.
import {
  BLK_S,
  BLK_T,
  type BlkBackend,
  BlkDevice,
  type BlkOptions,
  type BlkStop,
  memoryDisk,
} from '@virtkit/device-blk';
import { describe, expect, test } from 'vitest';
import { Machine, type MachineOptions, pattern } from './machine.ts';
import { settle } from './slow-disk.ts';

/** A disk that fails as told, at once or later. */
function failing(later: boolean) {
  const disk = memoryDisk(pattern(65536, 1), { discard: 'unmap' });
  const state: { code: string | undefined } = { code: undefined };
  const attempt = <T extends unknown[]>(work: (...args: T) => void) => {
    return (...args: T): void | Promise<void> => {
      const { code } = state;
      const error = code === undefined ? undefined : Object.assign(new Error(`no: ${code}`), { code });
      if (!later) {
        if (error !== undefined) throw error;
        return work(...args);
      }
      if (error !== undefined) return Promise.reject(error);
      work(...args);
      return Promise.resolve();
    };
  };
  const backend: BlkBackend = {
    size: disk.size,
    firstSector: disk.bytes.slice(0, 512),
    read: attempt((...args) => disk.read(...args)),
    write: attempt((...args) => disk.write(...args)),
    flush: attempt(() => undefined),
    discard: attempt((...args) => disk.writeZeroes(...args)),
    writeZeroes: attempt((position, length, _mayUnmap) => disk.writeZeroes(position, length)),
  };
  return { disk, backend, state };
}

describe.each([
  ['at once', false],
  ['later', true],
])('errors %s', (_name, later) => {
  function machine(options: Partial<BlkOptions>, how: MachineOptions = {}) {
    const stops: BlkStop[] = [];
    const { disk, backend, state } = failing(later);
    const m = new Machine(
      new BlkDevice({
        backend,
        onStop: (stop) => {
          stops.push(stop);
          m.live.pause();
        },
        ...options,
      }),
      how,
    );
    return { m, disk, state, stops };
  }

  /** policy for reads, for writes, error, status of a read, of a write (undefined: the machine stops). */
  test.each<[BlkOptions['rerror'], BlkOptions['werror'], string, number | undefined, number | undefined]>([
    [undefined, undefined, 'EIO', BLK_S.IOERR, BLK_S.IOERR],
    [undefined, undefined, 'ENOSPC', BLK_S.IOERR, undefined],
    ['report', 'report', 'ENOSPC', BLK_S.IOERR, BLK_S.IOERR],
    ['ignore', 'ignore', 'EIO', BLK_S.OK, BLK_S.OK],
    ['stop', 'stop', 'EIO', undefined, undefined],
    ['enospc', 'enospc', 'EIO', BLK_S.IOERR, BLK_S.IOERR],
    ['enospc', 'report', 'ENOSPC', undefined, BLK_S.IOERR],
    ['report', 'stop', 'something else', BLK_S.IOERR, undefined],
  ])('rerror %s, werror %s, %s', async (rerror, werror, code, readStatus, writeStatus) => {
    const policies = { ...(rerror && { rerror }), ...(werror && { werror }) };
    const flush = new Uint8Array(0);
    for (const [operation, type, data, expected] of [
      ['read', BLK_T.IN, 512, readStatus],
      ['write', BLK_T.OUT, pattern(512, 2), writeStatus],
      ['flush', BLK_T.FLUSH, flush, writeStatus],
      ['discard', BLK_T.DISCARD, 'range', writeStatus],
      ['write-zeroes', BLK_T.WRITE_ZEROES, 'range', writeStatus],
    ] as const) {
      const { m, state, stops } = machine(policies);
      state.code = code;
      const request = m.submit(type, 7, data === 'range' ? m.range(7, 1) : data);
      m.kick();
      await settle();
      const sector = operation === 'flush' ? 0 : 7;
      const action = expected === undefined ? 'stop' : expected === BLK_S.OK ? 'ignore' : 'report';
      expect(m.events).toMatchObject([
        { name: 'io-error', facts: { operation, action, code, sector, queue: 0, reason: `no: ${code}` } },
      ]);
      expect(request.status).toBe(expected ?? 0xee);
      expect(stops).toEqual(expected === undefined ? [{ queue: 0, operation, sector, code }] : []);
      expect(m.used()).toHaveLength(expected === undefined ? 0 : 1);
      expect(m.disk.inFlight).toBe(expected === undefined ? 1 : 0);
    }
  });

  test('are tried again when the machine goes on, as often as it takes', async () => {
    const { m, disk, state, stops } = machine({ werror: 'stop', rerror: 'stop' });
    state.code = 'EIO';
    const data = pattern(1024, 3);
    const write = m.write(4, data);
    const read = m.read(20, 512);
    await settle();
    expect(m.live.paused).toBe(true);
    for (let i = 0; i < 3; i++) {
      m.live.resume();
      await settle();
      expect(m.live.paused).toBe(true);
      expect(m.used()).toEqual([]);
      // at once: the read was not taken any more
      expect(m.disk.inFlight).toBe(later ? 2 : 1);
    }
    state.code = undefined;
    const told = stops.length;
    m.live.resume();
    await settle();
    expect(stops).toHaveLength(told);
    expect([write.status, read.status]).toEqual([0, 0]);
    expect(m.used()).toHaveLength(2);
    expect(Buffer.compare(disk.bytes.subarray(2048, 3072), data)).toBe(0);
  });

  test('are in the state, and tried again elsewhere', async () => {
    const { m, state } = machine({ werror: 'stop', queues: 3 });
    state.code = 'EIO';
    const data = pattern(512, 8);
    const write = m.write(9, data, 2);
    await settle();
    const saved = m.live.capture();
    expect(saved.device).toMatchObject({
      layout: { queue: true, ndescs: 'none', byteOrder: 'little' },
      requests: [
        {
          queue: 2,
          element: {
            index: write.id,
            out: [{ len: 16n }, { addr: BigInt(write.dataAt), len: 512n }],
            in: [{ addr: BigInt(write.statusAt), len: 1n }],
          },
        },
      ],
    });
    const backend = memoryDisk(65536);
    const next = new Machine(new BlkDevice({ backend, queues: 3 }), { ram: m.ram, idle: true });
    next.live.restore(saved);
    expect(next.live.capture().device).toEqual(saved.device);
    next.live.resume();
    expect(write.status).toBe(BLK_S.OK);
    expect(Buffer.compare(backend.bytes.subarray(9 * 512, 10 * 512), data)).toBe(0);
    expect(m.used(2)).toEqual([{ id: write.id, len: 1 }]);
    expect(next.wire.notified).toEqual([2]);
  });

  test('are forgotten with a reset', async () => {
    const { m, state } = machine({ werror: 'stop' });
    state.code = 'ENOSPC';
    m.write(0, new Uint8Array(512));
    await settle();
    expect(m.disk.inFlight).toBe(1);
    state.code = undefined;
    m.start();
    expect(m.disk.inFlight).toBe(0);
    m.live.resume();
    await settle();
    expect(m.used()).toEqual([]);
    const write = m.write(0, new Uint8Array(512));
    await settle();
    expect(write.status).toBe(BLK_S.OK);
    expect(m.used()).toHaveLength(1);
  });

  test('of a write to a read-only disk are reported, whatever the policy', async () => {
    for (const werror of ['stop', 'ignore', 'report', 'enospc'] as const) {
      const { m } = machine({ werror, readOnly: true });
      const requests = [
        m.submit(BLK_T.OUT, 0, new Uint8Array(512)),
        m.submit(BLK_T.WRITE_ZEROES, 0, m.range(0, 1)),
        m.submit(BLK_T.DISCARD, 0, m.range(0, 1)),
      ];
      m.kick();
      expect(requests.map(({ status }) => status)).toEqual([1, 1, 1]);
      expect(m.events).toEqual([]);
    }
  });

  test('that have no code are I/O errors', async () => {
    const { m } = machine({});
    const odd: BlkBackend = {
      size: 4096,
      firstSector: new Uint8Array(512),
      read: () => {
        if (later) return Promise.reject('a string');
        throw new TypeError('a mistake in the back end');
      },
      write: () => undefined,
    };
    const other = new Machine(new BlkDevice({ backend: odd }));
    expect(m.faults).toEqual([]);
    const read = other.read(0, 512);
    await settle();
    expect(read.status).toBe(BLK_S.IOERR);
    const reason = later ? 'a string' : 'a mistake in the back end';
    expect(other.events).toMatchObject([{ name: 'io-error', facts: { code: 'EIO', reason } }]);
  });
});

describe('a request that became nonsense while it waited', () => {
  test('breaks the device, and what waits with it is lost', () => {
    const { backend, state } = failing(false);
    const m = new Machine(new BlkDevice({ backend, werror: 'stop' }));
    state.code = 'EIO';
    const short = m.range(0, 8);
    const bad = m.submit(BLK_T.WRITE_ZEROES, 0, short);
    const other = m.write(0, new Uint8Array(512));
    m.kick();
    m.live.pause();
    expect(m.disk.inFlight).toBe(2);
    const saved = m.live.capture();
    // a saved element can have what a ring cannot: here, no room for the segment
    const requests = saved.device.requests.map((request) => {
      const { element } = request;
      const { out } = element;
      return element.index === bad.id
        ? { ...request, element: { ...element, out: out.slice(0, 1) } }
        : request;
    });
    state.code = undefined;
    const next = new Machine(new BlkDevice({ backend }), { ram: m.ram, idle: true });
    next.live.restore({ ...saved, device: { ...saved.device, requests } });
    next.live.resume();
    expect(next.faults).toEqual(['virtio-blk discard/write_zeroes header too short']);
    expect(next.disk.inFlight).toBe(0);
    expect(other.status).toBe(0xee);
    expect(next.live.status & 0x40).toBe(0x40);
  });
});
