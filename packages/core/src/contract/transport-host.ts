import type { Facts } from '@virtkit/vmstate';
import type { Endian } from './device.ts';
import type { QueuePosition } from './live-device.ts';

/**
 * A queue as the driver configures it through a transport's registers or commands. Setters of a queue that does not exist do
 * nothing. Virtio 1.3 §4.1.4.3 (`queue_size`, `queue_desc`, …)
 */
export interface QueueRegisters {
  /** Number of the queue, 0 to 1023. */
  readonly index: number;
  /** Entries of the ring now, at most 1024; 0: there is no such queue. QEMU: `vring.num`. */
  readonly size: number;
  /** Number of entries that the ring has after a reset. QEMU: `vring.num_default`. */
  readonly defaultSize: number;
  /** Guest address of the descriptor area; 0: not set up. */
  readonly desc: bigint;
  /**
   * Sets the number of entries of the ring. A value above 1024, or one that would make a queue appear or vanish, is
   * ignored. QEMU: `virtio_queue_set_num`.
   */
  setSize(entries: number): void;
  /**
   * Sets the alignment of the used ring behind the avail ring in bytes, which only the legacy interface has. It takes
   * effect with the next address.
   */
  setAlign(bytes: number): void;
  /**
   * Sets the address of a legacy ring: the descriptor table, with avail and used ring behind it. QEMU:
   * `virtio_queue_set_addr`.
   */
  setAddress(desc: bigint): void;
  /** Sets the addresses of a modern ring: descriptor, driver and device area. QEMU: `virtio_queue_set_rings`. */
  setAddresses(desc: bigint, avail: bigint, used: bigint): void;
  /**
   * Sets where the device goes on in the ring whose addresses are set next, if another device has worked in it before
   * (vhost-user: SET_VRING_BASE). Without it, and after a reset, a ring begins at 0.
   *
   * @param again split rings: heads of chains that were taken, and whose device is no more, at most 1024. They are
   * taken first, in this order, and
   *   {@link QueuePosition.inuse} counts them; what it counts beside them is lost
   */
  setPosition(position: QueuePosition, again?: readonly number[]): void;
  /**
   * Switches the queue on or off. While it is off, the device is given nothing of this queue, and what it has it can
   * give back. It is on at first and after a reset. When it is switched on, a transport whose driver may have put
   * something into the queue meanwhile calls {@link TransportHost.kick}.
   */
  setEnabled(enabled: boolean): void;
  /** Resets this queue alone, Virtio 1.3 §2.6.1. QEMU: `virtio_queue_reset`. */
  reset(): void;
}

/** The device's configuration space as the driver reaches it. Virtio 1.3 §2.5 */
export interface ConfigRegisters {
  /** Length of the configuration space in bytes. */
  readonly length: number;
  /** Number that changes with each change that the device makes, 32 bits, from 0 on. Virtio 1.3 §2.5.1 */
  readonly generation: number;
  /**
   * Reads a field.
   *
   * @param bytes 1, 2 or 4; other widths and places behind the end read as all ones
   * @param guestOrder the value is to be in the byte order of the device's fields, which a legacy driver sees, instead of
   *   little-endian
   */
  read(offset: number, bytes: number, guestOrder?: boolean): number;
  /** Writes a field. Widths other than 1, 2 and 4 bytes, and what lies behind the end, are ignored. */
  write(offset: number, bytes: number, value: number, guestOrder?: boolean): void;
  /** Copies all bytes of the configuration space. */
  readAll(): Uint8Array;
  /** Writes bytes from offset 0 on; at most {@link length}. */
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
   * Sets the driver's status byte. Answers false if it is refused, and unchanged. It resets nothing: a transport calls
   * {@link reset} for 0, and where the status is 0 afterwards.
   */
  setStatus(value: number): boolean;
  /**
   * Resets the device, Virtio 1.3 §2.4. Registers that are the transport's are the transport's to reset. QEMU:
   * `virtio_reset`.
   *
   * @param endian byte order of the CPU that resets, which a legacy driver's device has from now on; default: the
   * machine's
   */
  reset(endian?: Endian): void;
  /** ISR status: 1 queue, 2 configuration. Virtio 1.3 §4.1.4.5 */
  readonly isr: number;
  /** Clears bits of {@link isr}; reading the register, where reading clears it, clears what was read. */
  acknowledge(bits: number): void;
  /**
   * Features that a driver of the legacy or the modern interface is offered; the modern one does not show those that
   * only old drivers know.
   */
  offeredFeatures(legacy: boolean): bigint;
  /** Features of the driver that were taken. */
  readonly driverFeatures: bigint;
  /**
   * Sets the driver's features; bits that were not offered are dropped. Answers false if they are refused, after
   * FEATURES_OK.
   */
  setDriverFeatures(features: bigint): boolean;
  /** Is this feature bit negotiated? */
  has(bit: number): boolean;
  /** The device's configuration space, as the driver reads and writes it. */
  readonly config: ConfigRegisters;
  /** Number of the highest queue that exists, plus 1. */
  readonly queueCount: number;
  /** Registers of a queue by its number; undefined from 1024 on. */
  queue(index: number): QueueRegisters | undefined;
  /** The queue that the driver has selected (`queue_select`, saved with core's state); queue 0 at first. */
  readonly selectedQueue: QueueRegisters;
  /** Selects a queue for {@link selectedQueue}; numbers from 1024 on are ignored. */
  selectQueue(index: number): void;
  /**
   * Tells the device that the driver has put something into a queue. A queue that does not exist is ignored. QEMU:
   * `virtio_queue_notify`.
   *
   * Where the driver stands in its ring (NOTIFICATION_DATA) is not asked for: what the ring says counts, and a kick
   * that was long under way, on another processor, says something old.
   */
  kick(queue: number): void;
  /**
   * Forbids or allows the device to reach memory (PCI: bus mastering went off); while it is forbidden, the device does
   * nothing. QEMU: `disabled`.
   */
  setDisabled(disabled: boolean): void;
  /**
   * Reports that the driver broke a rule of the transport: the device gets NEEDS_RESET, and one event is told. QEMU:
   * `virtio_error`.
   */
  fault(reason: string, facts?: Facts): void;
  /** Tells the host program of something that breaks nothing. */
  event(name: string, facts?: Facts): void;
}
