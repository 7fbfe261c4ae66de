/** Kind of registers that the device has. */
export type Interface = 'legacy' | 'transitional' | 'modern';

/** A machine with one virtio device, made alike in QEMU and here. */
export interface Setup {
  readonly device: 'blk' | 'net';
  readonly interface: Interface;
  /** Offer RING_PACKED. */
  readonly packed: boolean;
  /** MSI-X vectors; 0: no MSI-X. */
  readonly vectors: number;
  /** On a PCI Express root port of a q35 machine; else in a conventional slot of a pc. */
  readonly express: boolean;
  /** blk: request queues; net: queue pairs. */
  readonly queues: number;
  /** Entries of a request queue (blk). */
  readonly queueSize: number;
  /** True for each queue's notify register in a page of its own. */
  readonly pagePerVq: boolean;
  /** A notification register in I/O space beside the one in memory. */
  readonly notifyPio: boolean;
  /** The disk is a file: what was written can be read. One request at a time, since QEMU's threads have no order. */
  readonly content: boolean;
}

/** Guest RAM: from 0 to here, without a hole. */
export const RAM_BYTES = 0x200000;
/** Disk, in bytes. */
export const DISK_BYTES = 0x40000;
export const DISK_SERIAL = 'lockstep';
export const MAC = '52:54:00:12:34:56';

/** Makes what is on a disk with content at first. */
export function diskContent(): Uint8Array {
  return Uint8Array.from({ length: DISK_BYTES }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 24);
}

/** Describes a setup in words, for messages and for the command line's `--mode`. */
export function nameSetup(setup: Setup): string {
  return [
    setup.device,
    setup.interface,
    setup.packed ? 'packed' : 'split',
    `vectors=${setup.vectors}`,
    setup.express ? 'express' : 'conventional',
    `queues=${setup.queues}`,
    `size=${setup.queueSize}`,
    ...(setup.pagePerVq ? ['page-per-vq'] : []),
    ...(setup.notifyPio ? ['notify-pio'] : []),
    ...(setup.content ? ['content'] : []),
  ].join(' ');
}
