import type { RingAddresses } from '../ring/ring.ts';

/**
 * Function that finds the machine as the driver reaches it, asked anew before each access. A machine may so be another
 * one from one register to the next: that is how devices are moved under a driver that does not notice.
 */
export type Reach<H> = () => H;

/** Causes that have interrupted the driver since it last asked. */
export interface Interrupts {
  /** True if the configuration changed. */
  readonly config: boolean;
  /** Queues that have something; `any` where the interrupt does not tell. */
  readonly queues: readonly number[] | 'any';
}

/** Virtio transport from the driver's side: registers or channel commands behind one interface. */
export interface DriverTransport {
  /** Name of the transport: `pci-modern`, `mmio-legacy`, … */
  readonly name: string;
  /** True for the interface of Virtio 1.0 and later. */
  readonly modern: boolean;
  /** True if rings, requests and configuration are little-endian while VERSION_1 is not negotiated. */
  readonly legacyLittleEndian: boolean;
  /** Ring alignment in bytes where the device is told only one address. */
  readonly legacyAlign?: number;
  /** True if the device says how many entries a ring has, and the driver cannot choose. */
  readonly fixedQueueSize?: boolean;
  /** Finds the device and makes it reachable; answers its virtio device id. @throws DriverError if it is not there */
  probe(): number;
  /** Resets the device, and waits until it has been done. */
  reset(): void;
  /** Reads the device status. Virtio 1.3 §2.1 */
  status(): number;
  /** Writes the device status. */
  setStatus(status: number): void;
  /** Reads the features that the device offers. */
  offered(): bigint;
  /** Tells the device which of the offered features the driver wants. */
  accept(features: bigint): void;
  /** Reads the largest number of entries that a queue may have; 0 if there is no such queue. */
  queueSize(queue: number): number;
  /** Tells the device where a ring lies and switches it on. */
  enableQueue(queue: number, ring: RingAddresses): void;
  /** Resets one queue (RING_RESET). Absent where the transport has no way to do it. */
  resetQueue?(queue: number): void;
  /** Kicks a queue. With NOTIFICATION_DATA `position` says where the ring stands. */
  notify(queue: number, position?: number): void;
  /** Reads bytes of the device's configuration space as they stand there. */
  config(offset: number, length: number): Uint8Array;
  /** Writes bytes of the configuration space. */
  setConfig(offset: number, bytes: Uint8Array): void;
  /** Reads the number of configuration changes; 0 for ever where the interface does not have it. */
  generation(): number;
  /** Takes what the device has signalled. */
  interrupts(): Interrupts;
}

/**
 * Reads little-endian registers as bytes: a field of 2, 4 or 8 bytes by accesses of its own width or of 4, as drivers
 * must (Virtio 1.3 §2.5.1), and everything else by single bytes.
 */
export function readBytes(length: number, read: (at: number, size: number) => number): Uint8Array {
  const bytes = new Uint8Array(length);
  const size = widthOf(length);
  for (let at = 0; at < length; at += size) {
    const value = read(at, size);
    for (let i = 0; i < size; i++) bytes[at + i] = value >>> (8 * i);
  }
  return bytes;
}

export function writeBytes(
  bytes: Uint8Array,
  write: (at: number, size: number, value: number) => void,
): void {
  const size = widthOf(bytes.length);
  for (let at = 0; at < bytes.length; at += size) {
    let value = 0;
    for (let i = 0; i < size; i++) value += (bytes[at + i] ?? 0) * 2 ** (8 * i);
    write(at, size, value);
  }
}

function widthOf(length: number): number {
  if (length === 8) return 4;
  return length === 2 || length === 4 ? length : 1;
}
