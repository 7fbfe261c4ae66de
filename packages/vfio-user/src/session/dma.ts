import { type FileRegion, PeerError, type Platform, SharedMemory } from '@virtkit/linux';
import { Refusal } from '../errors.ts';

/** Largest number of regions that a client may have mapped at a time: VERSION tells it. */
export const MAPS_MAX = 512;

/** Region that DMA_MAP asks for. */
export interface DmaRegion extends FileRegion {
  readonly readonly: boolean;
}

/**
 * Memory that a client lets a device reach: regions of its files, mapped here, and regions for which it has sent no
 * file.
 */
export class DmaMemory extends SharedMemory<DmaRegion> {
  /** Regions without a file: devices find no memory there. */
  #withoutFile: readonly DmaRegion[] = [];

  constructor(platform: Platform) {
    super(platform, { regionsMax: MAPS_MAX, adding: 'DMA_MAP' });
  }

  /** Number of bytes of memory that could be written, if the client had sent its file. */
  get unreachableBytes(): number {
    return this.#withoutFile.reduce((sum, { readonly, size }) => sum + (readonly ? 0 : Number(size)), 0);
  }

  /**
   * Adds a region, as DMA_MAP asks for.
   *
   * @param descriptor of the file, the caller's to close
   * @throws Refusal for a region that cannot be: EEXIST if it overlaps another one, ENOSPC if there are too many, else EINVAL
   */
  mapRegion(region: DmaRegion, descriptor: number | undefined): void {
    const { guestAddress: address, size } = region;
    const facts = { address, size };
    const all = [...this.regions, ...this.#withoutFile];
    const end = address + size;
    const other = all.find((known) => known.guestAddress < end && address < known.guestAddress + known.size);
    if (other !== undefined)
      throw new Refusal('EEXIST', `DMA_MAP: ${named(region)} overlaps ${named(other)}`, facts);
    if (all.length >= MAPS_MAX)
      throw new Refusal('ENOSPC', `DMA_MAP: more than ${MAPS_MAX} regions`, { regions: all.length });
    if (descriptor === undefined) {
      if (size === 0n || end > 2n ** 64n) throw new Refusal('EINVAL', `DMA_MAP: ${named(region)}`, facts);
      this.#withoutFile = [...this.#withoutFile, region];
      return;
    }
    try {
      this.add(region, descriptor);
    } catch (error) {
      if (error instanceof PeerError) throw new Refusal('EINVAL', `DMA_MAP: ${error.message}`, error.facts);
      throw error;
    }
  }

  /** Removes a region, as DMA_UNMAP asks for. @throws Refusal, ENOENT, if there is no such region */
  unmapRegion(address: bigint, size: bigint): void {
    const isIt = (region: DmaRegion): boolean => region.guestAddress === address && region.size === size;
    if (this.remove(isIt)) return;
    const kept = this.#withoutFile.filter((region) => !isIt(region));
    if (kept.length === this.#withoutFile.length)
      throw new Refusal('ENOENT', `DMA_UNMAP: no region of ${size} bytes at 0x${address.toString(16)}`, {
        address,
        size,
      });
    this.#withoutFile = kept;
  }

  /** Removes all regions, as DMA_UNMAP may ask for. */
  unmapAll(): void {
    this.#withoutFile = [];
    this.replace([], []);
  }

  override clear(): void {
    this.#withoutFile = [];
    super.clear();
  }
}

function named({ guestAddress, size }: FileRegion): string {
  return `${size} bytes at 0x${guestAddress.toString(16)}`;
}
