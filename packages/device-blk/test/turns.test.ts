// When a disk gives other parts of the program a turn, what becomes then of what waits, and what its driver hears of it.
import { BLK_T, type BlkBackend, BlkDevice, type BlkOptions, memoryDisk } from '@virtkit/device-blk';
import { describe, expect, test } from 'vitest';
import { Machine, type MachineOptions, pattern, type Submitted } from './machine.ts';
import { SlowDisk, settle } from './slow-disk.ts';

const RING_EVENT_IDX = 29;
const WAITS = 0xee;

/** A disk whose turns the test gives. */
function world(options: Partial<BlkOptions> = {}, machine: MachineOptions = {}) {
  const deferred: (() => void)[] = [];
  const bytes = pattern(1 << 16, 3);
  const disk = new BlkDevice({
    backend: memoryDisk(bytes),
    defer: (proceed) => deferred.push(proceed),
    ...options,
  });
  const m = new Machine(disk, { indirect: true, without: [RING_EVENT_IDX], ...machine });
  const turn = (): void => {
    for (const proceed of deferred.splice(0)) proceed();
  };
  return { m, deferred, turn };
}

const statuses = (requests: readonly Submitted[]): number[] => requests.map(({ status }) => status);

describe('a driver that puts requests in while others are taken', () => {
  /** Each GET_LIFETIME, which is answered as it is taken, puts in another one, as long as there are some. */
  function chain(more: number, options: Partial<BlkOptions> = {}) {
    const requests: Submitted[] = [];
    let left = more;
    let taken = 0;
    const lifetime = () => {
      taken++;
      // what was answered makes room in the ring
      w.m.used();
      if (left-- > 0) requests.push(w.m.submit(BLK_T.GET_LIFETIME, 0, 6));
      return { preEolInfo: 1, typA: 1, typB: 1 };
    };
    const w = world({ queueSize: 4, lifetime, ...options });
    requests.push(w.m.submit(BLK_T.GET_LIFETIME, 0, 6));
    w.m.kick();
    return { ...w, requests, taken: () => taken };
  }

  test('a ring of them at a time; the rest has its turn, once', () => {
    const { deferred, turn, taken, requests } = chain(9);
    expect([taken(), deferred.length]).toEqual([4, 1]);
    turn();
    expect([taken(), deferred.length]).toEqual([8, 1]);
    turn();
    expect([taken(), deferred.length]).toEqual([10, 0]);
    expect(statuses(requests)).toEqual(new Array(10).fill(0));
  });

  test('one that stops where the turn ends has no other turn', () => {
    const { deferred, taken } = chain(3);
    expect([taken(), deferred.length]).toEqual([4, 0]);
  });

  test('request by request, all of them at once', () => {
    const { deferred, taken } = chain(40, { requestMerging: false });
    expect([taken(), deferred.length]).toEqual([41, 0]);
  });

  test('after a reset, the turn of before is none of the new ring', () => {
    const { m, turn, taken } = chain(9);
    m.start();
    m.submit(BLK_T.GET_LIFETIME, 0, 6);
    turn();
    // the driver has not kicked
    expect(taken()).toBe(4);
    m.live.reset();
    turn();
    expect(taken()).toBe(4);
  });

  test('while the machine is stopped, the turn passes; it goes on where the machine does', () => {
    const { m, turn, taken } = chain(5);
    m.live.pause();
    turn();
    expect(taken()).toBe(4);
    m.live.resume();
    expect(taken()).toBe(6);
  });

  test('guest memory that has moved in between is found again', () => {
    let ram = new Uint8Array(4 << 20);
    const lifetime = { preEolInfo: 1, typA: 1, typB: 1 };
    let more = 6;
    const w = world(
      {
        queueSize: 4,
        lifetime: () => {
          w.m.used();
          if (more-- > 0) w.m.submit(BLK_T.GET_LIFETIME, 0, 6);
          return lifetime;
        },
      },
      { ram: () => ram },
    );
    w.m.submit(BLK_T.GET_LIFETIME, 0, 6);
    w.m.kick();
    const before = ram;
    ram = before.slice();
    const seen = new DataView(ram.buffer).getUint16(w.m.ring(0).used + 2, true);
    before.fill(0);
    w.turn();
    expect(seen).toBe(4);
    expect(new DataView(ram.buffer).getUint16(w.m.ring(0).used + 2, true)).toBeGreaterThan(4);
    // where it was, the device writes nothing any more
    expect(new DataView(before.buffer).getUint16(w.m.ring(0).used + 2, true)).toBe(0);
  });
});

