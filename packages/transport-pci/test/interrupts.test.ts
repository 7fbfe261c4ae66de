import { describe, expect, test } from 'vitest';
import {
  ALL_ON,
  COMMAND,
  capability,
  changeConfig,
  interrupt,
  MODERN,
  MSIX,
  makeRig,
  offerRequest,
  type Rig,
  setEntry,
  setMsix,
  startModern,
} from './rig.ts';

/** Vector v says `0xd0 + v` to `0xfee00000 + 16 v`. */
function withMessages(rig: Rig): Rig {
  for (let vector = 0; vector < rig.fn.vectors; vector++)
    setEntry(rig.fn, vector, 0xfee00000 + 16 * vector, 0xd0 + vector);
  return rig;
}

function map(rig: Rig, config: number, ...queues: number[]): void {
  rig.fn.barWrite(4, MODERN.CONFIG_VECTOR, 2, config);
  queues.forEach((vector, queue) => {
    rig.fn.barWrite(4, MODERN.QUEUE_SELECT, 2, queue);
    rig.fn.barWrite(4, MODERN.QUEUE_VECTOR, 2, vector);
  });
}

/** Data of the messages since the last time. */
function heard({ messages }: Rig): number[] {
  return messages.splice(0).map(([, data]) => data);
}

function isPending({ fn }: Rig, vector: number): boolean {
  return ((fn.barRead(1, 0x800 + 4 * (vector >> 5), 4) >>> (vector & 31)) & 1) === 1;
}

