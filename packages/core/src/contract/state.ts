/** The state types that a transport brings. */
export interface TransportParts {
  /** Type of what QEMU's `save_config` writes: proxy device and transport-specific device fields. */
  readonly config: unknown;
  /** Type of what QEMU's `save_queue` writes for each queue. */
  readonly queue: unknown;
  /** Type of what QEMU's `save_extra_state` writes, inside core's subsection `virtio/extra_state`. */
  readonly extra: unknown;
}

/** One virtqueue as `virtio_save` writes it. */
export interface QueueState<T extends TransportParts = TransportParts> {
  /** `vring.num`: entries of the ring now. */
  readonly num: number;
  /** `vring.align`: on the wire only where the transport lets the driver choose it (virtio-mmio). */
  readonly align?: number;
  /** `vring.desc`: guest address of the descriptor table (packed: of the descriptor ring); 0 = not set up. */
  readonly desc: bigint;
  /** `last_avail_idx`: split: free-running index of the next avail entry to take; packed: slot in the ring. */
  readonly lastAvailIdx: number;
  /** The transport's part, such as the MSI-X vector. */
  readonly transport: T['queue'];
}

/**
 * Addresses of the second and third part of a ring, as the driver has set them: an entry of `virtio/virtqueues`. Both
 * 0: not set up.
 */
export interface RingAddresses {
  /** Guest address of the avail ring (packed: the driver event suppression structure). */
  readonly avail: bigint;
  /** Guest address of the used ring (packed: the device event suppression structure). */
  readonly used: bigint;
}

/** Position of the device in a packed ring: an entry of `virtio/packed_virtqueues`. */
export interface PackedIndices {
  /** Next slot to take a descriptor from, 0 to size - 1. */
  readonly lastAvailIdx: number;
  /** Wrap counter at the slot `lastAvailIdx`. */
  readonly lastAvailWrapCounter: boolean;
  /** Next slot to write a used descriptor to, 0 to size - 1. */
  readonly usedIdx: number;
  /** Wrap counter at the slot `usedIdx`. */
  readonly usedWrapCounter: boolean;
  /** Number of ring slots of chains that were taken and not yet returned. */
  readonly inuse: number;
}

/**
 * Core's subsections, those that the stream had, with `Extra` for the transport's. Lists have the entries of queues 0 to
 * 1023 up to the last one in use.
 */
export interface SubsectionsWith<Extra> {
  /** Byte order of the CPU that reset the device last: 0 unknown, 1 little, 2 big. QEMU: `device_endian`. */
  readonly deviceEndian?: number;
  /** Negotiated features 64 to 127. */
  readonly features128?: bigint;
  /** Negotiated features 0 to 63. */
  readonly features64?: bigint;
  /** Addresses of the avail and used rings of each queue. */
  readonly virtqueues?: readonly RingAddresses[];
  /** `num_default` of each queue: the ring size that a reset goes back to. */
  readonly ringsize?: readonly number[];
  /** True if the guest broke a rule, so that no queue works until a reset. QEMU: `broken`. */
  readonly broken?: boolean;
  /** Extra state of the transport, as QEMU's `save_extra_state` writes it. */
  readonly extraState?: Extra;
  /** True if the driver has begun to use the device. QEMU: `started`. */
  readonly started?: boolean;
  /** Indices and wrap counters of packed rings. */
  readonly packedVirtqueues?: readonly PackedIndices[];
  /** True if the device may not reach memory: PCI bus mastering is off. QEMU: `disabled`. */
  readonly disabled?: boolean;
}

/** Core's subsections with the extra state of the transport whose parts are `T`. */
export type CoreSubsections<T extends TransportParts = TransportParts> = SubsectionsWith<T['extra']>;

/**
 * Part of a saved state that is known when a device layer's `loadDevice` is called: all that stands in front of the
 * device's own state, and nothing behind it.
 */
export interface EarlyState<T extends TransportParts = TransportParts> {
  /** Transport's part, as QEMU's `save_config` writes it. */
  readonly transport: T['config'];
  /** Device status, Virtio 1.3 §2.1. */
  readonly status: number;
  /** ISR status: 1 queue, 2 configuration. */
  readonly isr: number;
  /** Number of the queue that the driver has selected. */
  readonly queueSel: number;
  /** Bits 0 to 31 of the negotiated features. The others come in a subsection, behind the device's state. */
  readonly guestFeatures: number;
  /** The cached configuration space: zeros until the guest has read it. */
  readonly config: Uint8Array;
  /** Queues from 0 up to the first one with ring size 0. */
  readonly queues: readonly QueueState<T>[];
}

/** The whole saved state of a virtio device: core, transport `T` and device `D`, as plain data. */
export interface VirtioState<T extends TransportParts = TransportParts, D = unknown> extends EarlyState<T> {
  /** Device type's part, as QEMU's `save_device` writes it. */
  readonly device: D;
  /** Parts of the state behind the device's, each with a name of its own. QEMU: subsections of `vmstate_virtio`. */
  readonly subsections: CoreSubsections<T>;
  /** Fields of the device's own vmsd behind the `virtio` field; kept as bytes. virtio-blk and virtio-net have none. */
  readonly rest?: Uint8Array;
}
