// In which order a disk does what is in its ring, and how often it tells the driver: merged as by default, and request by request.
import { HostError } from '@virtkit/core';
import { BLK_T, type BlkBackend, BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { describe, expect, test } from 'vitest';
import { Machine, pattern } from './machine.ts';

/** With it a driver says when it wants to be told. */
const RING_EVENT_IDX = 29;

/** A disk that notes what it does. */
function noted(): { backend: BlkBackend; calls: string[] } {
  const disk = memoryDisk(1 << 16);
  const calls: string[] = [];
  const backend: BlkBackend = {
    size: disk.size,
    firstSector: new Uint8Array(512),
    read: (position, target, from, length) => {
      calls.push(`read ${position / 512}`);
      return disk.read(position, target, from, length);
    },
    write: (position, source, from, length) => {
      calls.push(`write ${position / 512}`);
      return disk.write(position, source, from, length);
    },
    flush: () => {
      calls.push('flush');
    },
    discard: (position) => {
      calls.push(`discard ${position / 512}`);
    },
    writeZeroes: (position) => {
      calls.push(`zero ${position / 512}`);
    },
  };
  return { backend, calls };
}

type Kind = 'read' | 'write' | 'flush' | 'discard' | 'zero' | 'id';

/** Puts these into the ring, in this order, from sector 1 on, and kicks once. */
function play(requestMerging: boolean, kinds: readonly Kind[], packed: boolean) {
  const { backend, calls } = noted();
  const disk = new BlkDevice({ backend, requestMerging, queueSize: 64 });
  const machine = new Machine(disk, { rings: { packed }, without: [RING_EVENT_IDX] });
  const order: number[] = [];
  const requests = kinds.map((kind, n) => {
    const sector = n + 1;
    switch (kind) {
      case 'read':
        return machine.submit(BLK_T.IN, sector, 512);
      case 'write':
        return machine.submit(BLK_T.OUT, sector, pattern(512, n));
      case 'flush':
        return machine.submit(BLK_T.FLUSH, 0, 0);
      case 'id':
        return machine.submit(BLK_T.GET_ID, 0, 20);
      default:
        return machine.submit(
          kind === 'zero' ? BLK_T.WRITE_ZEROES : BLK_T.DISCARD,
          0,
          machine.range(sector, 1),
        );
    }
  });
  machine.wire.listen = () =>
    order.push(...machine.used().map(({ id }) => requests.findIndex((r) => r.id === id)));
  machine.kick();
  order.push(...machine.used().map(({ id }) => requests.findIndex((r) => r.id === id)));
  return {
    calls,
    order,
    interrupts: machine.wire.notified.length,
    statuses: requests.map(({ status }) => status),
  };
}

describe.each([false, true])('packed: %s', (packed) => {
  test.each<[readonly Kind[], readonly string[], readonly number[]]>([
    [['read'], ['read 1'], [0]],
    // one that is held back is done before the next
    [
      ['read', 'read', 'write'],
      ['read 1', 'read 2', 'write 3'],
      [0, 1, 2],
    ],
    // what is no transfer is done when it is taken, and overtakes one that is held back
    [
      ['write', 'discard'],
      ['discard 2', 'write 1'],
      [1, 0],
    ],
    [
      ['read', 'zero', 'read'],
      ['zero 2', 'read 1', 'read 3'],
      [1, 0, 2],
    ],
    [
      ['write', 'id', 'write'],
      ['write 1', 'write 3'],
      [1, 0, 2],
    ],
    // but a flush does not overtake a write; a read it does
    [
      ['write', 'flush'],
      ['write 1', 'flush'],
      [0, 1],
    ],
    [
      ['read', 'flush'],
      ['flush', 'read 1'],
      [1, 0],
    ],
    [
      ['write', 'read', 'flush'],
      ['write 1', 'flush', 'read 2'],
      [0, 2, 1],
    ],
    [
      ['flush', 'flush'],
      ['flush', 'flush'],
      [0, 1],
    ],
  ])('request by request: %j', (kinds, calls, order) => {
    const played = play(false, kinds, packed);
    expect(played).toEqual({ calls, order, interrupts: kinds.length, statuses: kinds.map(() => 0) });
  });

  test.each<[readonly Kind[], readonly string[], readonly number[]]>([
    [
      ['write', 'discard', 'flush', 'read'],
      ['write 1', 'discard 2', 'flush', 'read 4'],
      [0, 1, 2, 3],
    ],
    [
      ['write', 'id', 'read'],
      ['write 1', 'read 3'],
      [1, 0, 2],
    ],
  ])('merged: %j, and one interrupt for all', (kinds, calls, order) => {
    const played = play(true, kinds, packed);
    expect(played).toEqual({ calls, order, interrupts: 1, statuses: kinds.map(() => 0) });
  });
});

test('a disk is in one device at a time', () => {
  const disk = new BlkDevice({ backend: memoryDisk(4096) });
  new Machine(disk);
  expect(() => new Machine(disk)).toThrow(HostError);
  expect(() => new Machine(disk)).toThrow('in another device already');
});

test('what breaks the device is told with its queue and its head, and what came before it is done', () => {
  const { backend, calls } = noted();
  const machine = new Machine(new BlkDevice({ backend, queues: 2 }));
  machine.submit(BLK_T.IN, 3, 512, 1);
  // a chain without a byte for the status
  const head = machine.add(1, [{ addr: machine.header(0, 0), len: 16 }]);
  machine.kick(1);
  expect(machine.live.broken).toBe(true);
  expect(JSON.stringify(machine.events)).toContain(`"queue":1,"index":${head}`);
  expect(calls).toEqual(['read 3']);
});
