// Device types that virtkit's own streams of disks and cards do not need: made live from what QEMU saved.
import type { DeviceModel, VirtioState } from '@virtkit/core';
import { RngDevice, rng } from '@virtkit/device-rng';
import { type Registry, titleOf } from '@virtkit/migration';
import { describe, expect, test } from 'vitest';
import { freshDevice } from '../src/index.ts';
import { devicesOf, memoryFor, registry, streamNames } from './corpus.ts';

const known: Registry = { ...registry, devices: [rng] };
const model = (_state: VirtioState): DeviceModel<unknown> =>
  new RngDevice({ backend: { fill: (target) => target.length } });

describe('every entropy device that a QEMU saved becomes a live device, and saves the same bytes', () => {
  let count = 0;
  for (const name of streamNames()) {
    const { machine, endian, devices } = devicesOf(name, known);
    for (const { device, state } of devices) {
      count++;
      test(`${name} ${titleOf(device)}`, () => {
        const around = {
          memory: memoryFor(state, endian),
          machine,
          targetEndian: endian,
        };
        const live = freshDevice(device, state, model(state), around);
        live.restore(state);
        expect(Buffer.compare(device.codec.encode(live.capture()), device.section.body)).toBe(0);
      });
    }
  }
  test('there are some', () => {
    expect(count).toBeGreaterThan(10);
  });
});
