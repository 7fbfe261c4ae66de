import type { Facts } from '@virtkit/vmstate';
import type { Endian } from './device.ts';
import type { QueuePosition } from './live-device.ts';

/**
 * A queue as the driver configures it through a transport's registers or commands. Setters of a queue that does not exist do
 * nothing. Virtio 1.3 §4.1.4.3 (`queue_size`, `queue_desc`, …)
 */
export interface QueueRegisters {
  /** 0 to 1023. */
  readonly index: number;
  /** Entries of the ring now, at most 1024; 0: there is no such queue. QEMU: `vring.num`. */
  readonly size: number;
  /** Entries that a reset goes back to. QEMU: `vring.num_default`. */
  readonly defaultSize: number;
  /** Guest address of the descriptor area; 0: not set up. */
  readonly desc: bigint;
  /** Ignored if it is above 1024, or would make a queue appear or vanish. QEMU: `virtio_queue_set_num`. */
  setSize(entries: number): void;
  /** Alignment of the used ring behind the avail ring, bytes; legacy interface only. Takes effect with the next address. */
  setAlign(bytes: number): void;
  /** Legacy: the descriptor table, and avail and used ring behind it. QEMU: `virtio_queue_set_addr`. */
  setAddress(desc: bigint): void;
  /** Modern: descriptor, driver and device area. QEMU: `virtio_queue_set_rings`. */
  setAddresses(desc: bigint, avail: bigint, used: bigint): void;
  /**
   * Where the device goes on in the ring whose addresses are set next, if another device has worked in it before (vhost-user:
   * SET_VRING_BASE). Without it, and after a reset, a ring begins at 0.
   *
   * @param again split rings: heads of chains that were taken, and whose device is no more, at most 1024. They are taken first, in this order, and
   *   {@link QueuePosition.inuse} counts them; what it counts beside them is lost
   */
  setPosition(position: QueuePosition, again?: readonly number[]): void;
  /**
   * Off: the device is given nothing of this queue, and what it has it can give back. On at first and after a reset; a driver that may have
   * put something into the queue meanwhile is to be heard: {@link TransportHost.kick}.
   */
  setEnabled(enabled: boolean): void;
  /** Resets this queue alone, Virtio 1.3 §2.6.1. QEMU: `virtio_queue_reset`. */
  reset(): void;
}

/** The device's configuration space as the driver reaches it. Virtio 1.3 §2.5 */
export interface ConfigRegisters {
  /** Bytes. */
  readonly length: number;
  /** Another number after each change that the device makes, 32 bits, from 0 on. Virtio 1.3 §2.5.1 */
  readonly generation: number;
  /**
   * Reads a field.
   *
   * @param bytes 1, 2 or 4; other widths and places behind the end read as all ones
   * @param guestOrder the value is to be in the byte order of the device's fields, which a legacy driver sees, instead of
   *   little-endian
   */
  read(offset: number, bytes: number, guestOrder?: boolean): number;
  /** Writes a field; other widths than 1, 2 and 4 and what lies behind the end are ignored. */
  write(offset: number, bytes: number, value: number, guestOrder?: boolean): void;
  /** A copy of all bytes. */
  readAll(): Uint8Array;
  /** Writes bytes from the first one on; at most {@link length}. */
  writeAll(bytes: Uint8Array): void;
}

/**
 * Everything that a transport may ask of core, in the specification's words: what the driver reads and writes through
 * registers or commands. Nothing here throws for what a guest does.
 */
export interface TransportHost {
  /** Device status, Virtio 1.3 §2.1. */
  readonly status: number;
  /**
   * The driver's status byte; false: refused, and unchanged. It resets nothing: a transport calls {@link reset} for 0, and
   * where the status is 0 afterwards.
   */
  setStatus(value: number): boolean;
  /**
   * Device reset, Virtio 1.3 §2.4. Registers that are the transport's are the transport's to reset. QEMU: `virtio_reset`.
   *
   * @param endian byte order of the CPU that resets, which a legacy driver's device has from now on; default: the machine's
   */
  reset(endian?: Endian): void;
  /** ISR status: 1 queue, 2 configuration. Virtio 1.3 §4.1.4.5 */
  readonly isr: number;
  /** Clears these bits of {@link isr}; reading the register, where reading clears it, clears what was read. */
  acknowledge(bits: number): void;
  /** Features that a driver of this interface is offered: the modern one does not show those that only old drivers know. */
  offeredFeatures(legacy: boolean): bigint;
  /** The driver's features that were taken. */
  readonly driverFeatures: bigint;
  /** The driver's features; bits that were not offered are dropped. False: refused, after FEATURES_OK. */
  setDriverFeatures(features: bigint): boolean;
  /** Is this feature bit negotiated? */
  has(bit: number): boolean;
  /** The device's configuration space, as the driver reads and writes it. */
  readonly config: ConfigRegisters;
  /** Number of the highest queue that exists, plus 1. */
  readonly queueCount: number;
  /** Undefined from 1024 on. */
  queue(index: number): QueueRegisters | undefined;
  /** The queue that the driver has selected (`queue_select`, saved with core's state); queue 0 at first. */
  readonly selectedQueue: QueueRegisters;
  /** Selects a queue; from 1024 on: ignored. */
  selectQueue(index: number): void;
  /**
   * The driver has put something into a queue. A queue that does not exist is ignored. QEMU: `virtio_queue_notify`.
   *
   * Where the driver stands in its ring (NOTIFICATION_DATA) is not asked for: what the ring says counts, and a kick that was
   * long under way, on another processor, says something old.
   */
  kick(queue: number): void;
  /** The device may not reach memory (PCI: bus mastering went off), and does nothing; or may again. QEMU: `disabled`. */
  setDisabled(disabled: boolean): void;
  /** The driver broke a rule of the transport: NEEDS_RESET, one event. QEMU: `virtio_error`. */
  fault(reason: string, facts?: Facts): void;
  /** Tells the host program of something that breaks nothing. */
  event(name: string, facts?: Facts): void;
}
