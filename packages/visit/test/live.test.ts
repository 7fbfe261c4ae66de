import type { VirtioState } from '@virtkit/core';
import { memoryDisk } from '@virtkit/device-blk';
import { titleOf } from '@virtkit/migration';
import { StateError } from '@virtkit/vmstate';
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

describe('configuration space that contradicts itself is a fault of the state, not of the program', () => {
  type PciState = VirtioState & { transport: { config: Uint8Array } };
  const functions = streamNames().flatMap((name) => {
    const { machine, endian, devices } = devicesOf(name);
    return devices
      .filter(({ device }) => device.codec.transport.name === 'pci')
      .map(({ device, state }) => ({ device, state: state as PciState, machine, endian }));
  });
  const isLegacy = ({ state: { transport } }: (typeof functions)[number]): boolean =>
    transport.config[0x20] === 0 && transport.config[3] === 0x10;

  for (const [kind, wanted] of [
    ['with modern registers', (each: (typeof functions)[number]) => !isLegacy(each)],
    ['without', isLegacy],
  ] as const) {
    test(`${kind}: with any bit of its header changed it is live, or refused`, () => {
      const each = functions.find(wanted);
      if (each === undefined) throw new Error(`no function ${kind} in the corpus`);
      const { device, state, machine, endian } = each;
      const memory = memoryFor(state, endian);
      const disk = memoryDisk(64 << 20);
      const backends = connected(() => disk);
      let refused = 0;
      for (let bit = 0; bit < 8 * 64; bit++) {
        const config = state.transport.config.slice();
        config[bit >> 3] = (config[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const changed = { ...state, transport: { ...state.transport, config } };
        try {
          liveDevice(device, changed, backends, { memory, machine, targetEndian: endian });
        } catch (error) {
          expect(error, `bit ${bit}`).toBeInstanceOf(StateError);
          refused++;
        }
      }
      expect(refused).toBeGreaterThan(50);
    });
  }
});
