// Virtio 1.3 §4.2.2.1: feature bits by words of 32, and a device has none in the words from 2 on.
import { MappedMemory, virtioDevice } from '@virtkit/core';
import { BlkDevice, type BlkState, blk, memoryDisk } from '@virtkit/device-blk';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MmioDevice, mmio } from '../src/index.ts';

const AT = { deviceFeatures: 0x10, deviceSel: 0x14, driverFeatures: 0x20, driverSel: 0x24, status: 0x70 };
const VERSION_1 = 1n << 32n;
const selector = fc.oneof(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 0xffff_ffff }));

function make(legacy = false): MmioDevice<BlkState> {
  return new MmioDevice<BlkState>(new BlkDevice({ backend: memoryDisk(1 << 20) }), {
    memory: new MappedMemory([{ gpa: 0, bytes: new Uint8Array(1 << 16) }]),
    legacy,
    setIrq: () => {},
  });
}

function offered(device: MmioDevice<BlkState>, word: number): number {
  device.write(AT.deviceSel, 4, word);
  return device.read(AT.deviceFeatures, 4);
}

function accept(device: MmioDevice<BlkState>, word: number, bits: number): void {
  device.write(AT.driverSel, 4, word);
  device.write(AT.driverFeatures, 4, bits);
}

describe('words of features', () => {
  test('a driver that writes zeros into the words behind has VERSION_1', () => {
    const device = make();
    const words = [0, 1, 2, 3].map((word) => offered(device, word));
    expect(words.slice(2)).toEqual([0, 0]);
    device.write(AT.status, 4, 3);
    words.forEach((bits, word) => {
      accept(device, word, bits);
    });
    device.write(AT.status, 4, 11);
    expect(device.read(AT.status, 4)).toBe(11);
    expect(device.device.features & VERSION_1).toBe(VERSION_1);
  });

  test('in any order, with any selector, and whatever is written behind', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(selector, fc.integer({ min: 0, max: 0xffff_ffff })), { maxLength: 20 }),
        fc.boolean(),
        (writes, legacy) => {
          const device = make(legacy);
          const { offeredFeatures } = device.device;
          const expected = [0, 0];
          device.write(AT.status, 4, 3);
          for (const [word, bits] of writes) {
            if (word >= 2) expect(offered(device, word)).toBe(0);
            accept(device, word, bits);
            if (word < (legacy ? 1 : 2)) expected[word] = bits;
          }
          device.write(AT.status, 4, legacy ? 7 : 11);
          const [low = 0, high = 0] = expected;
          expect(device.device.features).toBe(((BigInt(high) << 32n) | BigInt(low)) & offeredFeatures);
        },
      ),
    );
  });

  test('a state holds selectors that a QEMU can use', () => {
    fc.assert(
      fc.property(selector, selector, (deviceWord, driverWord) => {
        const device = make();
        device.write(AT.deviceSel, 4, deviceWord);
        device.write(AT.driverSel, 4, driverWord);
        const codec = virtioDevice(mmio, blk);
        const { transport } = codec.load(codec.encode(device.device.capture()));
        expect(transport).toMatchObject({
          hostFeaturesSel: Math.min(deviceWord, 1),
          guestFeaturesSel: Math.min(driverWord, 1),
        });
      }),
      { numRuns: 20 },
    );
  });

  test('and one with others is refused', () => {
    const device = make();
    const state = device.device.capture();
    for (const key of ['hostFeaturesSel', 'guestFeaturesSel']) {
      const bad = { ...state, transport: { ...state.transport, [key]: 2 } };
      expect(() => make().device.restore(bad)).toThrow(`transport.${key}: 2, at most 1 expected`);
    }
  });
});
