// What a back end is asked for, call by call: in pieces, in their order, with what has to be stable.
import { MappedMemory } from '@virtkit/core';
import type { BlkBackend, Pending } from '@virtkit/device-blk';
import { describe, expect, test } from 'vitest';
import { operate } from '../src/live/operate.ts';
import { settle } from '../src/live/options.ts';
import { type Operation, Request } from '../src/live/request.ts';
import { Cut, LooseChain } from './cut.ts';

const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(4096) }]);

interface Asked {
  readonly backend: BlkBackend;
  readonly calls: string[];
  /** Lets the oldest operation that waits be done. */
  done(): Promise<void>;
}

/** Notes what it is asked for, and does it at once or when told to. */
function recorder(
  isSlow: boolean,
  change: Partial<BlkBackend> & { without?: readonly string[] } = {},
): Asked {
  const calls: string[] = [];
  const waiting: (() => void)[] = [];
  const note = (call: string): Pending => {
    calls.push(call);
    return isSlow ? new Promise<void>((resolve) => void waiting.push(resolve)) : undefined;
  };
  const { without = [], ...more } = change;
  const backend: BlkBackend = {
    size: 1 << 24,
    maxTransfer: 1024,
    // or it is read, for the geometry
    firstSector: new Uint8Array(512),
    read: (position, _target, from, length) => note(`read ${position} ${from} ${length}`),
    write: (position, source, from, length) =>
      note(`write ${position} ${from} ${length}${source.total === 65_536 ? ' zeros' : ''}`),
    flush: () => note('flush'),
    discard: (position, length) => note(`discard ${position} ${length}`),
    writeZeroes: (position, length, mayUnmap) => note(`zero ${position} ${length} ${mayUnmap}`),
    secureErase: (position, length) => note(`erase ${position} ${length}`),
    ...more,
  };
  for (const name of without) Reflect.deleteProperty(backend, name);
  const done = async (): Promise<void> => {
    waiting.shift()?.();
    for (let turn = 0; turn < 8; turn++) await Promise.resolve();
  };
  return { backend, calls, done };
}

function requestOf(operation: Operation, given: Partial<Request> = {}): Request {
  const request = new Request(() => {});
  const chain = new LooseChain(new Cut([16, 4096]), new Cut([4096, 1]));
  return Object.assign(request, { operation, chain, sector: 2, length: 512, ...given });
}

const run = (asked: Asked, request: Request, stable = false): Pending =>
  operate(settle({ backend: asked.backend }), request, stable, memory);

describe('at once', () => {
  test.each<[string, Request, boolean, readonly string[]]>([
    ['a read', requestOf('read'), false, ['read 1024 0 512']],
    ['a read that is stable', requestOf('read'), true, ['read 1024 0 512']],
    [
      'a read in pieces',
      requestOf('read', { length: 2560 }),
      false,
      ['read 1024 0 1024', 'read 2048 1024 1024', 'read 3072 2048 512'],
    ],
    [
      'a read of whole pieces',
      requestOf('read', { length: 2048 }),
      false,
      ['read 1024 0 1024', 'read 2048 1024 1024'],
    ],
    ['a write', requestOf('write'), false, ['write 1024 16 512']],
    [
      'a write in pieces, stable',
      requestOf('write', { length: 1536 }),
      true,
      ['write 1024 16 1024', 'write 2048 1040 512', 'flush'],
    ],
    ['a flush', requestOf('flush'), false, ['flush']],
    ['a discard', requestOf('discard'), true, ['discard 1024 512']],
    ['zeros', requestOf('write-zeroes', { mayUnmap: true }), false, ['zero 1024 512 true']],
    ['zeros, stable', requestOf('write-zeroes'), true, ['zero 1024 512 false', 'flush']],
    [
      'zeros in three ranges',
      requestOf('write-zeroes', { more: [9, 1024, 1, 20, 512, 0] }),
      true,
      ['zero 1024 512 false', 'zero 4608 1024 true', 'zero 10240 512 false', 'flush'],
    ],
    [
      'ranges of nothing',
      requestOf('discard', { length: 0, more: [9, 0, 0, 20, 512, 0] }),
      false,
      ['discard 10240 512'],
    ],
    ['an erasure', requestOf('secure-erase'), true, ['erase 1024 512']],
    ['a request that has been given up', requestOf('write', { chain: undefined }), true, []],
  ])('%s', (_what, request, stable, calls) => {
    const asked = recorder(false);
    expect(run(asked, request, stable)).toBeUndefined();
    expect(asked.calls).toEqual(calls);
  });

  test('of a back end that has no more than it must', () => {
    const asked = recorder(false, { without: ['flush', 'discard', 'writeZeroes', 'secureErase'] });
    for (const operation of ['flush', 'discard', 'secure-erase', 'write'] as const)
      expect(run(asked, requestOf(operation), true)).toBeUndefined();
    // zeros are written where a back end has no better way
    expect(run(asked, requestOf('write-zeroes', { length: 131_072 + 512 }), true)).toBeUndefined();
    expect(asked.calls).toEqual([
      'write 1024 16 512',
      'write 1024 0 65536 zeros',
      'write 66560 0 65536 zeros',
      'write 132096 0 512 zeros',
    ]);
  });

  test('nothing is passed on to who wants to hear of it', () => {
    const asked = recorder(false, { wantsEmpty: true });
    run(asked, requestOf('discard', { length: 0 }));
    run(asked, requestOf('write-zeroes', { length: 0 }));
    const other = recorder(false, { wantsEmpty: false });
    run(other, requestOf('discard', { length: 0 }));
    expect([asked.calls, other.calls]).toEqual([['discard 1024 0', 'zero 1024 0 false'], []]);
  });
});

