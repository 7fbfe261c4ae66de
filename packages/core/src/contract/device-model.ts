import type { DeviceIdentity } from './device.ts';
import type { DeviceHost } from './device-host.ts';
import type { VirtQueueElement } from './element.ts';
import type { Report } from './finding.ts';
import type { Virtqueue } from './queue.ts';
import type { TransportParts, VirtioState } from './state.ts';

/** A request in flight of a saved state: a chain that was taken from a ring, and not given back. */
export interface RequestInFlight {
  /** Number of the queue that the request was taken from, from 0 on. */
  readonly queue: number;
  /** The request's chain: addresses and lengths of its buffers. */
  readonly element: VirtQueueElement;
  /** Number of slots that the request takes in a packed ring; default 1. */
  readonly ndescs?: number;
  /** Path of the request in the saved state: `device.requests[0]`. */
  readonly path: string;
}

/**
 * A device type, live. Core owns status, features, configuration space and queues, and calls down; nothing here may throw
 * for what a guest does.
 *
 * What every device type must say comes first: six members. The others are for those that need them, and what core does
 * without one is said there.
 */
export interface DeviceModel<D = unknown> {
  /**
   * Name and rules of the device type. It is a whole {@link DeviceLayer} where bytes are made of the device, as
   * `codecOf` does and what uses it.
   */
  readonly layer: DeviceIdentity<D>;
  /** Offered features of the device type. Core adds those of rings and transport. */
  readonly features: bigint;
  /**
   * Ring size of each queue as created, 1 to 1024 entries; 0 for a queue that there is not (QEMU: `num_default`). Read again
   * after {@link DeviceHost.queuesChanged}.
   */
  readonly queueSizes: readonly number[];
  /** Hands the device type its view of core. Core calls this once, before any other method. */
  attach(host: DeviceHost): void;
  /**
   * The driver kicked, or the device started and there may be something. Never called while it is under way, nor from
   * within {@link Virtqueue.notify} or {@link DeviceHost.notifyConfig}, whatever an interrupt reaches: such kicks come
   * when the device type has returned. A reset may come at any moment.
   */
  handleQueue(queue: Virtqueue): void;
  /** The device's part of the state, at any moment. Requests in flight are in it. */
  capture(): D;

  /** Features that only the legacy interface shows. QEMU: `legacy_features`. Default: none. */
  readonly legacyFeatures?: bigint;
  /**
   * Features that a legacy driver is taken to mean when it acknowledges the bit BAD_FEATURE (30). QEMU: `bad_features`.
   * Default: none.
   */
  readonly badFeatures?: bigint;
  /**
   * Changes the offered features, those of rings and transport among them, as the last step before a driver sees them.
   * QEMU: `get_features`. Default: they stay as they are.
   */
  getFeatures?(features: bigint): bigint;
  /** Bytes of the configuration space; it does not change. Default: 0. */
  readonly configLength?: number;
  /** Fills all of the configuration space from live state. QEMU: `get_config`. Default: the bytes stay as they are. */
  getConfig?(config: DataView, littleEndian: boolean): void;
  /** The driver wrote into the configuration space. QEMU: `set_config`. Default: nobody looks at it. */
  setConfig?(config: DataView, littleEndian: boolean): void;
  /** Features were negotiated, or cleared by a reset. `features` holds only offered bits. QEMU: `set_features`. */
  setFeatures?(features: bigint): void;
  /** Status or {@link DeviceHost.running} changed. QEMU: `set_status`. */
  setStatus?(status: number): void;
  /** The guest has broken the device; no interrupt comes through after this. For devices that tell of several requests at once. */
  beforeFault?(): void;
  /**
   * Goes back to how the device was made; requests in flight are forgotten. Core has not cleared its own part yet.
   * Default: there is nothing to forget.
   */
  reset?(): void;
  /** A single queue is reset (Virtio 1.3 §2.6.1): its requests in flight are forgotten. Default: there are none. */
  resetQueue?(index: number): void;
  /**
   * Notes that the driver kicked while the host had stopped the machine. Core kicks again when the machine goes on; a
   * device type needs this only if its state has to say so, because another program may go on with it.
   */
  missedKick?(queue: Virtqueue): void;
  /** Reports what in this state does not fit this device as it was made. The layer's own check was done. */
  check?(state: VirtioState<TransportParts, D>, report: Report): void;
  /**
   * The requests in flight of a state, for device types that keep chains: core compares them with the rings, so that none
   * is lost or done twice. Default: chains that the rings have in flight are nobody's until the next reset.
   */
  requestsInFlight?(state: VirtioState<TransportParts, D>): readonly RequestInFlight[];
  /**
   * Is told, before queues are restored, how many the saved state has, so that a network card can make as many.
   * Default: a state with more queues is refused.
   */
  prepareQueues?(count: number): void;
  /**
   * Takes over a checked state; status, features, queues are core's and in place. Must not fail. Only a device type whose
   * part of the state is empty may leave it out.
   */
  apply?(state: VirtioState<TransportParts, D>): void;
  /**
   * Stops the device, since the host stops the machine: completions that come later are kept until {@link resume}.
   * Default: nothing comes later, since queues give nothing while the machine is stopped.
   */
  pause?(): void;
  /**
   * Goes on after {@link pause}: completions that were kept are delivered, restored requests are started. Core kicks
   * the queues afterwards.
   */
  resume?(): void;
  /**
   * Waits until nothing is under way in the back end any more, whatever became of the requests; for programs that give
   * the same disk to another one. Default: resolves at once.
   */
  idle?(): Promise<void>;
}
