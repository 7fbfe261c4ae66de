import type {
  DeviceEvent,
  DeviceLayer,
  DeviceModel,
  Finding,
  GuestMemory,
  RingFeatures,
  TransportLayer,
  TransportParts,
  VirtioState,
} from '@virtkit/core';
import type { DriverSetup, VirtioDriver } from '../driver/virtio.ts';
import type { Allocator } from '../ram.ts';
import type { DriverTransport, Reach } from '../transport/transport.ts';

/** A device that can be stopped and moved: `LiveDevice` of `@virtkit/core`. */
export interface Movable<T extends TransportParts, D> {
  /** The guest has broken the device, and must reset it. */
  readonly broken?: boolean;
  /** The saved state as it is now. */
  capture(): VirtioState<T, D>;
  /** What speaks against a state in this device. */
  check(state: VirtioState<T, D>): readonly Finding[];
  /** Takes a state over; the device is paused afterwards. @throws StateError */
  restore(state: VirtioState<T, D>): void;
  /** Stops work. */
  pause(): void;
  /** Goes on. */
  resume(): void;
}

/** A machine with one device in it. */
export interface Machine<H, T extends TransportParts, D> {
  /** What the driver in the guest reaches. */
  readonly host: H;
  /** The device, as the suites move it. */
  readonly device: Movable<T, D>;
}

/** What a machine is made from. */
export interface MachineSetup<H> {
  /** Guest memory of the device. */
  readonly memory: GuestMemory;
  /** Features of the rings that the device offers. */
  readonly rings: RingFeatures;
  /** Is told what the device tells its host program. */
  readonly onEvent: (event: DeviceEvent) => void;
  /**
   * The machine that the guest comes from. Interrupts that had left the device and the guest has not taken are not the
   * device's any more: they move with the interrupt controller, which is this side of `host`.
   */
  readonly from?: H;
}

/** A transport under test: how a device is put behind it, and how a driver reaches it there. */
export interface TransportBench<H, T extends TransportParts> {
  /** What tests call the transport. */
  readonly name: string;
  /** The transport's part of the saved state. */
  readonly layer: TransportLayer<T>;
  /** Speaks the interface of Virtio 1.0 and later? */
  readonly modern: boolean;
  /** Puts a device behind the transport. */
  build<D>(model: DeviceModel<D>, setup: MachineSetup<H>): Machine<H, T, D>;
  /** @param memory guest memory for what the transport itself needs */
  drive(reach: Reach<H>, memory: Allocator): DriverTransport;
}

/** Work for a device that can be cut anywhere: the guest's side of it. */
export interface Workload {
  /** The part of the driver that all device types have. */
  readonly virtio: VirtioDriver;
  /** Finds the device and sets it up. May be called again: then it is set up anew, and what was under way is given up. */
  start(): void;
  /** Begins the piece of work with this number, 0 and up. */
  step(index: number): void;
  /** Resets one queue (RING_RESET) and sets it up anew, with what was under way in it begun again. */
  resetQueue(queue: number): void;
  /** Handles interrupts. */
  service(): number;
  /** Pieces of work that are not done. */
  readonly pending: number;
  /** What the guest has seen so far, as plain data: the same whether or not the device was moved. */
  seen(): unknown;
}

/** The world outside a device: disks, cables. It stays where it is when the device moves. */
export interface World<D> {
  /** A device over this world. The one before, if there was one, has lost it. */
  connect(): DeviceModel<D>;
  /** Lets time go by: something that was under way may be done. */
  tick(): void;
  /** Forgets what it has seen so far, for guests that go on for ever. */
  forget?(): void;
  /** What became of it, as plain data: the same whether or not the device was moved. */
  seen(): unknown;
}

/** A device type under test. */
export interface DeviceBench<D> {
  /** What tests call the device. */
  readonly name: string;
  /** The device type's part of the saved state. */
  readonly layer: DeviceLayer<D>;
  /** Bytes of the configuration space that every device of this type has, a multiple of 4; default 8. */
  readonly configBytes?: number;
  /** @param seed the same world and work for the same number */
  world(seed: number): World<D>;
  /** @param world what {@link world} made */
  workload(setup: DriverSetup, world: World<D>, seed: number): Workload;
}
