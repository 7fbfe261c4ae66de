import { bool, type Field, sparseArray, u8, u16, u32, u64, type VMState, vmstate } from '@virtkit/vmstate';
import type { PackedIndices, RingAddresses, SubsectionsWith } from '../contract/state.ts';
import { QUEUE_MAX } from '../spec.ts';

/** Entry of `virtio/virtqueues`. Both addresses are 0 for queues that are not set up. */
export const virtqueueEntry = vmstate('virtqueue_state', 1).fields({
  /** Guest address of the avail ring (packed: the driver event suppression structure). */
  avail: u64,
  /** Guest address of the used ring (packed: the device event suppression structure). */
  used: u64,
});

/** An entry of `virtio/packed_virtqueues`. */
export const packedVirtqueueEntry = vmstate('packed_virtqueue_state', 1).fields({
  /** Next slot to take a descriptor from. */
  lastAvailIdx: u16,
  /** Wrap counter at the slot `lastAvailIdx`. */
  lastAvailWrapCounter: bool,
  /** Next slot to write a used descriptor to. */
  usedIdx: u16,
  /** Wrap counter at the slot `usedIdx`. */
  usedWrapCounter: bool,
  /** Ring slots of chains taken and not yet returned. */
  inuse: u32,
});

/** Entry of a queue that nobody has set up: a reset sets both wrap counters (Virtio 1.3 §2.8.1). */
const PACKED_ABSENT = Uint8Array.of(0, 0, 1, 0, 0, 1, 0, 0, 0, 0);

/** Subsection `virtio/virtqueues`, 16 KiB: the entries up to the last one in use. */
export const virtqueues: Field<readonly RingAddresses[]> = sparseArray(
  virtqueueEntry,
  QUEUE_MAX,
  new Uint8Array(16),
);

/** Subsection `virtio/ringsize`, 4 KiB: `vring.num_default`, the ring size that a reset goes back to. */
export const ringsizes: Field<readonly number[]> = sparseArray(u32, QUEUE_MAX, new Uint8Array(4));

/** Subsection `virtio/packed_virtqueues`, 10 KiB: the entries up to the last one in use. */
export const packedVirtqueues: Field<readonly PackedIndices[]> = sparseArray(
  packedVirtqueueEntry,
  QUEUE_MAX,
  PACKED_ABSENT,
);

/**
 * The subsections of the vmsd `virtio`, in the order in which QEMU writes them. A state has those that the stream had;
 * the comments give the sender's rule. QEMU: `vmstate_virtio` and its `_needed` functions.
 *
 * @param extraState the transport's `save_extra_state` / `load_extra_state`
 */
export function coreSubsections<Extra>(extraState: Field<Extra>): CoreSubsectionsDeclaration<Extra> {
  return (
    vmstate('virtio', 1)
      // device_endian differs from the target's default, or (with VERSION_1) from little
      .subsection('deviceEndian', 'virtio/device_endian', u8)
      // the host offers a bit above 63: bits 64 to 127, QEMU 10.2 and later
      .subsection('features128', 'virtio/128bit_features', u64)
      // the host offers a bit above 31: bits 0 to 63
      .subsection('features64', 'virtio/64bit_features', u64)
      // the host offers VERSION_1
      .subsection('virtqueues', 'virtio/virtqueues', virtqueues)
      // a ring has another size than it was created with; never since QEMU 11.1
      .subsection('ringsize', 'virtio/ringsize', ringsizes)
      // the device was broken by its guest
      .subsection('broken', 'virtio/broken', bool)
      // the transport has extra state
      .subsection('extraState', 'virtio/extra_state', extraState)
      // DRIVER_OK was set, or a legacy driver kicked before it
      .subsection('started', 'virtio/started', bool)
      // the host offers RING_PACKED
      .subsection('packedVirtqueues', 'virtio/packed_virtqueues', packedVirtqueues)
      // PCI bus mastering was switched off
      .subsection('disabled', 'virtio/disabled', bool)
  );
}

/** Type of what {@link coreSubsections} declares. */
export type CoreSubsectionsDeclaration<Extra> = VMState<SubsectionsWith<Extra>, unknown>;