describe('work that is done at once', () => {
  test('up to the bound, then there is a turn; a kick meanwhile asks for no other', () => {
    const { m, deferred, turn } = world({ maxBytesInFlight: 1024 });
    const reads = [0, 1, 2].map((sector) => m.submit(BLK_T.IN, sector, 512));
    m.kick();
    expect([statuses(reads), deferred.length]).toEqual([[0, 0, WAITS], 1]);
    // a kick is a turn of its own
    reads.push(m.submit(BLK_T.IN, 3, 512));
    m.kick();
    expect([statuses(reads), deferred.length]).toEqual([[0, 0, 0, 0], 1]);
    turn();
    expect(deferred.length).toBe(0);
    expect(m.disk.inFlight).toBe(0);
  });

  test('a turn begins to count anew, and asks for another one as often as it takes', () => {
    const { m, deferred, turn } = world({ maxBytesInFlight: 512 });
    const reads = [0, 1, 2, 3].map((sector) => m.submit(BLK_T.IN, sector, 512));
    m.kick();
    const seen = [statuses(reads).filter((status) => status === 0).length];
    while (deferred.length > 0) {
      expect(deferred.length).toBe(1);
      turn();
      seen.push(statuses(reads).filter((status) => status === 0).length);
    }
    expect(seen).toEqual([1, 2, 3, 4]);
  });

  test('a flush is no work, whatever its object was before', () => {
    const { m } = world({ maxBytesInFlight: 1024 });
    m.read(0, 1024);
    const requests = [m.submit(BLK_T.FLUSH, 0, 0), m.submit(BLK_T.FLUSH, 0, 0), m.submit(BLK_T.IN, 1, 512)];
    m.kick();
    expect(statuses(requests)).toEqual([0, 0, 0]);
  });

  test.each([
    [1, 0],
    [2, WAITS],
    [3, WAITS],
  ])('zeros of %i segments count with all of them', (segments, status) => {
    const { m } = world({ maxBytesInFlight: 1024, writeZeroes: { maxSegments: 4 } });
    const ranges = new Uint8Array(16 * segments);
    for (let i = 0; i < segments; i++) ranges.set(m.range(8 * i, 1), 16 * i);
    const zeros = m.submit(BLK_T.WRITE_ZEROES, 0, ranges);
    const read = m.submit(BLK_T.IN, 1, 512);
    m.kick();
    expect(statuses([zeros, read])).toEqual([0, status]);
  });

  test('what waits in one queue stays when the other is reset', () => {
    const { m, turn } = world({ maxBytesInFlight: 512, queues: 2 });
    const first = [0, 1, 2].map((sector) => m.submit(BLK_T.IN, sector, 512, 0));
    const second = m.submit(BLK_T.IN, 3, 512, 1);
    m.kick(0);
    m.kick(1);
    // the second kick was a turn of its own: one of each was done, the rest waits
    m.driver.queue(1)?.reset();
    const waiting = m.disk.inFlight;
    for (let i = 0; i < 4; i++) turn();
    expect(waiting).toBeLessThanOrEqual(2);
    expect([statuses(first), m.disk.inFlight]).toEqual([[0, 0, 0], 0]);
    expect(second.status).toBe(WAITS);
  });

  test('what waits when the driver resets is not done', () => {
    const { m, turn } = world({ maxBytesInFlight: 512 });
    const reads = [0, 1, 2].map((sector) => m.submit(BLK_T.IN, sector, 512));
    m.kick();
    m.start();
    turn();
    expect([statuses(reads), m.disk.inFlight]).toEqual([[0, WAITS, WAITS], 0]);
    expect(m.read(5, 512).status).toBe(0);
  });
});

