import type { DeviceIdentity } from './device.ts';
import type { DeviceHost } from './device-host.ts';
import type { VirtQueueElement } from './element.ts';
import type { Report } from './finding.ts';
import type { Virtqueue } from './queue.ts';
import type { TransportParts, VirtioState } from './state.ts';

/** A request in flight of a saved state: a chain that was taken from a ring, and not given back. */
export interface RequestInFlight {
  /** Queue that it was taken from. */
  readonly queue: number;
  /** The request's chain: addresses and lengths of its buffers. */
  readonly element: VirtQueueElement;
  /** Ring slots that it takes, in a packed ring; default 1. */
  readonly ndescs?: number;
  /** Where it stands in the state: `device.requests[0]`. */
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
   * What the device type is called, and what its states keep to. A whole {@link DeviceLayer} for devices of which bytes are made: by
   * `codecOf`, and what uses it.
   */
  readonly layer: DeviceIdentity<D>;
  /** Offered features of the device type. Core adds those of rings and transport. */
  readonly features: bigint;
  /**
   * Ring size of each queue as created, 1 to 1024 entries; 0 for a queue that there is not (QEMU: `num_default`). Read again
   * after {@link DeviceHost.queuesChanged}.
   */
  readonly queueSizes: readonly number[];
  /** Is called once, before anything else. */
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
  /** What a legacy driver means that acknowledges BAD_FEATURE (bit 30). QEMU: `bad_features`. Default: nothing. */
  readonly badFeatures?: bigint;
  /**
   * The last word on the offered features, those of rings and transport among them. QEMU: `get_features`. Default: all that
   * are given to it.
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
   * Back to how it was made; requests in flight are forgotten. Core has not cleared its own part yet. Default: there is nothing
   * to forget.
   */
  reset?(): void;
  /** A single queue is reset (Virtio 1.3 §2.6.1): its requests in flight are forgotten. Default: there are none. */
  resetQueue?(index: number): void;
  /**
   * The driver kicked while the host had stopped the machine. Core kicks again when it goes on; for state that has to say
   * so, because another program may go on with it.
   */
  missedKick?(queue: Virtqueue): void;
  /** Reports what in this state does not fit this device as it was made. The layer's own check was done. */
  check?(state: VirtioState<TransportParts, D>, report: Report): void;
  /**
   * The requests in flight of a state, for device types that keep chains: core compares them with the rings, so that none
   * is lost or done twice. Default: chains that the rings have in flight are nobody's until the next reset.
   */
  requestsInFlight?(state: VirtioState<TransportParts, D>): readonly RequestInFlight[];
  /** Before queues are restored: how many the state has. Net makes as many. Default: a state with more queues is refused. */
  prepareQueues?(count: number): void;
  /**
   * Takes over a checked state; status, features, queues are core's and in place. Must not fail. Only a device type whose
   * part of the state is empty may leave it out.
   */
  apply?(state: VirtioState<TransportParts, D>): void;
  /**
   * The host stops the machine: completions that come later are kept until {@link resume}. Default: nothing comes later, since
   * queues give nothing while the machine is stopped.
   */
  pause?(): void;
  /** Runs on: what was kept is delivered, restored requests are started. Core kicks the queues afterwards. */
  resume?(): void;
  /**
   * Resolves when nothing is under way in the back end any more, whatever became of the requests. For who gives the same
   * disk to another program. Default: at once.
   */
  idle?(): Promise<void>;
}
