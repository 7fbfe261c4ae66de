// Rings that another device has worked in before, and a transport that keeps the list of what is in flight: what vhost-user asks of core.
import { describe, expect, test } from 'vitest';
import type { InFlightLog } from '../../src/contract/in-flight-log.ts';
import type { Gpa, MemoryMap, MemoryRegion } from '../../src/contract/memory.ts';
import { guestMemory, mappedMemory } from '../../src/live/guest-memory.ts';
import { Mapping } from '../../src/live/mapping.ts';
import { FEATURE } from '../../src/spec.ts';
import { EchoMachine } from './echo.ts';
import { AVAIL_BIT, popped, Rig, USED_BIT, WRITE } from './rig.ts';

/** Notes what it is told, a line each. */
function noting(): InFlightLog & { readonly lines: string[] } {
  const lines: string[] = [];
  return {
    lines,
    taken: ({ index }) => lines.push(`taken ${index}`),
    dropped: ({ index }) => lines.push(`dropped ${index}`),
    filled: ({ index }, ahead) => lines.push(`filled ${index} at ${ahead}`),
    showing: (queue, count) => lines.push(`showing ${count} of ${queue}`),
    shown: (queue, count) => lines.push(`shown ${count} of ${queue}`),
  };
}

/** A split ring whose driver has made these heads available. */
function offering(count: number, options: ConstructorParameters<typeof Rig>[0] = {}): Rig {
  const rig = new Rig(options);
  for (let head = 0; head < count; head++) {
    rig.desc(rig.setup.desc, head, 0x10000 + 16 * head, 16, WRITE, 0);
    rig.put16(rig.setup.desc + 16 * head + 12, WRITE);
    rig.put16(rig.setup.desc + 16 * head + 14, 0);
    rig.offer(head);
  }
  return rig;
}

describe('a position that a transport sets', () => {
  test('is where the ring goes on that is set up next', () => {
    const machine = new EchoMachine();
    const { driver } = machine;
    machine.start();
    for (let i = 0; i < 5; i++) machine.offer(0);
    const { desc, avail, used } = machine.ringsOf(0);
    machine.view.setUint16(used + 2, 3, true);
    driver.queue(0)?.setPosition({
      lastAvailIdx: 3,
      lastAvailWrap: true,
      usedIdx: 3,
      usedWrap: true,
      inuse: 0,
    });
    driver.queue(0)?.setAddresses(BigInt(desc), BigInt(avail), BigInt(used));
    driver.kick(0);
    expect(machine.used(0)).toBe(5);
    expect(machine.live.queue(0)?.position).toMatchObject({ lastAvailIdx: 5, usedIdx: 5, inuse: 0 });
  });

  test('is forgotten by a reset of the queue', () => {
    const machine = new EchoMachine();
    machine.driver.queue(0)?.setPosition({
      lastAvailIdx: 3,
      lastAvailWrap: true,
      usedIdx: 3,
      usedWrap: true,
      inuse: 0,
    });
    machine.driver.queue(0)?.reset();
    expect(machine.live.queue(0)?.position).toMatchObject({ lastAvailIdx: 0, usedIdx: 0 });
  });

  test('chains that were in flight are taken once more, before any other, in the order given', () => {
    const rig = offering(6, { indices: { lastAvailIdx: 4, usedIdx: 2, inuse: 2, again: [3, 1] } });
    const queue = rig.split();
    expect([queue.inFlight, queue.isEmpty()]).toEqual([2, false]);
    const heads = Array.from({ length: 4 }, () => popped(queue).index);
    expect(heads).toEqual([3, 1, 4, 5]);
    expect([queue.pop(), queue.inFlight, queue.isEmpty()]).toEqual([undefined, 4, true]);
  });

  test('one of them that is put back is the next one again', () => {
    const rig = offering(6, { indices: { lastAvailIdx: 4, usedIdx: 2, inuse: 2, again: [3, 1] } });
    const queue = rig.split();
    const first = popped(queue);
    queue.unpop(first);
    expect([popped(queue).index, popped(queue).index, popped(queue).index]).toEqual([3, 1, 4]);
  });

  test('and all of them are given back like any other', () => {
    const rig = offering(6, { indices: { lastAvailIdx: 4, usedIdx: 2, inuse: 2, again: [3, 1] } });
    const queue = rig.split();
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) queue.push(chain, 0);
    expect(rig.get16(rig.setup.used + 2)).toBe(6);
    const ids = [2, 3, 4, 5].map((slot) => rig.get32(rig.setup.used + 4 + 8 * slot));
    expect(ids).toEqual([3, 1, 4, 5]);
    expect(queue.inFlight).toBe(0);
  });

  test('a head that the ring has not breaks the device', () => {
    const rig = offering(2, { indices: { lastAvailIdx: 1, usedIdx: 0, inuse: 1, again: [8] } });
    expect(rig.split().pop()).toBeUndefined();
    expect(rig.owner.faults).toMatchObject([{ facts: { head: 8 } }]);
  });
});

