import type { Facts } from '@virtkit/vmstate';
import type { VirtQueueElement } from '../state/element.ts';
import type { DeviceLayer } from './device.ts';
import type { Report } from './finding.ts';
import type { GuestMemory } from './memory.ts';
import type { Virtqueue } from './queue.ts';
import type { TransportParts, VirtioState } from './state.ts';
import type { TransportLayer } from './transport.ts';

/** Core, as a live device type sees it. */
export interface DeviceHost {
  readonly memory: GuestMemory;
  /** Negotiated features. */
  readonly features: bigint;
  /** Is this feature bit negotiated? Cheap enough for a request, not for a segment. */
  has(bit: number): boolean;
  /** Is this feature bit offered to the driver? */
  offers(bit: number): boolean;
  /** Byte order of multi-byte fields in requests and configuration: little with VERSION_1, else the guest's. */
  readonly littleEndian: boolean;
  /** Device status, Virtio 1.3 §2.1. */
  readonly status: number;
  /** Is the driver running (DRIVER_OK, or a legacy driver that kicked early), the device whole and not paused? */
  readonly running: boolean;
  /** The running queue, or undefined while the driver has not set it up. */
  queue(index: number): Virtqueue | undefined;
  /** The configuration changed: generation and, if the driver is running, an interrupt. */
  notifyConfig(): void;
  /** The guest broke a rule: NEEDS_RESET, one event, and no queue gives anything until a reset. QEMU: `virtio_error`. */
  fault(reason: string, facts?: Facts): void;
  /** Tells of something that an operator may want to know and that breaks nothing. */
  event(name: string, facts?: Facts): void;
  /** {@link DeviceModel.queueSizes} is another list now. */
  queuesChanged(): void;
}

/** A request in flight of a saved state: a chain that was taken from a ring, and not given back. */
export interface RequestInFlight {
  readonly queue: number;
  readonly element: VirtQueueElement;
  /** Ring slots that it takes, in a packed ring; default 1. */
  readonly ndescs?: number;
  /** Where it stands in the state: `device.requests[0]`. */
  readonly path: string;
}

/**
 * A device type, live. Core owns status, features, configuration space and queues, and calls down; nothing here may throw
 * for what a guest does.
 */
export interface DeviceModel<D = unknown> {
  /** The saved state's layout. */
  readonly layer: DeviceLayer<D>;
  /** Offered features of the device type. Core adds those of rings and transport. */
  readonly features: bigint;
  /** Features that only the legacy interface shows. QEMU: `legacy_features`. */
  readonly legacyFeatures: bigint;
  /** What a legacy driver means that acknowledges BAD_FEATURE (bit 30). QEMU: `bad_features`. */
  readonly badFeatures: bigint;
  /** The last word on the offered features, those of rings and transport among them. QEMU: `get_features`. */
  getFeatures?(features: bigint): bigint;
  /** Bytes of the configuration space. */
  readonly configLength: number;
  /** Ring size of each queue as created (QEMU: `num_default`). Read again after {@link DeviceHost.queuesChanged}. */
  readonly queueSizes: readonly number[];
  /** Class code of the PCI function, 24 bits: 0x010000 block, 0x020000 network. */
  readonly pciClass: number;
  /** Is called once, before anything else. */
  attach(host: DeviceHost): void;
  /** Fills all of the configuration space from live state. QEMU: `get_config`. */
  getConfig(config: DataView, littleEndian: boolean): void;
  /** The driver wrote into the configuration space. QEMU: `set_config`. */
  setConfig(config: DataView, littleEndian: boolean): void;
  /** Features were negotiated, or cleared by a reset. `features` holds only offered bits. QEMU: `set_features`. */
  setFeatures(features: bigint): void;
  /** Status or {@link DeviceHost.running} changed. QEMU: `set_status`. */
  setStatus(status: number): void;
  /** The guest has broken the device; no interrupt comes through after this. For devices that tell of several requests at once. */
  beforeFault?(): void;
  /** Back to how it was made; requests in flight are forgotten. Core has not cleared its own part yet. */
  reset(): void;
  /** A single queue is reset (Virtio 1.3 §2.6.1): its requests in flight are forgotten. */
  resetQueue(index: number): void;
  /**
   * The driver kicked, or the device started and there may be something. Never called while it is under way, nor from
   * within {@link Virtqueue.notify} or {@link DeviceHost.notifyConfig}, whatever an interrupt reaches: such kicks come
   * when the device type has returned. A reset may come at any moment.
   */
  handleQueue(queue: Virtqueue): void;
  /**
   * The driver kicked while the host had stopped the machine. Core kicks again when it goes on; for state that has to say
   * so, because another program may go on with it.
   */
  missedKick?(queue: Virtqueue): void;
  /** The device's part of the state, at any moment. Requests in flight are in it. */
  capture(): D;
  /** Reports what in this state does not fit this device as it was made. The layer's own check was done. */
  check(state: VirtioState<TransportParts, D>, report: Report): void;
  /**
   * The requests in flight of a state, for device types that keep chains: core compares them with the rings, so that none
   * is lost or done twice. Without it, chains that the rings have in flight are nobody's until the next reset.
   */
  requestsInFlight?(state: VirtioState<TransportParts, D>): readonly RequestInFlight[];
  /** Before queues are restored: how many the state has. Net makes as many. */
  prepareQueues?(count: number): void;
  /** Takes over a checked state; status, features, queues are core's and in place. Must not fail. */
  apply(state: VirtioState<TransportParts, D>): void;
  /** The host stops the machine: completions that come later are kept until {@link resume}. */
  pause(): void;
  /** Runs on: what was kept is delivered, restored requests are started. Core kicks the queues afterwards. */
  resume(): void;
}

/** Stands for the configuration where a queue number is expected. */
export type ConfigChange = -1;

/** A transport, live, as core sees it. */
export interface TransportModel<T extends TransportParts = TransportParts> {
  readonly layer: TransportLayer<T>;
  /** Offered features that the transport adds (QEMU: BAD_FEATURE on PCI). */
  readonly features: bigint;
  /** Interrupts for a queue, or with -1 for the configuration. `isr` is already set. QEMU: `notify`. */
  notify(queue: number | ConfigChange): void;
  /** `save_config` */
  captureConfig(): T['config'];
  /** `save_queue` */
  captureQueue(index: number): T['queue'];
  /** `save_extra_state`; undefined: the subsection is not written. */
  captureExtra(): T['extra'] | undefined;
  /** Reports what in this state does not fit this transport as it was made. The layer's own check was done. */
  check(state: VirtioState<T, unknown>, report: Report): void;
  /** Takes over a checked state, after core's status and features, before its queues and the device. Must not fail. */
  apply(state: VirtioState<T, unknown>): void;
  /** A queue was reset, by a queue reset or with the device: no vector. */
  resetQueue(index: number): void;
}

/** What a device tells its host program. */
export interface DeviceEvent {
  /** `fault`: the guest broke the device, until its next reset. Others name themselves. */
  readonly name: string;
  /** Name of the device: `virtio-blk`. */
  readonly device: string;
  readonly reason?: string;
  readonly facts?: Facts;
}
