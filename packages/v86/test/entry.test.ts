// The entry of a snapshot that holds our devices, as a stranger may have written it: no guest is needed to refuse it.
import { MappedMemory } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { PciFunction } from '@virtkit/transport-pci';
import { StateError } from '@virtkit/vmstate';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Slot } from '../src/slot.ts';
import { match, save } from '../src/snapshot.ts';

/** A device in a slot, as far as a snapshot needs it. */
function slotOf(slot: number): Slot {
  const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(1 << 12) }]);
  const disk = new BlkDevice({ backend: memoryDisk(1 << 12) });
  return { slot, name: 'virtio-blk', function: new PciFunction(disk, { memory }) } as Partial<Slot> as Slot;
}

const slots = [3, 4, 8].map(slotOf);
const entry = save(slots);
const [version, ...items] = entry;
const devices = slots.map((_, i) => items.slice(3 * i, 3 * i + 3));

describe('an entry', () => {
  test('that was saved fits, in any order', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(devices, { minLength: devices.length }), (list) => {
        const found = match([version, ...list.flat()], slots).map(({ slot }) => slot.slot);
        expect(found.toSorted((a, b) => a - b)).toEqual([3, 4, 8]);
      }),
      { numRuns: 6 },
    );
  });

  test('that names a slot twice is refused whole', () => {
    const [first = [], second = []] = devices;
    const refused = () => match([version, ...first, ...second, ...first], slots);
    expect(refused).toThrow(StateError);
    expect(refused).toThrow('device 2 of the snapshot: slot 3 has a virtio-blk in it already');
  });

  test('with any other list of the devices is refused, or restores each once', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...devices), { maxLength: 5 }), (list) => {
        let found: number[] | undefined;
        try {
          found = match([version, ...list.flat()], slots).map(({ slot }) => slot.slot);
        } catch (error) {
          expect(error).toBeInstanceOf(StateError);
        }
        if (found !== undefined) expect(found.toSorted((a, b) => a - b)).toEqual([3, 4, 8]);
      }),
    );
  });
});