describe('later', () => {
  /** What was asked for before, and after each operation was done; and whether all is done by then. */
  async function story(
    request: Request,
    stable: boolean,
    asked: Asked,
    each = (): void => {},
  ): Promise<string[]> {
    let isDone = false;
    const pending = run(asked, request, stable);
    if (pending === undefined) return ['at once'];
    void pending.then(() => {
      isDone = true;
    });
    const parts: string[] = [];
    for (let told = 0, turn = 0; turn < 9 && !isDone; turn++) {
      parts.push(asked.calls.slice(told).join(', '));
      told = asked.calls.length;
      each();
      await asked.done();
    }
    expect(isDone).toBe(true);
    return parts;
  }

  test.each<[string, Request, boolean, readonly string[]]>([
    [
      'a read in pieces',
      requestOf('read', { length: 2560 }),
      false,
      ['read 1024 0 1024', 'read 2048 1024 1024', 'read 3072 2048 512'],
    ],
    [
      'a read of whole pieces',
      requestOf('read', { length: 2048 }),
      false,
      ['read 1024 0 1024', 'read 2048 1024 1024'],
    ],
    [
      'a write of one piece, stable',
      requestOf('write', { length: 1024 }),
      true,
      ['write 1024 16 1024', 'flush'],
    ],
    [
      'a write of two, stable',
      requestOf('write', { length: 1536 }),
      true,
      ['write 1024 16 1024', 'write 2048 1040 512', 'flush'],
    ],
    ['a flush', requestOf('flush'), true, ['flush']],
    [
      'zeros in three ranges, stable',
      requestOf('write-zeroes', { more: [9, 1024, 1, 20, 512, 0] }),
      true,
      ['zero 1024 512 false', 'zero 4608 1024 true', 'zero 10240 512 false', 'flush'],
    ],
    [
      'discards, of which one is of nothing',
      requestOf('discard', { more: [9, 0, 0, 20, 512, 0] }),
      true,
      ['discard 1024 512', 'discard 10240 512'],
    ],
  ])('%s: the next when the one before is done', async (_what, request, stable, parts) => {
    expect(await story(request, stable, recorder(true))).toEqual(parts);
  });

  test('zeros that are written, piece by piece', async () => {
    const asked = recorder(true, { without: ['writeZeroes', 'flush'] });
    expect(await story(requestOf('write-zeroes', { length: 65_536 + 512 }), true, asked)).toEqual([
      'write 1024 0 65536 zeros',
      'write 66560 0 512 zeros',
    ]);
  });

  test('a flush that has gone away meanwhile is none', async () => {
    const asked = recorder(true);
    const request = requestOf('write');
    const parts = await story(request, true, asked, () => Reflect.deleteProperty(asked.backend, 'flush'));
    expect(parts).toEqual(['write 1024 16 512']);
  });

  test('nothing more is asked for after a reset', async () => {
    for (const operation of ['read', 'write'] as const) {
      const request = requestOf(operation, { length: 4096 });
      const parts = await story(request, false, recorder(true), () => {
        request.chain = undefined;
      });
      expect(parts).toHaveLength(1);
    }
  });

  test('a read is given up while the machine is stopped, a write is not', async () => {
    const read = requestOf('read', { length: 2048 });
    expect(await story(read, false, recorder(true), () => read.lent.hold(true))).toEqual([
      'read 1024 0 1024',
    ]);
    expect(read.lent.missed).toBe(true);
    const write = requestOf('write', { length: 2048 });
    write.lent.hold(true);
    expect(await story(write, false, recorder(true))).toEqual(['write 1024 16 1024', 'write 2048 1040 1024']);
    // what did not arrive is known when the machine runs again, too
    const missed = requestOf('read', { length: 2048 });
    const parts = await story(missed, false, recorder(true), () => {
      missed.lent.missed = true;
    });
    expect(parts).toEqual(['read 1024 0 1024']);
  });

  test('memory that has grown is looked at before each piece', async () => {
    let syncs = 0;
    class Watched extends MappedMemory {
      override sync(): void {
        syncs++;
        super.sync();
      }
    }
    const grown = new Watched([{ gpa: 0, bytes: new Uint8Array(4096) }]);
    const asked = recorder(true);
    const before = syncs;
    const pending = operate(
      settle({ backend: asked.backend }),
      requestOf('write', { length: 3072 }),
      false,
      grown,
    );
    for (let n = 0; n < 3; n++) await asked.done();
    await pending;
    expect(syncs - before).toBe(2);
  });
});
