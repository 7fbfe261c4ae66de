import { isHostError, MappedMemory } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { describe, expect, test } from 'vitest';
import { PciFunction, type PciOptions } from '../src/index.ts';
import { capability, makeRig } from './rig.ts';

function hostError(options: Partial<PciOptions>): string {
  try {
    makeRig(options);
  } catch (error) {
    if (isHostError(error)) return error.message;
    throw error;
  }
  return '';
}

describe('options that make no function', () => {
  test.each<[string, Partial<PciOptions>]>([
    ["machine 'newest'", { machine: 'newest' }],
    ['2049 MSI-X vectors', { vectors: 2049 }],
    ['-1 MSI-X vectors', { vectors: -1 }],
    ['1.5 MSI-X vectors', { vectors: 1.5 }],
    ["accessPlatform in mode 'transitional'", { accessPlatform: true }],
    ["modernPioNotify in mode 'legacy'", { mode: 'legacy', modernPioNotify: true }],
  ])('%s', (message, options) => {
    expect(hostError(options)).toContain(message);
  });

  test('vectors that cannot be sent', () => {
    const memory = new MappedMemory([]);
    const model = new BlkDevice({ backend: memoryDisk(512) });
    expect(() => new PciFunction(model, { memory, vectors: 1 })).toThrow('no sendMsi');
    expect(new PciFunction(model, { memory }).vectors).toBe(0);
  });
});

describe('machine types', () => {
  const fn = (options: Partial<PciOptions>): PciFunction<never> => makeRig(options).fn as PciFunction<never>;
  const deviceCapabilities = (machine: string): number => fn({ machine, express: true }).configRead(0x44, 4);

  test('PCI Express capability', () => {
    expect(deviceCapabilities('pc-q35-4.1')).toBe(0x00008000);
    expect(deviceCapabilities('pc-q35-4.2')).toBe(0x10008000);
    expect(deviceCapabilities('pc-q35-9.1')).toBe(0x10008000);
    expect(deviceCapabilities('9.2')).toBe(0x10008020);
    expect(fn({ machine: '2.4', express: true }).configSize).toBe(256);
    expect(fn({ machine: '2.5', express: true }).configSize).toBe(256);
    expect(fn({ machine: '2.7', express: true }).configSize).toBe(4096);
    expect(fn({ machine: '7.2', express: true, aer: true }).configRead(0x108, 4)).toBe(0);
    expect(fn({ machine: '8.0', express: true, aer: true }).configRead(0x108, 4)).toBe(0x02400000);
  });

  test('interfaces', () => {
    expect(fn({ machine: '2.6' }).bars.map(({ index }) => index)).toEqual([0, 1]);
    expect(fn({ machine: '2.7' }).bars.map(({ index }) => index)).toEqual([0, 1, 4]);
    expect(fn({ machine: '7.2', express: true }).bars.map(({ index }) => index)).toEqual([1, 4]);
  });

  test('offered features', () => {
    const offers = (machine: string, bit: number): boolean => fn({ machine }).device.offers(bit);
    const laxLayout = (machine: string): boolean => fn({ machine, mode: 'transitional' }).device.offers(27);
    expect([laxLayout('2.3'), laxLayout('2.4')]).toEqual([false, true]);
    expect([offers('2.6', 32), offers('2.7', 32)]).toEqual([false, true]);
    expect([offers('7.1', 40), offers('7.2', 40)]).toEqual([false, true]);
  });

  test('what is saved', () => {
    const saved = (machine: string): unknown => fn({ machine }).device.capture().subsections.extraState;
    expect(saved('2.4')).toBeUndefined();
    expect(saved('2.6')).toEqual({});
    expect(saved('2.7')).toMatchObject({ modernState: { vqs: [] } });
  });

  test('vectors', () => {
    const vectors = (machine: string, queues = 4): number => makeRig({ machine, queues }).fn.vectors;
    expect([vectors('2.11'), vectors('2.12'), vectors('7.2', 1)]).toEqual([2, 5, 2]);
  });
});

describe('identity', () => {
  const ids = (options: Partial<PciOptions>): number[] => {
    const { fn } = makeRig(options);
    return [0, 2, 8, 0x2c, 0x2e].map((at) => fn.configRead(at, at === 8 ? 1 : 2));
  };

  test('as in QEMU', () => {
    expect(ids({})).toEqual([0x1af4, 0x1001, 0, 0x1af4, 2]);
    expect(ids({ mode: 'legacy' })).toEqual([0x1af4, 0x1001, 0, 0x1af4, 2]);
    expect(ids({ mode: 'modern' })).toEqual([0x1af4, 0x1042, 1, 0x1af4, 0x1100]);
  });

  test('or as the host wants it', () => {
    const own = { vendor: 1, device: 2, revision: 3, subsystemVendor: 4, subsystem: 5 };
    expect(ids({ ids: own })).toEqual([1, 2, 3, 4, 5]);
    expect(makeRig({ multifunction: true }).fn.configRead(0x0e, 1)).toBe(0x80);
  });

  test('capabilities of each interface', () => {
    const types = (options: Partial<PciOptions>): number[] =>
      [1, 2, 3, 4, 5].map((type) => capability(makeRig(options).fn, 9, type));
    expect(types({ mode: 'legacy' })).toEqual([0, 0, 0, 0, 0]);
    expect(types({})).toEqual([0x40, 0x70, 0x50, 0x60, 0x84]);
    expect(types({ express: true })).toEqual([0x84, 0xb4, 0x94, 0xa4, 0xc8]);
    expect(types({ modernPioNotify: true })).toEqual([0x40, 0x84, 0x50, 0x60, 0x98]);
  });
});
