import type { Spans } from '@virtkit/core';
import { NullDisk } from './null-disk.ts';

/** A disk that keeps what is written, like a raw file with `discard=ignore`. One request at a time. */
export class ContentDisk extends NullDisk {
  readonly bytes: Uint8Array;
  /** First sector of the disk, from which its geometry is guessed, as QEMU does. */
  readonly firstSector: Uint8Array;

  constructor(bytes: Uint8Array) {
    super(bytes.length);
    this.bytes = bytes;
    this.firstSector = bytes.slice(0, 512);
  }

  override read(position: number, target: Spans, from: number, length: number): Promise<void> {
    target.copyFrom(from, this.bytes, position, length);
    return this.later();
  }

  override write(position: number, source: Spans, from: number, length: number): Promise<void> {
    source.copyTo(from, this.bytes, position, length);
    return this.later();
  }

  override writeZeroes(position: number, length: number): Promise<void> {
    this.bytes.fill(0, position, position + length);
    return this.later();
  }
}
