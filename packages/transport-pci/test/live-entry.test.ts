import { codecOf, MappedMemory } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { BlkDevice as LiveBlkDevice } from '@virtkit/device-blk/live';
import { describe, expect, test } from 'vitest';
import { PciFunction } from '../src/index.ts';
import { PciFunction as LivePciFunction } from '../src/live.ts';

const around = () => ({
  memory: new MappedMemory([{ gpa: 0, bytes: new Uint8Array(1 << 20) }]),
  setIntx: () => {},
  sendMsi: () => {},
});

describe('A disk from the entries without the format of its state', () => {
  const live = new LivePciFunction(new LiveBlkDevice({ backend: memoryDisk(1 << 20) }), around());
  const whole = new PciFunction(new BlkDevice({ backend: memoryDisk(1 << 20) }), around());

  test('takes over the state of one with it, and has the same', () => {
    live.configWrite(4, 2, 6);
    const state = live.device.capture();
    whole.device.restore(state);
    expect(whole.device.capture()).toEqual(state);
    live.device.restore(codecOf(whole.device).load(codecOf(whole.device).encode(state)));
    expect(live.device.capture()).toEqual(state);
  });

  test('refuses a state that does not fit in the same words', () => {
    const state = { ...whole.device.capture(), queueSel: 1024 };
    expect(live.device.check(state)).toEqual(whole.device.check(state));
    expect(live.device.check(state)).toMatchObject([{ code: 'queue-sel', severity: 'error' }]);
  });

  test('says where the format is when bytes are asked for', () => {
    expect(() => codecOf(live.device)).toThrow(
      "pci: no bytes can be made of its state, because its package's entry '/live' does not have the format; import from the package itself",
    );
    const half = new PciFunction(new LiveBlkDevice({ backend: memoryDisk(1 << 20) }), around());
    expect(() => codecOf(half.device)).toThrow('virtio-blk: no bytes can be made of its state');
  });
});