describe('MSI-X', () => {
  test('messages go to the vector that a queue or the configuration is mapped to', () => {
    const rig = withMessages(makeRig({ vectors: 5, queues: 3 }));
    startModern(rig.fn, [0, 1, 2]);
    setMsix(rig.fn, MSIX.ENABLE);
    map(rig, 4, 2, 0xffff, 2);
    interrupt(rig.fn, 0);
    interrupt(rig.fn, 1);
    interrupt(rig.fn, 2);
    changeConfig(rig.fn);
    expect(rig.messages).toEqual([
      [0xfee00020, 0xd2],
      [0xfee00020, 0xd2],
      [0xfee00040, 0xd4],
    ]);
    expect(rig.line).toEqual([]);
    // the ISR says it in both worlds
    expect(rig.fn.barRead(4, 0x1000, 1)).toBe(3);
  });

  test('addresses above 4 GiB, and none above 2^53', () => {
    const rig = makeRig({ vectors: 1 });
    startModern(rig.fn);
    setMsix(rig.fn, MSIX.ENABLE);
    map(rig, 0);
    setEntry(rig.fn, 0, 0x12_3456_7890, 7);
    changeConfig(rig.fn);
    setEntry(rig.fn, 0, 2 ** 60, 7);
    changeConfig(rig.fn);
    expect(rig.messages).toEqual([[0x12_3456_7890, 7]]);
  });

  test('a masked vector is pending until it is unmasked, once', () => {
    const rig = withMessages(makeRig({ vectors: 3 }));
    startModern(rig.fn);
    setMsix(rig.fn, MSIX.ENABLE);
    map(rig, 0, 1);
    rig.fn.barWrite(1, 16 + 12, 4, 1);
    interrupt(rig.fn, 0);
    interrupt(rig.fn, 0);
    expect(heard(rig)).toEqual([]);
    expect([isPending(rig, 0), isPending(rig, 1)]).toEqual([false, true]);
    // the message may change while it waits
    rig.fn.barWrite(1, 16 + 8, 4, 0xee);
    rig.fn.barWrite(1, 16 + 12, 4, 0);
    expect(heard(rig)).toEqual([0xee]);
    expect(isPending(rig, 1)).toBe(false);
    rig.fn.barWrite(1, 16 + 12, 4, 0);
    expect(heard(rig)).toEqual([]);
  });

  test('the function mask holds all back, and lets those go that have no mask of their own', () => {
    const rig = withMessages(makeRig({ vectors: 3, queues: 2 }));
    startModern(rig.fn, [0, 1]);
    setMsix(rig.fn, MSIX.ENABLE | MSIX.FUNCTION_MASK);
    map(rig, 0, 1, 2);
    rig.fn.barWrite(1, 32 + 12, 4, 1);
    interrupt(rig.fn, 0);
    interrupt(rig.fn, 1);
    changeConfig(rig.fn);
    expect([0, 1, 2].map((vector) => isPending(rig, vector))).toEqual([true, true, true]);
    setMsix(rig.fn, MSIX.ENABLE);
    expect(heard(rig)).toEqual([0xd0, 0xd1]);
    expect([0, 1, 2].map((vector) => isPending(rig, vector))).toEqual([false, false, true]);
    setMsix(rig.fn, 0);
    setMsix(rig.fn, MSIX.ENABLE);
    expect(heard(rig)).toEqual([]);
    expect(isPending(rig, 2)).toBe(true);
  });

  test('a vector that nothing is mapped to is never pending, and losing the last use forgets', () => {
    const rig = withMessages(makeRig({ vectors: 3, queues: 2 }));
    startModern(rig.fn, [0, 1]);
    setMsix(rig.fn, MSIX.ENABLE | MSIX.FUNCTION_MASK);
    interrupt(rig.fn, 0);
    expect([0, 1, 2].some((vector) => isPending(rig, vector))).toBe(false);
    map(rig, 1, 1, 1);
    interrupt(rig.fn, 0);
    map(rig, 0xffff, 0xffff);
    expect(isPending(rig, 1)).toBe(true);
    map(rig, 0xffff, 0xffff, 2);
    expect(isPending(rig, 1)).toBe(false);
  });

  test('a vector that is not there maps to none', () => {
    const { fn } = makeRig({ vectors: 3 });
    for (const [written, vector] of [
      [2, 2],
      [3, 0xffff],
      [0x10001, 0xffff],
    ] as const) {
      fn.barWrite(4, MODERN.CONFIG_VECTOR, 4, written);
      expect(fn.barRead(4, MODERN.CONFIG_VECTOR, 2)).toBe(vector);
    }
    fn.barWrite(4, MODERN.QUEUE_VECTOR, 2, 3);
    expect(fn.barRead(4, MODERN.QUEUE_VECTOR, 2)).toBe(0xffff);
  });

  test('a reset of the device unmaps all and forgets what was pending; the table stays', () => {
    const rig = withMessages(makeRig({ vectors: 3 }));
    startModern(rig.fn);
    setMsix(rig.fn, MSIX.ENABLE | MSIX.FUNCTION_MASK);
    map(rig, 0, 1);
    interrupt(rig.fn, 0);
    rig.fn.barWrite(4, MODERN.STATUS, 1, 0);
    expect(isPending(rig, 1)).toBe(false);
    expect(rig.fn.barRead(1, 16 + 8, 4)).toBe(0xd1);
    expect(rig.fn.configRead(capability(rig.fn, 0x11) + 2, 2)).toBe(0xc002);
    startModern(rig.fn);
    setMsix(rig.fn, MSIX.ENABLE);
    interrupt(rig.fn, 0);
    changeConfig(rig.fn);
    expect(heard(rig)).toEqual([]);
    expect(rig.line).toEqual([]);
  });

  test('without bus mastering, messages reach no memory', () => {
    const rig = withMessages(makeRig({ vectors: 1 }));
    startModern(rig.fn);
    setMsix(rig.fn, MSIX.ENABLE);
    map(rig, 0);
    rig.fn.configWrite(COMMAND, 2, 3);
    rig.fn.barWrite(4, MODERN.STATUS, 1, 15);
    changeConfig(rig.fn);
    expect(heard(rig)).toEqual([]);
    expect(isPending(rig, 0)).toBe(false);
    rig.fn.configWrite(COMMAND, 2, ALL_ON);
    changeConfig(rig.fn);
    expect(heard(rig)).toEqual([0xd0]);
  });

  test.each([
    [1, 0x800, 4096],
    [128, 0x800, 4096],
    [129, 2064, 4096],
    [2048, 32768, 65536],
  ])('%i vectors: pending bits at %i, BAR of %i', (vectors, pba, bytes) => {
    const rig = makeRig({ vectors });
    const msix = capability(rig.fn, 0x11);
    expect(rig.fn.configRead(msix + 2, 2)).toBe(vectors - 1);
    expect(rig.fn.configRead(msix + 8, 4)).toBe(pba | 1);
    expect(rig.fn.bars.find(({ index }) => index === 1)?.size).toBe(bytes);
    startModern(rig.fn);
    setMsix(rig.fn, MSIX.ENABLE);
    map(rig, vectors - 1);
    changeConfig(rig.fn);
    const word = pba + 4 * ((vectors - 1) >> 5);
    expect(rig.fn.barRead(1, word, 4) >>> ((vectors - 1) & 31)).toBe(1);
    // nobody writes pending bits
    rig.fn.barWrite(1, word, 4, 0);
    expect(rig.fn.barRead(1, word, 4)).not.toBe(0);
    // all of the table, and what lies between and behind
    for (let at = 0; at < bytes; at += 4) {
      rig.fn.barWrite(1, at, 4, at | 1);
      const expected = at < 16 * vectors ? at | 1 : at === word ? rig.fn.barRead(1, word, 4) : 0;
      if (rig.fn.barRead(1, at, 4) !== expected) expect.fail(`${rig.fn.barRead(1, at, 4)} at ${at}`);
    }
  });

  test('the table takes 4 and 8 bytes, nothing else', () => {
    const { fn } = makeRig({ vectors: 2 });
    fn.barWrite(1, 0, 4, 0x11223344);
    expect([fn.barRead(1, 0, 1), fn.barRead(1, 0, 2), fn.barRead(1, 2, 4)]).toEqual([0, 0, 0]);
    fn.barWrite(1, 0, 2, 0xffff);
    fn.barWrite(1, 1, 4, 0xffffffff);
    expect(fn.barRead(1, 0, 4)).toBe(0x11223344);
    fn.barWrite(1, 0, 8, 0x5 * 2 ** 32 + 6);
    expect([fn.barRead(1, 0, 4), fn.barRead(1, 4, 4), fn.barRead(1, 0, 8)]).toEqual([6, 5, 5 * 2 ** 32 + 6]);
  });

  test('without sendMsi there is no MSI-X', () => {
    const rig = makeRig();
    const { fn } = makeRig({ ...({ sendMsi: undefined } as object) });
    expect(rig.fn.vectors).toBe(3);
    expect(fn.vectors).toBe(0);
    expect(capability(fn, 0x11)).toBe(0);
    expect(fn.barRead(4, MODERN.CONFIG_VECTOR, 2)).toBe(0xffff);
  });
});

