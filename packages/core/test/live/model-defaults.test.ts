// A device type that says only what every one must say, and what core does for the rest.
import { isStateError } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import type { DeviceHost } from '../../src/contract/device-host.ts';
import type { DeviceModel } from '../../src/contract/device-model.ts';
import type { Virtqueue } from '../../src/contract/queue.ts';
import { createDevice } from '../../src/live/create.ts';
import { isHostError } from '../../src/live/errors.ts';
import { MappedMemory } from '../../src/live/memory.ts';
import { echoLayer, wire } from './echo.ts';

/** Fills what the driver gives it with fives: an entropy source that is none. */
class Fives implements DeviceModel<unknown> {
  readonly layer = echoLayer;
  readonly features = 0n;
  readonly queueSizes: readonly number[] = [8];
  attach(_host: DeviceHost): void {}
  handleQueue(queue: Virtqueue): void {
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      chain.in.fill(0, chain.in.total, 5);
      queue.push(chain, chain.in.total);
    }
    queue.notify();
  }
  capture(): unknown {
    return {};
  }
}

const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(0x4000) }]);
const live = (model: DeviceModel<unknown>) => createDevice(model, wire({}), { memory });

describe('six members are a device type', () => {
  test('it has no configuration space, offers what rings offer, and is reset, stopped, saved and restored', () => {
    const { device, host } = live(new Fives());
    expect([host.config.length, host.config.read(0, 1)]).toEqual([0, 0xff]);
    host.setStatus(3);
    host.setDriverFeatures(1n << 32n);
    host.setStatus(15);
    device.reset();
    device.pause();
    const state = device.capture();
    expect(state.config.length).toBe(0);
    expect(device.check(state)).toEqual([]);
    device.restore(state);
    device.resume();
    expect(device.paused).toBe(false);
  });

  test('a state with more queues is refused', () => {
    const { device } = live(new Fives());
    const state = device.capture();
    const queues = [...state.queues, ...state.queues];
    try {
      device.restore({ ...state, queues });
      expect.unreachable();
    } catch (error) {
      expect(isStateError(error) && error.code).toBe('queue-count');
    }
  });

  test('state that nobody takes over is a mistake of the program, not something to be forgotten', () => {
    class Forgetful extends Fives {
      override capture(): unknown {
        return { position: 5 };
      }
    }
    const { device } = live(new Forgetful());
    try {
      device.restore(device.capture());
      expect.unreachable();
    } catch (error) {
      expect(isHostError(error) && error.message).toBe(
        'echo: its state is not empty, and there is no apply() that takes it over',
      );
    }
  });
});