describe('interrupts', () => {
  test('none for a kick with nothing behind it', () => {
    const { m } = world();
    m.kick();
    expect(m.wire.notified).toEqual([]);
  });

  test('one for all of a kick, and one for each that is done later', async () => {
    const slow = Object.assign(new SlowDisk(pattern(1 << 16, 4)), { firstSector: new Uint8Array(512) });
    const { m } = world({ backend: slow });
    m.submit(BLK_T.GET_ID, 0, 20);
    m.submit(BLK_T.IN, 0, 512);
    m.submit(BLK_T.GET_ID, 0, 20);
    m.submit(BLK_T.IN, 1, 512);
    m.kick();
    expect(m.wire.notified).toEqual([0]);
    slow.finish();
    await settle();
    slow.finish();
    await settle();
    expect(m.wire.notified).toEqual([0, 0, 0]);
  });

  test('of the queue whose request it was', async () => {
    const slow = Object.assign(new SlowDisk(pattern(1 << 16, 4)), { firstSector: new Uint8Array(512) });
    const { m } = world({ backend: slow, queues: 3 });
    for (const queue of [2, 0, 1]) m.read(queue, 512, queue);
    await slow.finishAll();
    expect(m.wire.notified).toEqual([2, 0, 1]);
  });
});

describe('what a reset leaves behind at the back end', () => {
  test.each([1, 2])('%i operations: queues are looked at when all are gone, each of them', async (count) => {
    const slow = Object.assign(new SlowDisk(pattern(1 << 16, 5)), { firstSector: new Uint8Array(512) });
    const { m } = world({ backend: slow, queues: 2 });
    for (let i = 0; i < count; i++) m.write(i, pattern(512, i));
    m.start();
    const reads = [m.read(8, 512, 0), m.read(9, 512, 1)];
    expect(slow.begun).toHaveLength(count);
    for (let i = 0; i < count; i++) {
      expect(slow.begun).toHaveLength(count);
      slow.finish();
      await settle();
    }
    expect(slow.begun.slice(count)).toEqual(['read 8', 'read 9']);
    await slow.finishAll();
    expect(statuses(reads)).toEqual([0, 0]);
  });

  test('while the machine is stopped nothing is begun; then it is, at resume', async () => {
    const slow = Object.assign(new SlowDisk(pattern(1 << 16, 5)), { firstSector: new Uint8Array(512) });
    const { m } = world({ backend: slow });
    m.write(0, pattern(512, 1));
    m.start();
    const read = m.read(8, 512);
    m.live.pause();
    slow.finish();
    await settle();
    expect(slow.begun).toEqual(['write 0']);
    m.live.resume();
    await slow.finishAll();
    expect([slow.begun, read.status]).toEqual([['write 0', 'read 8'], 0]);
  });

  test('a resume in front of its end begins nothing either', async () => {
    const slow = Object.assign(new SlowDisk(pattern(1 << 16, 5)), { firstSector: new Uint8Array(512) });
    const { m } = world({ backend: slow });
    m.write(0, pattern(512, 1));
    m.start();
    const read = m.read(8, 512);
    m.live.pause();
    m.live.resume();
    expect(slow.begun).toEqual(['write 0']);
    await slow.finishAll();
    expect([slow.begun, read.status]).toEqual([['write 0', 'read 8'], 0]);
  });
});

test('a queue that is not set up is passed over when what a reset left behind is gone', async () => {
  const slow = Object.assign(new SlowDisk(pattern(1 << 16, 5)), { firstSector: new Uint8Array(512) });
  const { m } = world({ backend: slow, queues: 3 });
  m.write(0, pattern(512, 1));
  m.start([1]);
  const read = m.read(8, 512, 1);
  await slow.finishAll();
  expect([slow.begun, read.status]).toEqual([['write 0', 'read 8'], 0]);
});

