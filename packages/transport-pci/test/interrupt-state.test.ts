// Interrupts by themselves: what a table, its pending bits, the pins and the mapping of vectors hold, take over and give away.
import { describe, expect, test } from 'vitest';
import { COMMAND, ConfigRegisters, STATUS_BIT } from '../src/live/config-registers.ts';
import { Intx } from '../src/live/intx.ts';
import { Msix, msixBar } from '../src/live/msix.ts';
import { NO_VECTOR, Vectors } from '../src/live/vectors.ts';
import { PCI_HEADER as HEADER } from '../src/pci-header.ts';

const ENABLE = 0x80;
const FUNCTION_MASK = 0x40;
/** Where the capability would be; the high byte of message control stands 3 bytes further. */
const CAPABILITY = 0x40;
const CONTROL = CAPABILITY + 3;

function msixOf(vectors: number, control = 0) {
  const space = new ConfigRegisters(false);
  space.bytes[CONTROL] = control;
  const sent: [number, number][] = [];
  const msix = new Msix(space, CAPABILITY, vectors, {
    message: (address, data) => sent.push([address, data]),
  });
  const set = (value: number): boolean => {
    space.bytes[CONTROL] = value;
    return msix.configWritten(CONTROL, 1);
  };
  /** An entry of a vector, as a driver writes it. */
  const write = (vector: number, mask = 0): void => {
    [0xfee00000 + vector, 1, 0x100 + vector, mask].forEach((word, n) => {
      msix.write(16 * vector + 4 * n, 4, word);
    });
  };
  return { space, sent, msix, set, write };
}

const message = (vector: number): [number, number] => [2 ** 32 + 0xfee00000 + vector, 0x100 + vector];

