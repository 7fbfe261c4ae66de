import type { Spans } from '@virtkit/core';

export const SECTOR = 512;

/** Piece of an overlay: which of its sectors were written, and what is in them. */
export class Cluster {
  readonly epoch: number;
  readonly size: number;
  /** Bytes of the cluster; undefined: all are zeros. */
  bytes: Uint8Array | undefined;
  /** Array with a byte a sector: 1 if the sector is in the overlay. Undefined: all are. */
  valid: Uint8Array | undefined;
  #missing: number;

  private constructor(
    size: number,
    epoch: number,
    bytes: Uint8Array | undefined,
    valid: Uint8Array | undefined,
  ) {
    this.size = size;
    this.epoch = epoch;
    this.bytes = bytes;
    this.valid = valid;
    this.#missing = valid === undefined ? 0 : valid.reduce((sum, byte) => sum + (byte === 0 ? 1 : 0), 0);
  }

  static empty(size: number, epoch: number): Cluster {
    return new Cluster(size, epoch, new Uint8Array(size), new Uint8Array(size / SECTOR));
  }

  static zero(size: number, epoch: number): Cluster {
    return new Cluster(size, epoch, undefined, undefined);
  }

  static of(bytes: Uint8Array, valid: Uint8Array | undefined, epoch: number): Cluster {
    return new Cluster(bytes.length, epoch, bytes, valid);
  }

  clone(epoch: number): Cluster {
    return new Cluster(this.size, epoch, this.bytes?.slice(), this.valid?.slice());
  }

  /** Is the sector of this offset in the overlay? */
  holds(offset: number): boolean {
    return this.valid === undefined || this.valid[Math.floor(offset / SECTOR)] === 1;
  }

  /** Counts the bytes from an offset on, at most `length`, that are in the overlay, or that are not. */
  run(offset: number, length: number, here: boolean): number {
    if (this.valid === undefined) return here ? length : 0;
    const wanted = here ? 1 : 0;
    let end = offset;
    while (end < offset + length && this.valid[Math.floor(end / SECTOR)] === wanted)
      end = (Math.floor(end / SECTOR) + 1) * SECTOR;
    return Math.min(end - offset, length);
  }

  read(offset: number, target: Spans, from: number, length: number): void {
    if (this.bytes === undefined) target.fill(from, length, 0);
    else target.copyFrom(from, this.bytes, offset, length);
  }

  /** Copies bytes that are in the overlay. */
  copy(offset: number, length: number): Uint8Array {
    return this.bytes?.slice(offset, offset + length) ?? new Uint8Array(length);
  }

  write(offset: number, source: Spans, from: number, length: number): void {
    this.bytes ??= new Uint8Array(this.size);
    source.copyTo(from, this.bytes, offset, length);
    this.#mark(offset, length);
  }

  zero(offset: number, length: number): void {
    this.bytes?.fill(0, offset, offset + length);
    this.#mark(offset, length);
  }

  #mark(offset: number, length: number): void {
    const { valid } = this;
    if (valid === undefined) return;
    const end = Math.ceil((offset + length) / SECTOR);
    for (let sector = Math.floor(offset / SECTOR); sector < end; sector++) {
      if (valid[sector] === 1) continue;
      valid[sector] = 1;
      this.#missing--;
    }
    if (this.#missing === 0) this.valid = undefined;
  }
}