test('a read that is under way through a stop and its end arrives once', async () => {
  const slow = Object.assign(new SlowDisk(pattern(1 << 16, 5)), { firstSector: new Uint8Array(512) });
  const { m } = world({ backend: slow });
  const read = m.read(8, 512);
  m.live.pause();
  m.live.resume();
  await slow.finishAll();
  expect([slow.begun, read.status]).toEqual([['read 8'], 0]);
  expect(read.data).toEqual(slow.bytes.slice(4096, 4608));
});

test('requests of a broken device go with the reset of their queue, and no others', () => {
  const slow = Object.assign(new SlowDisk(pattern(1 << 16, 5)), { firstSector: new Uint8Array(512) });
  const { m } = world({ backend: slow, queues: 3 });
  for (const queue of [0, 1, 1]) m.write(queue, pattern(512, 1), queue);
  m.add(2, [{ addr: m.header(0, 0), len: 16 }]);
  m.kick(2);
  const state = m.live.capture();
  const next = world({ backend: slow, queues: 3 }, { idle: true, ram: m.ram.slice() }).m;
  next.live.restore(state);
  expect([next.live.broken, next.disk.inFlight]).toEqual([true, 3]);
  next.driver.queue(2)?.reset();
  expect(next.disk.inFlight).toBe(3);
  next.driver.queue(1)?.reset();
  expect(next.disk.inFlight).toBe(1);
  next.driver.reset();
  expect(next.disk.inFlight).toBe(0);
});

describe('requests that are finished while the machine is stopped', () => {
  test('good and bad: each is told its own at resume, in the order of the list', async () => {
    const slow = Object.assign(new SlowDisk(pattern(1 << 16, 6)), { firstSector: new Uint8Array(512) });
    const { m } = world({ backend: slow, werror: 'report', rerror: 'report' });
    const writes = [0, 1, 2].map((sector) => m.submit(BLK_T.OUT, sector, pattern(512, sector)));
    m.kick();
    m.live.pause();
    slow.take(1).fail('EIO');
    slow.finish(1);
    await settle();
    expect(statuses(writes)).toEqual([WAITS, WAITS, WAITS]);
    m.live.resume();
    expect(statuses(writes)).toEqual([WAITS, 1, 0]);
    await slow.finishAll();
    expect(statuses(writes)).toEqual([0, 1, 0]);
    expect(slow.begun).toEqual(['write 0', 'write 1', 'write 2']);
  });
});

test('requests without data are the back end’s only if it wants them', () => {
  for (const wantsEmpty of [undefined, false, true]) {
    const asked: number[] = [];
    const backend: BlkBackend = {
      size: 4096,
      firstSector: new Uint8Array(512),
      read: (_position, _target, _from, length) => {
        asked.push(length);
      },
      write: () => {},
      ...(wantsEmpty !== undefined && { wantsEmpty }),
    };
    const { m } = world({ backend });
    expect(m.read(0, 0).status).toBe(0);
    expect(asked).toEqual(wantsEmpty === true ? [0] : []);
  }
});

test('a disk that is in no device says so', () => {
  const disk = new BlkDevice({ backend: memoryDisk(4096) });
  expect(() => disk.resize(1)).toThrow('this BlkDevice is in no device yet');
  new Machine(disk);
  expect(() => new Machine(disk)).toThrow('this BlkDevice is in another device already');
});

