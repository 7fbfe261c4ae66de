// Device types beside disks and cards: made live from what QEMU saved, by their descriptors alone.

import type { DeviceModel, TransportParts, VirtioState } from '@virtkit/core';
import type { LiveDeviceType } from '@virtkit/core/qemu';
import { consoleType } from '@virtkit/device-console/type';
import { rngType } from '@virtkit/device-rng/type';
import { type Registry, titleOf } from '@virtkit/migration';
import { describe, expect, test } from 'vitest';
import { freshDevice } from '../src/index.ts';
import { devicesOf, memoryFor, registry, streamNames } from './corpus.ts';

/** Makes the device of a state that comes from a stream. */
function maker<D, I, O extends I>({ layer, live }: LiveDeviceType<D, I, O>) {
  const make = (state: VirtioState): DeviceModel =>
    live.make(live.unconnected(live.infer(state as VirtioState<TransportParts, D>)));
  return { layer, make };
}

const makers = [maker(rngType), maker(consoleType)];
const known: Registry = { ...registry, devices: makers.map(({ layer }) => layer) };

describe.each(makers)(
  'every $layer.name that a QEMU saved becomes a live device, and saves the same bytes',
  ({ layer, make }) => {
    let count = 0;
    for (const name of streamNames()) {
      const { machine, endian, devices } = devicesOf(name, known);
      for (const { device, state } of devices) {
        if (device.name !== layer.name) continue;
        count++;
        test(`${name} ${titleOf(device)}`, () => {
          const around = { memory: memoryFor(state, endian), machine, targetEndian: endian };
          const live = freshDevice(device, state, make(state), around);
          live.restore(state);
          const saved = live.capture();
          expect(saved.device).toEqual(state.device);
          expect(Buffer.compare(device.codec.encode(saved), device.section.body)).toBe(0);
        });
      }
    }
    test('there are some', () => {
      expect(count).toBeGreaterThan(10);
    });
  },
);
