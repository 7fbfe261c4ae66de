import { HostError, type Spans } from '@virtkit/core';
import type { BlkBackend, Pending } from '../live/backend.ts';
import { ArraySpans } from './array-spans.ts';
import { Cluster, SECTOR } from './cluster.ts';
import { type OverlayChunks, readOverlay, writeOverlay } from './overlay-file.ts';

/** Options of an overlay. */
export interface OverlayOptions {
  /** Number of bytes that are kept together, a power of two from 512 to 2 MiB; default 64 KiB. */
  readonly clusterSize?: number;
  /** Effect of a discard: nothing (the default, as QEMU's), or zeros the bytes. */
  readonly discard?: 'ignore' | 'unmap';
}

const CLUSTER_DEFAULT = 1 << 16;
const CLUSTER_MAX = 1 << 21;
/** Largest number of clusters: an index is 32 bits in the file. */
const CLUSTERS_MAX = 2 ** 32;
const FLATTEN_BYTES = 1 << 20;
/**
 * Number of reads of the base that one read of the overlay has under way at a time: each written sector in between
 * makes one more.
 */
const BASE_READS = 64;

/**
 * Makes an overlay over a disk. @throws HostError for a cluster size that is none, or a base that is no whole number of
 * sectors
 */
export function overlayDisk(base: BlkBackend, options: OverlayOptions = {}): OverlayDisk {
  return new OverlayDisk(base, options);
}

/**
 * Disk that keeps what the guest writes, over a base that stays as it is. Reads of what was not written go to the base:
 * at once if the base is as fast. Writes are never waited for, since a sector can be in the overlay without its
 * neighbours.
 */
export class OverlayDisk implements BlkBackend {
  /** Disk below, which is only read. */
  readonly base: BlkBackend;
  /** Size of a cluster in bytes: clusters hold what was written. */
  readonly clusterSize: number;
  readonly size: number;
  readonly blockSize: number;
  readonly discard?: (position: number, length: number) => void;
  #clusters = new Map<number, Cluster>();
  /** Number of the current export: clusters of an older one are being exported, and are copied before they change. */
  #epoch = 0;
  #committing = false;

  constructor(base: BlkBackend, { clusterSize = CLUSTER_DEFAULT, discard = 'ignore' }: OverlayOptions) {
    const isPower = Number.isInteger(clusterSize) && (clusterSize & (clusterSize - 1)) === 0;
    if (!isPower || clusterSize < SECTOR || clusterSize > CLUSTER_MAX)
      throw new HostError(
        `clusterSize ${clusterSize}: a power of two from ${SECTOR} to ${CLUSTER_MAX} expected`,
      );
    this.base = base;
    this.clusterSize = clusterSize;
    this.size = Math.ceil(base.size / SECTOR) * SECTOR;
    if (this.size / clusterSize > CLUSTERS_MAX)
      throw new HostError(`clusterSize ${clusterSize} is too small for a disk of ${this.size} bytes`);
    this.blockSize = base.blockSize ?? SECTOR;
    if (discard === 'unmap') this.discard = (position, length) => this.writeZeroes(position, length);
  }

  get firstSector(): Uint8Array | undefined {
    const first = this.#clusters.get(0);
    return first?.holds(0) ? first.copy(0, SECTOR) : this.base.firstSector;
  }

  /** Number of bytes that the overlay holds in memory. */
  get bytes(): number {
    let sum = 0;
    for (const { bytes } of this.#clusters.values()) sum += bytes?.length ?? 0;
    return sum;
  }

  read(position: number, target: Spans, from: number, length: number): Pending {
    for (let done = 0; done < length; ) {
      const at = position + done;
      const here = this.#readHere(at, target, from + done, length - done);
      done += here;
      if (here > 0) continue;
      const run = this.#absent(at, length - done);
      const pending = this.base.read(at, target, from + done, run);
      done += run;
      if (pending !== undefined)
        return done < length
          ? this.#readRest(pending, position + done, target, from + done, length - done)
          : pending;
    }
    return undefined;
  }

  /**
   * Reads what is in the overlay from a position on, as far as it goes within a cluster. Answers how many bytes that
   * were.
   */
  #readHere(at: number, target: Spans, from: number, length: number): number {
    const cluster = this.#clusters.get(Math.floor(at / this.clusterSize));
    const offset = at % this.clusterSize;
    if (cluster === undefined || !cluster.holds(offset)) return 0;
    const run = cluster.run(offset, Math.min(length, this.clusterSize - offset), true);
    cluster.read(offset, target, from, run);
    return run;
  }