describe('asynchronous work', () => {
  const slowWorld = (options: Partial<BlkOptions> = {}) => {
    const slow = Object.assign(new SlowDisk(pattern(1 << 16, 7)), { firstSector: new Uint8Array(512) });
    return { slow, ...world({ backend: slow, ...options }) };
  };

  test.each([
    ['reads', BLK_T.IN],
    ['writes', BLK_T.OUT],
  ])('%s: no more bytes under way than the bound, and as many again when they are done', async (_, type) => {
    const { slow, m } = slowWorld({ maxBytesInFlight: 1024 });
    for (let i = 0; i < 6; i++) m.submit(type, i, type === BLK_T.IN ? 512 : pattern(512, i));
    m.kick();
    const seen: number[] = [];
    while (slow.waiting.length > 0) {
      seen.push(slow.waiting.length);
      for (const waiting of slow.waiting.splice(0)) waiting.finish();
      await settle();
    }
    expect(seen).toEqual([2, 2, 2]);
    expect(m.disk.inFlight).toBe(0);
  });

  test('what is larger than the bound is done alone', async () => {
    const { slow, m } = slowWorld({ maxBytesInFlight: 512 });
    const requests = [m.submit(BLK_T.IN, 0, 4096), m.submit(BLK_T.IN, 8, 512)];
    m.kick();
    expect(slow.begun).toEqual(['read 0']);
    await slow.finishAll();
    expect(statuses(requests)).toEqual([0, 0]);
  });

  test('flushes are no bytes', () => {
    const { slow, m } = slowWorld({ maxBytesInFlight: 512 });
    m.submit(BLK_T.IN, 0, 512);
    m.submit(BLK_T.FLUSH, 0, 0);
    m.submit(BLK_T.FLUSH, 0, 0);
    m.kick();
    expect(slow.begun).toEqual(['read 0', 'flush 0', 'flush 0']);
  });

  test('what has failed is tried again at resume, whatever it is', async () => {
    const { slow, m } = slowWorld({ werror: 'stop', rerror: 'stop', writeZeroes: true });
    const requests = [
      m.submit(BLK_T.FLUSH, 0, 0),
      m.submit(BLK_T.DISCARD, 0, m.range(8, 1)),
      m.submit(BLK_T.WRITE_ZEROES, 0, m.range(16, 1)),
      m.submit(BLK_T.OUT, 24, pattern(512, 1)),
      m.submit(BLK_T.IN, 32, 512),
    ];
    m.kick();
    while (slow.waiting.length > 0) {
      for (const waiting of slow.waiting.splice(0)) waiting.fail('EIO');
      await settle();
    }
    expect(statuses(requests)).toEqual(new Array(5).fill(WAITS));
    expect(m.disk.inFlight).toBe(5);
    m.live.pause();
    m.live.resume();
    await slow.finishAll();
    expect(statuses(requests)).toEqual(new Array(5).fill(0));
  });

  test('an error says which queue it was of', async () => {
    const { slow, m } = slowWorld({ queues: 3, rerror: 'report' });
    m.read(5, 512, 2);
    slow.take().fail('ENOSPC');
    await settle();
    expect(m.events).toMatchObject([
      {
        name: 'io-error',
        facts: { queue: 2, sector: 5, operation: 'read', action: 'report', code: 'ENOSPC' },
      },
    ]);
  });
});

describe('an error policy that stops the machine, at once', () => {
  function stopping() {
    const begun: number[] = [];
    let fails = true;
    const backend: BlkBackend = {
      size: 1 << 16,
      firstSector: new Uint8Array(512),
      read: (position) => {
        begun.push(position / 512);
        if (fails) throw Object.assign(new Error('EIO'), { code: 'EIO' });
      },
      write: () => {},
    };
    const w = world({ backend, rerror: 'stop', onStop: () => w.m.live.pause() });
    const reads = [0, 1, 2].map((sector) => w.m.submit(BLK_T.IN, sector, 512));
    w.m.kick();
    return { ...w, begun, reads, heal: () => (fails = false) };
  }

  test('what is behind the failed request is not begun', () => {
    const { begun, reads, m } = stopping();
    expect([begun, statuses(reads), m.disk.inFlight]).toEqual([[0], [WAITS, WAITS, WAITS], 3]);
  });

  test('nor is it when the machine goes on and the request fails once more', () => {
    const { begun, m } = stopping();
    m.live.resume();
    expect(begun).toEqual([0, 0]);
  });

  test('all of it is done when the disk is well', () => {
    const { begun, reads, m, heal } = stopping();
    heal();
    m.live.resume();
    expect([begun, statuses(reads), m.disk.inFlight]).toEqual([[0, 0, 1, 2], [0, 0, 0], 0]);
  });
});

