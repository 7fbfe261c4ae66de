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

/** Device that can be stopped and moved: `LiveDevice` of `@virtkit/core`. */
export interface Movable<T extends TransportParts, D> {
  /** True if the guest has broken the device, and must reset it. */
  readonly broken?: boolean;
  /** Takes the saved state as it is now. */
  capture(): VirtioState<T, D>;
  /** Lists what speaks against a state in this device. */
  check(state: VirtioState<T, D>): readonly Finding[];
  /** Takes a state over; the device is paused afterwards. @throws StateError */
  restore(state: VirtioState<T, D>): void;
  /** Stops the device's work. */
  pause(): void;
  /** Lets the device go on. */
  resume(): void;
}

/** Machine with one device in it. */
export interface Machine<H, T extends TransportParts, D> {
  /** Part of the machine that the driver in the guest reaches. */
  readonly host: H;
  /** Device as the suites move it. */
  readonly device: Movable<T, D>;
}

/** Parts that a machine is made from. */
export interface MachineSetup<H> {
  /** Guest memory of the device. */
  readonly memory: GuestMemory;
  /** Features of the rings that the device offers. */
  readonly rings: RingFeatures;
  /** Function that is told what the device tells its host program. */
  readonly onEvent: (event: DeviceEvent) => void;
  /**
   * Machine that the guest comes from. Interrupts that had left the device and the guest has not taken are not the
   * device's any more: they move with the interrupt controller, which is this side of `host`.
   */
  readonly from?: H;
}

/** Transport under test: how a device is put behind it, and how a driver reaches it there. */
export interface TransportBench<H, T extends TransportParts> {
  /** Name of the transport in tests. */
  readonly name: string;
  /** Format of the transport's part of the saved state. */
  readonly layer: TransportLayer<T>;
  /** True if the transport speaks the interface of Virtio 1.0 and later. */
  readonly modern: boolean;
  /** Puts a device behind the transport. */
  build<D>(model: DeviceModel<D>, setup: MachineSetup<H>): Machine<H, T, D>;
  /** @param memory guest memory for what the transport itself needs */
  drive(reach: Reach<H>, memory: Allocator): DriverTransport;
}

/** Work for a device that can be cut anywhere: the guest's side of it. */
export interface Workload {
  /** Part of the driver that all device types have. */
  readonly virtio: VirtioDriver;
  /** Finds the device and sets it up. May be called again: then it is set up anew, and what was under way is given up. */
  start(): void;
  /** Begins the piece of work with this number, 0 and up. */
  step(index: number): void;
  /** Resets one queue (RING_RESET) and sets it up anew, with what was under way in it begun again. */
  resetQueue(queue: number): void;
  /** Handles interrupts. */
  service(): number;
  /** Number of pieces of work that are not done. */
  readonly pending: number;
  /** Observations of the guest so far, as plain data: the same whether or not the device was moved. */
  seen(): unknown;
}

/** World outside a device: disks, cables. It stays where it is when the device moves. */
export interface World<D> {
  /** Makes a device over this world. The one before, if there was one, has lost it. */
  connect(): DeviceModel<D>;
  /** Lets time go by: something that was under way may be done. */
  tick(): void;
  /** Forgets what the world has seen so far, for guests that go on for ever. */
  forget?(): void;
  /** Observations of the world so far, as plain data: the same whether or not the device was moved. */
  seen(): unknown;
}

/** Device type under test. */
export interface DeviceBench<D> {
  /** Name of the device type in tests. */
  readonly name: string;
  /** Format of the device type's part of the saved state. */
  readonly layer: DeviceLayer<D>;
  /** Length in bytes of the configuration space that every device of this type has, a multiple of 4; default 8. */
  readonly configBytes?: number;
  /** @param seed the same world and work for the same number */
  world(seed: number): World<D>;
  /** @param world what {@link world} made */
  workload(setup: DriverSetup, world: World<D>, seed: number): Workload;
}
