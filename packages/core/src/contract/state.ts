import type { ValueOf } from '@virtkit/vmstate';
import type { coreSubsections } from '../state/subsections.ts';

/** The state types that a transport brings. */
export interface TransportParts {
  /** What `save_config` writes: proxy device and transport-specific device fields. */
  readonly config: unknown;
  /** What `save_queue` writes for each queue. */
  readonly queue: unknown;
  /** What `save_extra_state` writes, inside core's subsection `virtio/extra_state`. */
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

/** Core's subsections, those that the stream had. */
export type CoreSubsections<T extends TransportParts = TransportParts> = ValueOf<
  ReturnType<typeof coreSubsections<T['extra']>>
>;

/** What is known when `load_device` is called: everything before the device's own state, and nothing behind it. */
export interface EarlyState<T extends TransportParts = TransportParts> {
  /** The transport's part, from `save_config`. */
  readonly transport: T['config'];
  /** Device status, Virtio 1.3 §2.1. */
  readonly status: number;
  /** ISR status: 1 queue, 2 configuration. */
  readonly isr: number;
  /** Queue that the driver has selected. */
  readonly queueSel: number;
  /** Bits 0 to 31 of the negotiated features. The others come in a subsection, behind the device's state. */
  readonly guestFeatures: number;
  /** The cached configuration space: zeros until the guest has read it. */
  readonly config: Uint8Array;
  /** Queue 0 up to the first one with ring size 0. */
  readonly queues: readonly QueueState<T>[];
}

/** The whole saved state of a virtio device: core, transport `T` and device `D`, as plain data. */
export interface VirtioState<T extends TransportParts = TransportParts, D = unknown> extends EarlyState<T> {
  /** What `save_device` writes. */
  readonly device: D;
  readonly subsections: CoreSubsections<T>;
  /** Fields of the device's own vmsd behind the `virtio` field; kept as bytes. virtio-blk and virtio-net have none. */
  readonly rest?: Uint8Array;
}
