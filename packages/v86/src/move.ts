import { HostError } from '@virtkit/core';
import type { V86Emulator } from './emulator.ts';
import { hostOf } from './host.ts';

/** Device model whose back end may still be at work when the device is paused. */
interface Draining {
  idle?(): Promise<void>;
}

/** Stops the guest and its devices, and waits until no write of a back end is on its way. */
async function quiesce(emulator: V86Emulator): Promise<() => Promise<void>> {
  const wasRunning = emulator.is_running();
  if (wasRunning) await emulator.stop();
  const devices = [...hostOf(emulator).slots.values()].map((slot) => slot.function.device);
  const paused = devices.filter(({ paused }) => !paused);
  for (const device of paused) device.pause();
  await Promise.all(devices.map(({ model }) => (model as Draining).idle?.()));
  return async () => {
    for (const device of paused) device.resume();
    if (wasRunning) await emulator.run();
  };
}

/**
 * Stops a guest at any moment, in mid-I/O, and gives its whole state: v86's, and the devices'. The guest stays stopped, so that
 * the state may go on elsewhere, over the same disks.
 *
 * @returns the state, and what lets this guest go on after all
 */
export async function suspend(
  emulator: V86Emulator,
): Promise<{ state: ArrayBuffer; goOn: () => Promise<void> }> {
  const goOn = await quiesce(emulator);
  try {
    return { state: await emulator.save_state(), goOn };
  } catch (error) {
    await goOn();
    throw error;
  }
}

/**
 * Moves a running guest to another instance, which must have the same memory size and devices in the same slots. The disks'
 * back ends are not moved: give both instances the same one, or one with the same content.
 *
 * After it the target runs if the source did, and the source is stopped. If the target refuses, the source goes on.
 *
 * @throws StateError if the devices do not fit, HostError if source and target are one
 */
export async function moveGuest(source: V86Emulator, target: V86Emulator): Promise<{ bytes: number }> {
  if (source === target) throw new HostError('a guest cannot be moved to where it is');
  hostOf(target).guard();
  const running = source.is_running();
  if (target.is_running()) await target.stop();
  const { state, goOn } = await suspend(source);
  try {
    await target.restore_state(state);
  } catch (error) {
    await goOn();
    throw error;
  }
  if (running) await target.run();
  return { bytes: state.byteLength };
}