test('a host that answers a fault with a reset has forgotten the request already', () => {
  const { m } = world();
  const push = m.events.push.bind(m.events);
  m.events.push = (...events) => {
    m.live.reset();
    return push(...events);
  };
  m.add(0, [{ addr: m.header(0, 0), len: 16 }]);
  m.kick();
  expect([m.faults.length, m.disk.inFlight, m.live.broken]).toEqual([1, 0, false]);
});

test('two kicks whose work is more than a turn has ask for one turn', () => {
  const { m, deferred, turn } = world({ maxBytesInFlight: 1024 });
  const reads = [0, 1, 2].map((sector) => m.submit(BLK_T.IN, sector, 512));
  m.kick();
  reads.push(...[3, 4, 5].map((sector) => m.submit(BLK_T.IN, sector, 512)));
  m.kick();
  expect(deferred.length).toBe(1);
  for (let i = 0; i < 3; i++) turn();
  expect([statuses(reads), deferred.length]).toEqual([[0, 0, 0, 0, 0, 0], 0]);
});

test('restored requests of any kind are answered, each of them', async () => {
  const slow = Object.assign(new SlowDisk(pattern(1 << 16, 8)), { firstSector: new Uint8Array(512) });
  const { m } = world({ backend: slow });
  const kinds = [BLK_T.GET_ID, BLK_T.GET_LIFETIME, BLK_T.SCSI_CMD, 0x76, BLK_T.FLUSH, BLK_T.OUT];
  const requests = kinds.map((_, i) => m.submit(BLK_T.OUT, i, pattern(512, i)));
  m.kick();
  const state = m.live.capture();
  const next = world({ backend: slow }, { idle: true, ram: m.ram.slice() }).m;
  next.live.restore(state);
  // what the device reads again where it goes on; the header lies in front of the status
  for (const [i, { statusAt }] of requests.entries()) next.view.setUint32(statusAt - 64, kinds[i] ?? 0, true);
  next.live.resume();
  await slow.finishAll();
  expect(requests.map(({ statusAt }) => next.ram[statusAt])).not.toContain(WAITS);
  expect([next.disk.inFlight, next.ram[requests.at(-1)?.statusAt ?? 0]]).toEqual([0, 0]);
});

describe('a kick', () => {
  test('of what is done later only: no interrupt yet', () => {
    const slow = Object.assign(new SlowDisk(pattern(1 << 16, 8)), { firstSector: new Uint8Array(512) });
    const { m } = world({ backend: slow });
    m.read(0, 512);
    expect([slow.begun, m.wire.notified]).toEqual([['read 0'], []]);
  });

  test('leaves kicks wanted', () => {
    const { m } = world({}, { rings: { packed: false } });
    m.read(0, 512);
    expect(m.view.getUint16(m.ring(0).used, true)).toBe(0);
  });

  test.each([
    [8, 8],
    [1, 15],
    [16, 0],
    [4, 4, 4, 4],
  ])('of a request whose header lies in pieces of %j bytes', (...sizes) => {
    const { m } = world({}, { indirect: false });
    const header = m.header(BLK_T.IN, 3);
    let at = header;
    const pieces = sizes
      .filter((len) => len > 0)
      .map((len) => {
        // each in a place of its own, with what is no header behind it
        const place = m.put(Uint8Array.of(...m.ram.slice(at, at + len), ...new Uint8Array(32).fill(0xff)));
        at += len;
        return { addr: place, len };
      });
    const [data, status] = [m.alloc(512), m.alloc(1)];
    m.ram[status] = WAITS;
    m.add(0, [...pieces, { addr: data, len: 512, write: true }, { addr: status, len: 1, write: true }]);
    m.kick();
    expect(m.ram[status]).toBe(0);
    expect(m.ram.slice(data, data + 512)).toEqual(pattern(1 << 16, 3).slice(3 * 512, 4 * 512));
  });
});
