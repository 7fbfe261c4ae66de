import type { DeviceModel } from '@virtkit/core';
import type { PciFunction } from '@virtkit/transport-pci';
import type { V86Emulator } from './emulator.ts';
import { hostOf } from './host.ts';
import { type AttachOptions, Slot } from './slot.ts';
import type { Counters } from './target.ts';

/** Device in a slot of an emulator's PCI bus. */
export interface Attachment<D = unknown> {
  /** Number of the PCI slot, 2 to 31. */
  readonly slot: number;
  /** PCI function, with its device: `function.device.capture()`. */
  readonly function: PciFunction<D>;
  /** Resolves when the function is on the bus. Rejects with a HostError if v86 has something of its own in the slot. */
  readonly ready: Promise<void>;
  /** Numbers of times that the guest reached the device, and the device the guest. */
  readonly counters: Readonly<Counters>;
  /**
   * Takes the device off the bus at once, like a card pulled out; let the guest remove it first. The device is reset
   * and paused.
   */
  detach(): void;
}

/**
 * Puts a virtio device into a v86 instance. Before the emulator is ready, the guest finds it when it boots; later, when it
 * scans its bus (`echo 1 > /sys/bus/pci/rescan`).
 *
 * From the first device on, `save_state()` and `restore_state()` of the emulator carry the devices' state, and a state that
 * was made with other devices is refused.
 *
 * @throws HostError for an emulator that is none, a slot that is taken, options that make no function
 */
export function attach<D>(
  emulator: V86Emulator,
  model: DeviceModel<D>,
  options: AttachOptions,
): Attachment<D> {
  const host = hostOf(emulator);
  const slot = new Slot<D>(host, model, options);
  const ready = host.add(slot as unknown as Slot);
  return {
    slot: slot.slot,
    function: slot.function,
    ready,
    counters: slot.counters,
    detach: () => host.remove(slot as unknown as Slot),
  };
}