  /** Waits for all parts of a read, since a target is not lent longer than that; the first error is the error. */
  async #readRest(
    first: Promise<void>,
    position: number,
    target: Spans,
    from: number,
    length: number,
  ): Promise<void> {
    let waits = [first];
    for (let done = 0; done < length; ) {
      const at = position + done;
      const here = this.#readHere(at, target, from + done, length - done);
      done += here;
      if (here > 0) continue;
      const run = this.#absent(at, length - done);
      waits.push(readSafely(this.base, at, target, from + done, run));
      done += run;
      if (waits.length < BASE_READS) continue;
      await all(waits);
      waits = [];
    }
    await all(waits);
  }

  /** Counts the bytes from a position on that are the base's. */
  #absent(position: number, length: number): number {
    let run = 0;
    while (run < length) {
      const offset = (position + run) % this.clusterSize;
      const piece = Math.min(length - run, this.clusterSize - offset);
      const cluster = this.#clusters.get(Math.floor((position + run) / this.clusterSize));
      const free = cluster === undefined ? piece : cluster.run(offset, piece, false);
      run += free;
      if (free < piece) break;
    }
    return run;
  }

  write(position: number, source: Spans, from: number, length: number): void {
    for (let done = 0; done < length; ) {
      const offset = (position + done) % this.clusterSize;
      const piece = Math.min(length - done, this.clusterSize - offset);
      this.#own(position + done).write(offset, source, from + done, piece);
      done += piece;
    }
  }

  writeZeroes(position: number, length: number): void {
    for (let done = 0; done < length; ) {
      const at = position + done;
      const offset = at % this.clusterSize;
      const piece = Math.min(length - done, this.clusterSize - offset);
      if (piece === this.clusterSize)
        this.#clusters.set(Math.floor(at / this.clusterSize), Cluster.zero(this.clusterSize, this.#epoch));
      else this.#own(at).zero(offset, piece);
      done += piece;
    }
  }

  /** Finds or makes the cluster of a position, to be written. */
  #own(position: number): Cluster {
    const index = Math.floor(position / this.clusterSize);
    const known = this.#clusters.get(index);
    if (known !== undefined && known.epoch === this.#epoch) return known;
    const own = known?.clone(this.#epoch) ?? Cluster.empty(this.clusterSize, this.#epoch);
    this.#clusters.set(index, own);
    return own;
  }

  /** Forgets all that was written. Call it only while no device uses the disk. */
  revert(): void {
    this.#clusters.clear();
  }

  /**
   * Writes what the overlay holds as a file: of the moment of the call, whatever the guest writes meanwhile. {@link
   * load} reads it, over the same base.
   */
  export(): AsyncGenerator<Uint8Array> {
    return writeOverlay(this, this.#freeze());
  }

  /** Lists all clusters as they are now: later writes copy them first. */
  #freeze(): [number, Cluster][] {
    this.#epoch++;
    return [...this.#clusters].sort(([a], [b]) => a - b);
  }

  /**
   * Takes what {@link export} gave, instead of what the overlay holds. Call it only while no device uses the disk.
   *
   * @throws StateError `overlay` for a file that is damaged, or of another disk; then nothing has changed
   */
  async load(chunks: OverlayChunks): Promise<void> {
    this.#clusters = await readOverlay(this, chunks, this.#epoch);
  }

  /**
   * Writes all that the overlay holds into the base, which must be writable, and flushes it. What the guest writes
   * meanwhile stays in the overlay.
   *
   * @throws HostError for a base that is read-only, or while another commit is under way; what the base throws, and
   * then the overlay still has all
   */
  async commit(): Promise<void> {
    if (this.base.readOnly) throw new HostError('the base is read-only');
    // an older one that is slower would overwrite what a newer one has written, and that is in the overlay no more
    if (this.#committing) throw new HostError('a commit is under way');
    this.#committing = true;
    try {
      await this.#commit();
    } finally {
      this.#committing = false;
    }
  }

  async #commit(): Promise<void> {
    const clusters = this.#freeze();
    for (const [index, cluster] of clusters) {
      for (let offset = 0; offset < this.clusterSize; ) {
        const left = Math.min(this.clusterSize, this.size - index * this.clusterSize) - offset;
        if (left <= 0) break;
        const run = cluster.run(offset, left, true);
        if (run > 0)
          await this.base.write(
            index * this.clusterSize + offset,
            new ArraySpans(cluster.copy(offset, run)),
            0,
            run,
          );
        offset += run > 0 ? run : cluster.run(offset, left, false);
      }
    }
    await this.base.flush?.();
    for (const [index, cluster] of clusters)
      if (this.#clusters.get(index) === cluster) this.#clusters.delete(index);
  }

  /** Reads the whole disk, in chunks of 1 MiB. For a consistent image, call it while no guest writes. */
  async *flatten(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < this.size; at += FLATTEN_BYTES) {
      const chunk = new Uint8Array(Math.min(FLATTEN_BYTES, this.size - at));
      await this.read(at, new ArraySpans(chunk), 0, chunk.length);
      yield chunk;
    }
  }
}

/** Reads from the base, and answers an error instead of throwing it: reads that were begun before it go on. */
async function readSafely(
  base: BlkBackend,
  position: number,
  target: Spans,
  from: number,
  length: number,
): Promise<void> {
  await base.read(position, target, from, length);
}

/** Waits for all promises; the first error is the error. */
async function all(waits: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(waits)) if (result.status === 'rejected') throw result.reason;
}
