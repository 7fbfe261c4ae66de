import { memoryDisk } from '@virtkit/device-blk';
import { titleOf } from '@virtkit/migration';
import { describe, expect, test } from 'vitest';
import { liveDevice } from '../src/index.ts';
import { connected, devicesOf, memoryFor, streamNames } from './corpus.ts';

/** Bytes of which the first difference is shown, rather than all of them. */
function firstDifference(a: Uint8Array, b: Uint8Array): number {
  if (a.length !== b.length) return Math.min(a.length, b.length);
  return a.findIndex((byte, index) => byte !== b[index]);
}

describe('every disk and network card that a QEMU saved becomes a live device, and saves the same bytes', () => {
  for (const name of streamNames()) {
    const { machine, endian, devices } = devicesOf(name);
    for (const { device, state } of devices) {
      test(`${name} ${titleOf(device)}`, () => {
        const live = liveDevice(
          device,
          state,
          connected(() => memoryDisk(64 << 20)),
          { memory: memoryFor(state, endian), machine, targetEndian: endian },
        );
        const bytes = device.codec.encode(live.capture());
        expect(firstDifference(bytes, device.section.body)).toBe(-1);
      });
    }
  }
});
