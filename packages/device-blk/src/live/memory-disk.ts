import { HostError, type Spans } from '@virtkit/core/live';
import type { BlkBackend, Pending } from './backend.ts';
import { SECTOR_BYTES } from './wire.ts';

/** Options of a disk in memory. */
export interface MemoryDiskOptions {
  /** Logical block size in bytes, a power of two from 512 on; default 512. */
  readonly blockSize?: number;
  /** True if writes are refused; default false. */
  readonly readOnly?: boolean;
  /** Effect of a discard: nothing (the default, as QEMU's), or zeros the bytes. */
  readonly discard?: 'ignore' | 'unmap';
}

/**
 * Makes a disk in memory.
 *
 * @param content its bytes, which the disk works on, or how many zeros it begins with
 */
export function memoryDisk(content: Uint8Array | number, options: MemoryDiskOptions = {}): MemoryDisk {
  return new MemoryDisk(typeof content === 'number' ? new Uint8Array(content) : content, options);
}

/** Disk made by {@link memoryDisk}. */
export class MemoryDisk implements BlkBackend {
  /** Bytes of the whole disk. */
  bytes: Uint8Array;
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly discard?: (position: number, length: number) => Pending;

  constructor(
    bytes: Uint8Array,
    { blockSize = SECTOR_BYTES, readOnly = false, discard = 'ignore' }: MemoryDiskOptions,
  ) {
    this.bytes = checked(bytes);
    this.blockSize = blockSize;
    this.readOnly = readOnly;
    if (discard === 'unmap') this.discard = (position, length) => this.writeZeroes(position, length);
  }

  get size(): number {
    return this.bytes.length;
  }

  /** Changes the size of the disk, in bytes; what remains is kept. Then tell the device: `BlkDevice.resize`. */
  resize(size: number): void {
    const bytes = checked(new Uint8Array(size));
    bytes.set(this.bytes.subarray(0, size));
    this.bytes = bytes;
  }

  read(position: number, target: Spans, from: number, length: number): void {
    target.copyFrom(from, this.bytes, position, length);
  }

  write(position: number, source: Spans, from: number, length: number): void {
    source.copyTo(from, this.bytes, position, length);
  }

  writeZeroes(position: number, length: number): void {
    this.bytes.fill(0, position, position + length);
  }
}

function checked(bytes: Uint8Array): Uint8Array {
  if (bytes.length % SECTOR_BYTES === 0) return bytes;
  throw new HostError(`a disk of ${bytes.length} bytes: not a multiple of 512`);
}
