import type { DeviceIdentity } from './device.ts';
import type { DeviceModel, RequestInFlight } from './device-model.ts';
import type { Finding } from './finding.ts';
import type { GuestMemory } from './memory.ts';
import type { TransportParts, VirtioState } from './state.ts';
import type { TransportIdentity } from './transport.ts';

/** Where the device stands in a ring. What a save keeps, and what a ring set up anew goes on from. */
export interface QueuePosition {
  /** Split: free-running index of the next avail entry to take, 16 bits. Packed: slot. QEMU: `last_avail_idx`. */
  readonly lastAvailIdx: number;
  /** Packed: wrap counter at that slot. */
  readonly lastAvailWrap: boolean;
  /** Split: free-running index of the next used entry to write, 16 bits. Packed: slot. QEMU: `used_idx`. */
  readonly usedIdx: number;
  /** Packed: wrap counter at that slot. */
  readonly usedWrap: boolean;
  /** Split: chains, packed: ring slots, taken and not given back. QEMU: `inuse`. */
  readonly inuse: number;
}

/** A queue, for those who want to see what goes on in it. A view: it shows what is now. */
export interface QueueInfo {
  /** 0 to 1023. */
  readonly index: number;
  /** Entries of the ring now; 0: there is no such queue. */
  readonly size: number;
  /** Entries that a reset goes back to. */
  readonly defaultSize: number;
  /** Guest address of the descriptor table, or of the descriptor ring of a packed queue, as the driver has set it; 0: none. */
  readonly desc: bigint;
  /** Guest address of the available ring, or of the driver's event suppression of a packed ring; 0: none. */
  readonly avail: bigint;
  /** Guest address of the used ring, or of the device's event suppression of a packed ring; 0: none. */
  readonly used: bigint;
  /** Format of the ring that the device works with; undefined while there is none. */
  readonly format: 'split' | 'packed' | undefined;
  /** Where the device stands in the ring. */
  readonly position: QueuePosition;
  /** Chains that the device has taken and not given back. */
  readonly inFlight: number;
  /** How often the driver has told where the ring lies, since the device was made. */
  readonly setups: number;
  /** Notifications of this queue by the driver since the device was made. */
  readonly kicks: number;
  /** How often the driver was to be interrupted for this queue, since the device was made. */
  readonly interrupts: number;
}

/** What a state does not say of itself. */
export interface RestoreOptions {
  /**
   * Requests in flight that are not in the state's list, for they stay with whoever restores it: their chains are in the
   * rings, and are not given back here.
   */
  readonly withheld?: readonly RequestInFlight[];
}

/** A saved state that was looked at once. */
export interface RestorePlan {
  /** Everything that speaks against it: in itself, against this device, against guest memory. */
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
  /** What the two layers around core are. `codecOf` makes of them what writes and reads the state as bytes. */
  readonly layers: { readonly transport: TransportIdentity<T>; readonly device: DeviceIdentity<D> };
  /** The guest memory that the device reads and writes. */
  readonly memory: GuestMemory;
  /** Device status, Virtio 1.3 §2.1. */
  readonly status: number;
  /** Features that are offered, to drivers of any interface. QEMU: `host_features`. */
  readonly offeredFeatures: bigint;
  /** Negotiated features. QEMU: `guest_features`. */
  readonly features: bigint;
  /** Is this feature bit negotiated? */
  has(bit: number): boolean;
  /** Is this feature bit offered? */
  offers(bit: number): boolean;
  /** Byte order of multi-byte fields in requests and configuration. */
  readonly littleEndian: boolean;
  /** The guest has broken the device, until its reset. */
  readonly broken: boolean;
  /** The guest has switched the device off (PCI: bus mastering). */
  readonly disabled: boolean;
  /** The host program has stopped the device: {@link pause}, {@link restore}. */
  readonly paused: boolean;
  /** The driver is running, and nothing of the three before keeps the device from its work. */
  readonly running: boolean;
  /** Number of the highest queue that exists, plus 1. */
  readonly queueCount: number;
  /** Undefined from 1024 on. */
  queue(index: number): QueueInfo | undefined;
  /** The configuration space as the driver would read it now. */
  readConfig(): Uint8Array;
  /** Stops work: nothing is taken from a ring, and what back ends complete is kept, until {@link resume}. */
  pause(): void;
  /**
   * Goes on after {@link pause} or {@link restore}: requests in flight first, then what the rings hold.
   *
   * @param options `rings: false` leaves what the rings hold to whoever has the device next
   */
  resume(options?: { readonly rings?: boolean }): void;
  /** Resolves when nothing is under way in the back end any more. */
  idle(): Promise<void>;
  /** Device reset by the host program. The transport's registers stay: a function or register window has its own reset. */
  reset(): void;
  /** The saved state, at any moment; the device goes on. */
  capture(): VirtioState<T, D>;
  /** Looks at a saved state, and says what it would do. */
  planRestore(state: VirtioState<T, D>, options?: RestoreOptions): RestorePlan;
  /** What speaks against restoring this state into this device over this memory: the findings of {@link planRestore}. */
  check(state: VirtioState<T, D>, options?: RestoreOptions): readonly Finding[];
  /**
   * Takes over a saved state. The device is paused afterwards: when the rest of the machine is in place, {@link resume}.
   *
   * @throws StateError for the first finding that is an error; nothing has changed then
   */
  restore(state: VirtioState<T, D>, options?: RestoreOptions): void;
}