describe('MSI-X', () => {
  test.each([
    [1, 2048, 4096],
    [128, 2048, 4096],
    [129, 2064, 4096],
    [255, 4080, 8192],
    [256, 4096, 8192],
  ])('%i vectors: pending bits at %i of a BAR of %i', (vectors, pbaOffset, size) => {
    expect(msixBar(vectors)).toEqual({ pbaOffset, size });
  });

  test('a table is masked at first, and so it is after a reset', () => {
    const { msix, space, write, set } = msixOf(3);
    const masked = [0, 1, 2].map(() => ({ address: 0n, data: 0, control: 1 }));
    expect(msix.entries()).toEqual(masked);
    write(1);
    msix.use(1);
    set(ENABLE);
    expect(msix.entries()[1]).toEqual({ address: (1n << 32n) + 0xfee00001n, data: 0x101, control: 0 });
    space.wmask[CONTROL] = 0xc0;
    msix.notify(0);
    msix.reset();
    expect([msix.entries(), [...msix.pending], msix.enabled]).toEqual([masked, Array(8).fill(0), false]);
  });

  test('a function without vectors has none of it', () => {
    const { msix, set, sent, space } = msixOf(0, ENABLE);
    expect([msix.enabled, set(ENABLE), msix.entries(), [...msix.pendingSaved()]]).toEqual([
      false,
      false,
      [],
      [],
    ]);
    space.wmask[CONTROL] = 0xff;
    msix.reset();
    // what stands there is something else's
    expect(space.bytes[CONTROL]).toBe(ENABLE);
    msix.use(0);
    msix.notify(0);
    expect(sent).toEqual([]);
  });

  test('what a write to configuration space says: whether message control was in it, and enables', () => {
    const { msix, space } = msixOf(2);
    space.bytes[CONTROL] = ENABLE;
    for (const [at, size, isIn] of [
      [CONTROL, 1, true],
      [CONTROL - 1, 2, true],
      [CONTROL - 3, 4, true],
      [CONTROL, 4, true],
      [CONTROL - 1, 1, false],
      [CONTROL - 4, 4, false],
      [CONTROL + 1, 1, false],
      [CONTROL + 1, 4, false],
    ] as const)
      expect([at, size, msix.configWritten(at, size)]).toEqual([at, size, isIn]);
    space.bytes[CONTROL] = FUNCTION_MASK;
    expect([msix.configWritten(CONTROL, 1), msix.enabled]).toEqual([false, false]);
    space.bytes[CONTROL] = ENABLE | FUNCTION_MASK;
    expect([msix.configWritten(CONTROL, 1), msix.enabled]).toEqual([true, true]);
  });

  test('what is due behind the mask of the function is sent once when that goes, and at no other time', () => {
    const { msix, set, sent, write } = msixOf(3);
    for (const vector of [0, 1, 2]) {
      write(vector, vector === 2 ? 1 : 0);
      msix.use(vector);
    }
    set(ENABLE | FUNCTION_MASK);
    for (const vector of [0, 2]) msix.notify(vector);
    expect([sent, [0, 1, 2].map((vector) => msix.isPending(vector))]).toEqual([[], [true, false, true]]);
    set(ENABLE | FUNCTION_MASK);
    expect(sent).toEqual([]);
    set(ENABLE);
    // the third is masked by itself
    expect([sent, [0, 1, 2].map((vector) => msix.isPending(vector))]).toEqual([
      [message(0)],
      [false, false, true],
    ]);
    set(ENABLE);
    expect(sent).toHaveLength(1);
    msix.write(16 * 2 + 12, 4, 0);
    expect([sent, msix.isPending(2)]).toEqual([[message(0), message(2)], false]);
    // open already: nothing is due
    msix.write(16 * 2 + 12, 4, 0);
    expect(sent).toHaveLength(2);
  });

  test('the last use of a vector takes its pending bit with it', () => {
    const { msix, write } = msixOf(10);
    for (const vector of [3, 9]) write(vector, 1);
    msix.use(9);
    msix.use(9);
    msix.use(3);
    msix.notify(9);
    msix.notify(3);
    expect([...msix.pendingSaved()]).toEqual([8, 2]);
    msix.unuse(9);
    expect([...msix.pendingSaved()]).toEqual([8, 2]);
    msix.unuse(9);
    expect([...msix.pendingSaved()]).toEqual([8, 0]);
    // one use less than none is none
    msix.unuse(9);
    msix.use(9);
    msix.notify(9);
    expect([...msix.pendingSaved()]).toEqual([8, 2]);
    // a vector that there is not is of no use
    msix.use(10);
    msix.notify(10);
    msix.notify(11);
    expect([...msix.pendingSaved()]).toEqual([8, 2]);
    msix.unuseAll();
    expect([...msix.pendingSaved()]).toEqual([0, 0]);
    msix.notify(9);
    expect([...msix.pendingSaved()]).toEqual([0, 0]);
  });

  test('a table and its pending bits are taken over as they were', () => {
    const { msix, set, sent } = msixOf(9, ENABLE);
    const entries = Array.from({ length: 9 }, (_, n) => ({
      address: 0x1_0000_0000n * BigInt(n) + 0xfee0_1004n,
      data: 0x4000_0000 + n,
      control: n % 2,
    }));
    msix.use(1);
    msix.notify(1);
    const pending = Uint8Array.of(0b10, 0b0, 9, 9, 9, 9, 9, 9, 9, 9);
    msix.restore(entries, pending);
    expect(msix.entries()).toEqual(entries);
    expect([msix.read(16, 4), msix.read(20, 4), msix.read(24, 4), msix.read(28, 4)]).toEqual([
      0xfee0_1004, 1, 0x4000_0001, 1,
    ]);
    // as many bytes as the BAR shows of them; as many as there are vectors for are saved again
    expect([[...msix.pending], [...msix.pendingSaved()]]).toEqual([
      [2, 0, 9, 9, 9, 9, 9, 9],
      [2, 0],
    ]);
    expect(msix.read(2048, 4)).toBe(0x09090002);
    // nothing is in use any more, but for those that are mapped now
    msix.notify(1);
    expect(sent).toEqual([]);
    msix.use(2);
    msix.notify(2);
    expect(sent).toEqual([[2 * 2 ** 32 + 0xfee0_1004, 0x4000_0002]]);
    msix.use(3);
    msix.notify(3);
    expect([...msix.pendingSaved()]).toEqual([0b1010, 0]);
    // pending and open, of a vector that nothing is mapped to: lost
    const open = Array.from({ length: 9 }, () => ({ address: 0n, data: 7, control: 0 }));
    msix.restore(open, Uint8Array.of(0xff, 1));
    expect([[...msix.pendingSaved()], sent.length]).toEqual([[0, 0], 1]);
    set(0);
    msix.restore(open, Uint8Array.of(0xff, 1));
    expect([...msix.pendingSaved()]).toEqual([0xff, 1]);
  });
});