describe('a queue that is switched off', () => {
  test.each([{ features: [] }, { features: [FEATURE.RING_PACKED] }])(
    'gives nothing, and takes what it gave: features $features',
    ({ features }) => {
      const packed = features.length > 0;
      const rig = packed ? new Rig() : offering(3);
      if (packed)
        for (let i = 0; i < 3; i++) rig.desc(rig.setup.desc, i, 0x10000 + 16 * i, 16, i, AVAIL_BIT | WRITE);
      const queue = packed ? rig.packed() : rig.split();
      const chain = popped(queue);
      queue.setEnabled(false);
      expect([queue.pop(), queue.isEmpty(), queue.availBytes(1, 0)]).toEqual([undefined, true, false]);
      queue.push(chain, 4);
      queue.notify();
      expect([queue.inFlight, rig.owner.interrupts]).toEqual([0, 1]);
      if (packed) expect(rig.get16(rig.setup.desc + 14) & USED_BIT).toBe(USED_BIT);
      else expect(rig.get16(rig.setup.used + 2)).toBe(1);
      queue.setEnabled(true);
      expect([queue.isEmpty(), popped(queue).index, popped(queue).index]).toEqual([false, 1, 2]);
    },
  );

  test('stays so when its ring is set up anew, until a reset', () => {
    const machine = new EchoMachine();
    const { driver } = machine;
    driver.queue(0)?.setEnabled(false);
    machine.start();
    machine.offer(0);
    driver.kick(0);
    expect(machine.used(0)).toBe(0);
    driver.queue(0)?.setEnabled(true);
    driver.kick(0);
    expect(machine.used(0)).toBe(1);
    driver.queue(0)?.setEnabled(false);
    driver.reset();
    machine.view.setUint32(machine.ringsOf(0).avail, 0, true);
    machine.view.setUint32(machine.ringsOf(0).used, 0, true);
    machine.start();
    machine.offer(0);
    driver.kick(0);
    expect(machine.used(0)).toBe(1);
  });
});

describe('the log of chains in flight', () => {
  test.each(['split', 'packed'] as const)(
    'is told in the order in which the driver would see it: %s',
    (format) => {
      const rig = format === 'split' ? offering(3) : new Rig();
      if (format === 'packed')
        for (let i = 0; i < 3; i++) rig.desc(rig.setup.desc, i, 0x10000 + 16 * i, 16, i, AVAIL_BIT | WRITE);
      const log = noting();
      Object.assign(rig.owner, { inFlightLog: log });
      const queue = format === 'split' ? rig.split() : rig.packed();
      const [first, second, third] = [popped(queue), popped(queue), popped(queue)];
      queue.unpop(third);
      queue.fill(second, 0, 1);
      queue.fill(first, 0, 0);
      queue.flush(2);
      queue.detach(popped(queue));
      expect(log.lines).toEqual([
        'taken 0',
        'taken 1',
        'taken 2',
        'dropped 2',
        'filled 1 at 1',
        'filled 0 at 0',
        'showing 2 of 0',
        'shown 2 of 0',
        'taken 2',
        'dropped 2',
      ]);
    },
  );

  test('with IN_ORDER a chain is filled when it is its turn', () => {
    const rig = offering(2, { inOrder: true });
    const log = noting();
    Object.assign(rig.owner, { inFlightLog: log });
    const queue = rig.split();
    const [first, second] = [popped(queue), popped(queue)];
    queue.push(second, 0);
    queue.push(first, 0);
    expect(log.lines.slice(2)).toEqual(['filled 0 at 0', 'filled 1 at 1', 'showing 2 of 0', 'shown 2 of 0']);
  });
});

/** Memory whose regions a test takes and brings. */
class Moving implements MemoryMap {
  readonly contract = 1;
  readonly tracksWrites = false;
  epoch = 0;
  owner = 0;
  regions: MemoryRegion[] = [];
  asked = 0;

  sync(): void {}

  regionAt(at: number): MemoryRegion | undefined {
    this.asked++;
    return this.regions.find(({ gpa, bytes }) => at >= gpa && at < gpa + bytes.length);
  }

  markDirty(): void {}
}

const region = (gpa: number): MemoryRegion => ({ gpa, bytes: new Uint8Array(4096), shared: true });

describe('memory of another program', () => {
  test('is shared, whatever its array lies on', () => {
    expect(new Mapping({ gpa: 0, bytes: new Uint8Array(8), shared: true }).shared).toBe(true);
    expect(new Mapping({ gpa: 0, bytes: new Uint8Array(8) }).shared).toBe(false);
  });

  test('that has another owner is looked up anew, and nothing of the one before is kept', () => {
    const map = new Moving();
    const memory = guestMemory(map);
    for (let owner = 0; owner < 100; owner++) {
      map.owner = owner;
      map.epoch++;
      map.regions = [region(4096 * owner), region(4096 * (owner + 200))];
      memory.sync();
      expect(memory.readU8((4096 * owner) as Gpa)).toBe(0);
      expect(memory.readU8((4096 * (owner + 200)) as Gpa)).toBe(0);
    }
    map.asked = 0;
    map.epoch++;
    memory.sync();
    // one question for each region that is known
    expect(map.asked).toBe(2);
  });

  test('that went is not found by a ring that had a buffer there before', () => {
    const map = new Moving();
    map.regions = [{ gpa: 0, bytes: new Uint8Array(0x8000) }, region(0x10000)];
    const rig = offering(2, { memory: mappedMemory(map) });
    rig.put64(rig.setup.desc + 16, 0x10000);
    const queue = rig.split();
    queue.push(popped(queue), 0);
    map.regions.pop();
    map.epoch++;
    rig.memory.sync();
    expect(queue.pop()).toBeUndefined();
    expect(rig.owner.faults).toMatchObject([{ reason: 'virtio: bogus descriptor or out of resources' }]);
  });
});
