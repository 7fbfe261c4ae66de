import type { DeviceIdentity } from './device.ts';
import type { DeviceModel, RequestInFlight } from './device-model.ts';
import type { Finding } from './finding.ts';
import type { GuestMemory } from './memory.ts';
import type { TransportParts, VirtioState } from './state.ts';
import type { TransportIdentity } from './transport.ts';

/** Position of the device in a ring: where it goes on after a save, and where a ring goes on that is set up anew. */
export interface QueuePosition {
  /** Split: free-running index of the next avail entry to take, 16 bits. Packed: slot. QEMU: `last_avail_idx`. */
  readonly lastAvailIdx: number;
  /** Wrap counter at the slot {@link lastAvailIdx} of a packed ring. */
  readonly lastAvailWrap: boolean;
  /** Split: free-running index of the next used entry to write, 16 bits. Packed: slot. QEMU: `used_idx`. */
  readonly usedIdx: number;
  /** Wrap counter at the slot {@link usedIdx} of a packed ring. */
  readonly usedWrap: boolean;
  /** Number of chains (split ring) or of ring slots (packed ring) that were taken and not given back. QEMU: `inuse`. */
  readonly inuse: number;
}

/** View of a queue for programs that want to see what goes on in it. Its properties show the values of this moment. */
export interface QueueInfo {
  /** Number of the queue, 0 to 1023. */
  readonly index: number;
  /** Entries of the ring now; 0: there is no such queue. */
  readonly size: number;
  /** Number of entries that the ring has after a reset. */
  readonly defaultSize: number;
  /** Guest address of the descriptor table, or of the descriptor ring of a packed queue, as the driver has set it; 0: none. */
  readonly desc: bigint;
  /** Guest address of the available ring, or of the driver's event suppression of a packed ring; 0: none. */
  readonly avail: bigint;
  /** Guest address of the used ring, or of the device's event suppression of a packed ring; 0: none. */
  readonly used: bigint;
  /** Format of the ring that the device works with; undefined while there is none. */
  readonly format: 'split' | 'packed' | undefined;
  /** Position of the device in the ring. */
  readonly position: QueuePosition;
  /** Chains that the device has taken and not given back. */
  readonly inFlight: number;
  /** Number of times that the driver has set the addresses of the ring, since the device was made. */
  readonly setups: number;
  /** Number of notifications of this queue by the driver, since the device was made. */
  readonly kicks: number;
  /** Number of times that the driver was to be interrupted for this queue, since the device was made. */
  readonly interrupts: number;
}

/** Facts that a saved state does not hold and that a restore has to be told. */
export interface RestoreOptions {
  /**
   * Requests in flight that are not in the state's list, for they stay with whoever restores it: their chains are in the
   * rings, and are not given back here.
   */
  readonly withheld?: readonly RequestInFlight[];
}

/** A saved state that was looked at once. */
export interface RestorePlan {
  /** Findings of everything that speaks against the state: in itself, against this device, against guest memory. */
  readonly findings: readonly Finding[];
  /**
   * Takes the state over; cannot fail. Undefined if a finding is an error. Good as long as neither the device nor guest
   * memory has changed since. The device is paused afterwards.
   */
  readonly apply: (() => void) | undefined;
}

/**
 * A live virtio device as its host program sees it, whatever transport it is behind. Nothing here is for the driver: its
 * accesses go to the transport.
 */
export interface LiveDevice<T extends TransportParts = TransportParts, D = unknown> {
  /** The device type. */
  readonly model: DeviceModel<D>;
  /**
   * Layers around core, the transport's and the device type's. `codecOf` makes of them what writes and reads the state
   * as bytes.
   */
  readonly layers: { readonly transport: TransportIdentity<T>; readonly device: DeviceIdentity<D> };
  /** The guest memory that the device reads and writes. */
  readonly memory: GuestMemory;
  /** Device status, Virtio 1.3 §2.1. */
  readonly status: number;
  /** Features that are offered, to drivers of any interface, modern or legacy. QEMU: `host_features`. */
  readonly offeredFeatures: bigint;
  /** Negotiated features. QEMU: `guest_features`. */
  readonly features: bigint;
  /** Is this feature bit negotiated? */
  has(bit: number): boolean;
  /** Is this feature bit offered? */
  offers(bit: number): boolean;
  /** Byte order of multi-byte fields in requests and configuration. */
  readonly littleEndian: boolean;
  /** True if the guest has broken a rule, so that the device does nothing until its reset. */
  readonly broken: boolean;
  /** True if the guest has switched the device off (PCI: bus mastering). */
  readonly disabled: boolean;
  /** True if the host program has stopped the device by {@link pause} or {@link restore}. */
  readonly paused: boolean;
  /** True if the driver is running and the device is neither broken nor disabled nor paused, so that it works. */
  readonly running: boolean;
  /** Number of the highest queue that exists, plus 1. */
  readonly queueCount: number;
  /** View of a queue by its number; undefined from 1024 on. */
  queue(index: number): QueueInfo | undefined;
  /** The configuration space as the driver would read it now. */
  readConfig(): Uint8Array;
  /**
   * Stops the device's work: nothing is taken from a ring, and what back ends complete is kept, until {@link resume}.
   */
  pause(): void;
  /**
   * Lets the device work again after {@link pause} or {@link restore}: requests in flight first, then what the rings
   * hold.
   *
   * @param options `rings: false` leaves what the rings hold to whoever has the device next
   */
  resume(options?: { readonly rings?: boolean }): void;
  /** Waits until nothing is under way in the back end any more. */
  idle(): Promise<void>;
  /**
   * Resets the device in the name of the host program. The transport's registers stay: a function or register window
   * has its own reset.
   */
  reset(): void;
  /** Takes the saved state, at any moment; the device goes on. */
  capture(): VirtioState<T, D>;
  /** Looks at a saved state, and says what it would do. */
  planRestore(state: VirtioState<T, D>, options?: RestoreOptions): RestorePlan;
  /**
   * Lists what speaks against restoring this state into this device over this memory: the findings of {@link
   * planRestore}.
   */
  check(state: VirtioState<T, D>, options?: RestoreOptions): readonly Finding[];
  /**
   * Takes over a saved state. The device is paused afterwards: when the rest of the machine is in place, {@link resume}.
   *
   * @throws StateError for the first finding that is an error; nothing has changed then
   */
  restore(state: VirtioState<T, D>, options?: RestoreOptions): void;
}