describe('INTx', () => {
  function intxOf(pin = 1) {
    const space = new ConfigRegisters(false);
    space.bytes[HEADER.INTERRUPT_PIN] = pin;
    const line: boolean[] = [];
    return { space, line, intx: new Intx(space, (level) => line.push(level)) };
  }

  test.each([
    [1, [1, 0, 0, 0]],
    [2, [0, 1, 0, 0]],
    [4, [0, 0, 0, 1]],
    // no pin, and one that there is not
    [0, [0, 0, 0, 1]],
    [5, [1, 0, 0, 0]],
  ])('pin %i is the one that is set', (pin, levels) => {
    const { intx, line, space } = intxOf(pin);
    expect(intx.levels).toEqual([0, 0, 0, 0]);
    intx.set(true);
    intx.set(true);
    expect([intx.levels, line, (space.u8(HEADER.STATUS) & STATUS_BIT.INTERRUPT) !== 0]).toEqual([
      levels,
      [true],
      true,
    ]);
    intx.set(false);
    expect([intx.levels, line, space.u8(HEADER.STATUS) & STATUS_BIT.INTERRUPT]).toEqual([
      [0, 0, 0, 0],
      [true, false],
      0,
    ]);
  });

  test('a line that is disabled carries nothing, and its level is known all the same', () => {
    const { intx, line, space } = intxOf();
    space.bytes[HEADER.COMMAND + 1] = COMMAND.INTX_DISABLE >> 8;
    intx.set(true);
    expect([line, intx.level, intx.levels]).toEqual([[], false, [1, 0, 0, 0]]);
    space.bytes[HEADER.COMMAND + 1] = 0;
    intx.update();
    expect([line, intx.level]).toEqual([[true], true]);
    intx.deassert();
    expect([line, intx.levels]).toEqual([
      [true, false],
      [0, 0, 0, 0],
    ]);
  });

  test.each<[readonly number[], boolean | undefined, readonly number[], boolean]>([
    [[0, 0, 0, 0], undefined, [0, 0, 0, 0], false],
    [[1, 0, 0, 0], undefined, [1, 0, 0, 0], true],
    [[1, 0, 1, 0], false, [0, 0, 1, 0], true],
    [[1, 0, 0, 0], false, [0, 0, 0, 0], false],
    [[0, 1, 0, 1], true, [1, 1, 0, 1], true],
    [[0, 0, 0, 0, 1], undefined, [0, 0, 0, 0], false],
  ])('levels %j, own pin %s: %j, and the host is told in any case', (levels, own, expected, level) => {
    for (const before of [false, true]) {
      const { intx, line } = intxOf();
      intx.set(before);
      line.length = 0;
      intx.restore(levels, own);
      expect([intx.levels, intx.level, line]).toEqual([expected, level, [level]]);
    }
  });
});

describe('vectors', () => {
  test('are used as often as they are mapped, and taken over', () => {
    const { msix, sent, write, set } = msixOf(3, ENABLE);
    set(ENABLE);
    for (const vector of [0, 1, 2]) write(vector);
    const vectors = new Vectors(msix);
    expect([vectors.config, vectors.ofQueue(0), vectors.ofQueue(5000)]).toEqual([
      NO_VECTOR,
      NO_VECTOR,
      NO_VECTOR,
    ]);
    vectors.mapConfig(1);
    vectors.mapQueue(0, 1);
    vectors.mapQueue(1, 3);
    expect([vectors.config, vectors.ofQueue(0), vectors.ofQueue(1)]).toEqual([1, 1, NO_VECTOR]);
    vectors.mapQueue(0, 2);
    msix.notify(1);
    vectors.mapConfig(NO_VECTOR);
    msix.notify(1);
    expect(sent).toEqual([message(1)]);
    vectors.restore(0, [2, NO_VECTOR, 7]);
    expect([vectors.config, vectors.ofQueue(0), vectors.ofQueue(1), vectors.ofQueue(2)]).toEqual([
      0,
      2,
      NO_VECTOR,
      NO_VECTOR,
    ]);
    msix.notify(0);
    expect(sent).toEqual([message(1), message(0)]);
    vectors.unmapQueue(0);
    vectors.reset();
    msix.notify(2);
    expect([vectors.config, vectors.ofQueue(0), sent.length]).toEqual([NO_VECTOR, NO_VECTOR, 2]);
  });
});
