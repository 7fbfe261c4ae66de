import { codecOf } from '@virtkit/core';
import { StateError } from '@virtkit/vmstate';
import type { Slot } from './slot.ts';

/**
 * Index of our devices in the list that v86 saves: far behind its own entries.
 *
 * The entry is `[version, slot, device, state, slot, device, state, …]`: numbers, names such as `virtio-blk`, and the
 * bytes that QEMU has for the device (a section's body).
 */
export const STATE_INDEX = 1000;
const VERSION = 1;

/** Part of a slot that a snapshot needs. */
export type SavedSlot = Pick<Slot, 'slot' | 'name' | 'function'>;

/** Device of a snapshot, decoded. */
export interface SavedDevice<S extends SavedSlot = Slot> {
  readonly slot: S;
  readonly restore: () => void;
}

export function save(slots: readonly SavedSlot[]): unknown[] {
  const entry: unknown[] = [VERSION];
  for (const {
    slot,
    function: { device },
  } of slots)
    entry.push(slot, device.model.layer.name, codecOf(device).encode(device.capture()));
  return entry;
}

/**
 * Reads the entry of a snapshot and finds each device its slot. Changes nothing.
 *
 * @throws StateError if the snapshot was made with other devices than are attached, or its bytes are not what they
 * should be
 */
export function match<S extends SavedSlot>(entry: unknown, slots: readonly S[]): SavedDevice<S>[] {
  const saved = parse(entry);
  const describe = (list: readonly { slot: number; name: string }[]): string =>
    list.length === 0 ? 'none' : list.map(({ slot, name }) => `${name} in slot ${slot}`).join(', ');
  const attached = slots.map(({ slot, name }) => ({ slot, name }));
  const fits =
    saved.length === attached.length &&
    saved.every(({ slot, name }) => attached.some((other) => other.slot === slot && other.name === name));
  if (!fits) {
    throw new StateError(
      'v86-devices',
      `the snapshot has virtkit devices: ${describe(saved)}; attached are: ${describe(attached)}`,
      { saved: describe(saved), attached: describe(attached) },
    );
  }
  return saved.map(({ slot: number, name, bytes }) => {
    const slot = slots.find((one) => one.slot === number);
    if (slot === undefined) throw new StateError('v86-devices', `${name} in slot ${number}: not attached`);
    const { device } = slot.function;
    try {
      const state = codecOf(device).load(bytes);
      return { slot, restore: () => device.restore(state) };
    } catch (error) {
      throw error instanceof StateError ? error.within(`${name} in slot ${number}`) : error;
    }
  });
}

interface Saved {
  readonly slot: number;
  readonly name: string;
  readonly bytes: Uint8Array;
}

function parse(entry: unknown): Saved[] {
  if (entry === undefined || entry === null) return [];
  if (!Array.isArray(entry))
    throw new StateError('v86-entry', `entry ${STATE_INDEX} of the snapshot is no list`);
  const [version, ...items] = entry as unknown[];
  if (version !== VERSION)
    throw new StateError('v86-version', `virtkit entry of version ${String(version)}, ${VERSION} is known`);
  const saved = new Map<number, Saved>();
  for (let i = 0; i < items.length; i += 3) {
    const [slot, name, bytes] = items.slice(i, i + 3);
    if (typeof slot !== 'number' || typeof name !== 'string' || !(bytes instanceof Uint8Array))
      throw new StateError('v86-entry', `device ${i / 3} of the snapshot: slot, name and bytes expected`);
    const other = saved.get(slot);
    if (other !== undefined) {
      throw new StateError(
        'v86-entry',
        `device ${i / 3} of the snapshot: slot ${slot} has a ${other.name} in it already`,
        { slot, first: other.name, second: name },
      );
    }
    saved.set(slot, { slot, name, bytes });
  }
  return [...saved.values()];
}
