/** What page and worker say to each other. All of it is plain data. */

export type GuestName = 'alice' | 'bob';
export type Slot = 0 | 1;

export const SLOTS: readonly Slot[] = [0, 1];

/** A guest, wherever it runs. */
export interface Guest {
  readonly name: GuestName;
  readonly address: string;
  readonly mac: string;
}

export const GUESTS: Readonly<Record<GuestName, Guest>> = {
  alice: { name: 'alice', address: '10.0.0.1', mac: '52:54:00:00:00:0a' },
  bob: { name: 'bob', address: '10.0.0.2', mac: '52:54:00:00:00:0b' },
};

export type Phase = 'empty' | 'loading' | 'booting' | 'running' | 'stopped';

/** A queue at this moment. Indices are free-running 16-bit numbers, as in the ring. */
export interface QueueView {
  readonly name: string;
  readonly size: number;
  /** The driver's avail index: so many it has ever made available. */
  readonly avail: number;
  /** So many the device has taken. */
  readonly taken: number;
  /** So many the device has given back. */
  readonly used: number;
  readonly inFlight: number;
  readonly kicks: number;
  readonly interrupts: number;
}

export interface DeviceView {
  readonly name: 'virtio-blk' | 'virtio-net';
  /** `ACKNOWLEDGE`, `DRIVER`, … */
  readonly status: readonly string[];
  readonly queues: readonly QueueView[];
  /** Bytes that the guest has got from the device, and given to it. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Requests or frames, in and out. */
  readonly countIn: number;
  readonly countOut: number;
}

export interface SlotView {
  readonly slot: Slot;
  readonly phase: Phase;
  readonly guest: GuestName | undefined;
  readonly devices: readonly DeviceView[];
  /** A state of this guest is kept here, and can be restored. */
  readonly saved: boolean;
  /** ms that each request of the disk takes longer. */
  readonly latency: number;
}

/** One line of a state, as it is shown. */
export interface FieldLine {
  readonly name: string;
  readonly value: string;
}

export interface DeviceReport {
  readonly name: string;
  /** Of the section's body, in QEMU's format. */
  readonly bytes: number;
  readonly inFlight: number;
  readonly fields: readonly FieldLine[];
}

/** What moved, and how long it took. */
export interface MoveReport {
  readonly kind: 'moved' | 'saved' | 'restored' | 'arrived';
  readonly guest: GuestName;
  readonly to: string;
  /** v86's own state: CPU and RAM. */
  readonly machineBytes: number;
  readonly devices: readonly DeviceReport[];
  /** In order; ms. Together: the time for which the guest stood still. */
  readonly steps: readonly { readonly name: string; readonly ms: number }[];
}

/** Another tab of this page. */
export interface Tab {
  readonly id: string;
  readonly free: number;
  readonly guests: readonly GuestName[];
}

/** What the page asks of the worker. Everything that fails is told in words by {@link Listener.say} as well. */
export interface HostApi {
  /** Comes first. */
  begin(id: string, listener: Listener): void;
  start(slot: Slot, guest: GuestName, size: ConsoleSize): Promise<void>;
  input(guest: GuestName, text: string): void;
  latency(slot: Slot, ms: number): void;
  stop(slot: Slot): Promise<void>;
  move(slot: Slot): Promise<MoveReport[]>;
  moveToTab(slot: Slot, tab: string): Promise<MoveReport>;
  save(slot: Slot): Promise<MoveReport>;
  restore(slot: Slot): Promise<MoveReport>;
  /** The page closes. */
  leave(): void;
}

export interface ConsoleSize {
  readonly rows: number;
  readonly columns: number;
}

/** What the worker tells without being asked. */
export interface Listener {
  /** Ten times a second. */
  view(slots: readonly SlotView[]): void;
  /** The guest in this slot wrote to its console. */
  output(guest: GuestName, bytes: Uint8Array): void;
  /** A guest came from another tab, or goes back to what it was: its console showed this. */
  screen(guest: GuestName, bytes: Uint8Array): void;
  /** A guest came from another tab. */
  report(report: MoveReport): void;
  tabs(tabs: readonly Tab[]): void;
  /** For the page's one line of news. */
  say(text: string, kind: 'news' | 'trouble'): void;
}