describe('INTx', () => {
  const STATUS_INTERRUPT = 8;

  test('the line and the status bit follow the ISR', () => {
    const rig = makeRig({ vectors: 0 });
    startModern(rig.fn);
    offerRequest(rig, 0);
    rig.fn.barWrite(4, MODERN.NOTIFY, 2, 0);
    expect(rig.fn.intx).toBe(true);
    expect(rig.fn.configRead(6, 2) & STATUS_INTERRUPT).toBe(STATUS_INTERRUPT);
    offerRequest(rig, 0);
    rig.fn.barWrite(4, MODERN.NOTIFY, 2, 0);
    changeConfig(rig.fn);
    expect(rig.fn.barRead(4, 0x1000, 1)).toBe(3);
    expect(rig.line).toEqual([true, false]);
    expect(rig.fn.configRead(6, 2) & STATUS_INTERRUPT).toBe(0);
  });

  test('the disable bit holds the line down, and the status bit stays', () => {
    const rig = makeRig({ vectors: 0 });
    startModern(rig.fn);
    changeConfig(rig.fn);
    rig.fn.configWrite(COMMAND, 2, ALL_ON | 0x400);
    expect(rig.line).toEqual([true, false]);
    expect(rig.fn.configRead(6, 2) & STATUS_INTERRUPT).toBe(STATUS_INTERRUPT);
    rig.fn.configWrite(COMMAND + 1, 1, 0);
    expect(rig.line).toEqual([true, false, true]);
    rig.fn.configWrite(COMMAND, 2, ALL_ON | 0x400);
    rig.fn.barRead(4, 0x1000, 1);
    rig.fn.configWrite(COMMAND, 2, ALL_ON);
    expect(rig.line).toEqual([true, false, true, false]);
  });

  test('enabling MSI-X takes it away', () => {
    const rig = makeRig();
    startModern(rig.fn);
    changeConfig(rig.fn);
    setMsix(rig.fn, MSIX.ENABLE);
    expect(rig.line).toEqual([true, false]);
    changeConfig(rig.fn);
    expect(rig.line).toEqual([true, false]);
    // and back: the next interrupt says what is still unread
    setMsix(rig.fn, 0);
    interrupt(rig.fn, 0);
    expect(rig.line).toEqual([true, false, true]);
  });

  test.each(['status 0', 'bus reset', 'bus mastering off'])('%s', (how) => {
    const rig = makeRig({ vectors: 0 });
    startModern(rig.fn);
    changeConfig(rig.fn);
    if (how === 'status 0') rig.fn.barWrite(4, MODERN.STATUS, 1, 0);
    else if (how === 'bus reset') rig.fn.reset();
    else rig.fn.configWrite(COMMAND, 2, 3);
    // what was asserted stays until the driver has read why, unless all is reset
    expect(rig.line).toEqual(how === 'bus mastering off' ? [true] : [true, false]);
  });
});

describe('vectors by number', () => {
  test('the machine has the table: a vector that it does not take is pending, and is sent when it does', () => {
    const sent: number[] = [];
    let takes = true;
    const rig = makeRig({
      ...({ sendMsi: undefined } as object),
      sendVector: (vector) => {
        if (takes) sent.push(vector);
        return takes;
      },
    });
    const { fn } = rig;
    expect(fn.vectors).toBe(3);
    startModern(fn);
    setMsix(fn, MSIX.ENABLE);
    map(rig, 2);
    changeConfig(fn);
    expect(sent).toEqual([2]);
    takes = false;
    changeConfig(fn);
    expect(fn.barRead(1, 2048, 4)).toBe(4);
    for (const vector of [0, 1, 2, 3, -1]) fn.sendPending(vector);
    expect(sent).toEqual([2]);
    takes = true;
    for (const vector of [0, 1, 2, 3, -1]) fn.sendPending(vector);
    expect(sent).toEqual([2, 2]);
    expect(fn.barRead(1, 2048, 4)).toBe(0);
    // masked as a whole it is pending, whatever the machine takes
    setMsix(fn, MSIX.ENABLE | MSIX.FUNCTION_MASK);
    changeConfig(fn);
    fn.sendPending(2);
    expect(sent).toEqual([2, 2]);
    setMsix(fn, MSIX.ENABLE);
    expect(sent).toEqual([2, 2, 2]);
  });

  test('and not both ways', () => {
    expect(() => makeRig({ sendVector: () => true })).toThrow('a message goes one way');
  });
});
