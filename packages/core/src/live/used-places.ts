import { HostError } from './errors.ts';

/**
 * Set of the places ahead of the used index that a device has filled and not yet flushed. Places are counted from the
 * next one that {@link show} makes visible.
 */
export class UsedPlaces {
  /** Number of places that are filled. */
  filled = 0;
  /** Index in {@link flags} of the place that is shown next. */
  next = 0;
  /** Circular list with 1 for each place that is filled. */
  private readonly flags: Uint8Array;
  private readonly queue: number;

  /**
   * @param queue index of the queue, for messages
   * @param size places: entries of the ring
   */
  constructor(queue: number, size: number) {
    this.queue = queue;
    this.flags = new Uint8Array(size);
  }

  /**
   * Fills a place; answers its index in a circular list of all places.
   *
   * @throws HostError if there is no such place, or if it is filled already
   */
  fill(ahead: number): number {
    const { queue, flags } = this;
    const size = flags.length;
    if (!(ahead >= 0 && ahead < size))
      throw new HostError(`queue ${queue}: filled ${ahead} ahead, in a ring of ${size}`);
    const place = (this.next + ahead) % size;
    if (flags[place] !== 0) throw new HostError(`queue ${queue}: filled twice, ${ahead} ahead`);
    flags[place] = 1;
    this.filled++;
    return place;
  }

  /**
   * Empties the next places, since they are shown to the driver.
   *
   * @throws HostError if not all of them are filled
   */
  show(count: number): void {
    const { queue, flags, filled, next } = this;
    const size = flags.length;
    if (count > filled) throw new HostError(`queue ${queue}: ${count} flushed, ${filled} filled`);
    for (let i = 0; i < count; i++) {
      if (flags[(next + i) % size] === 0)
        throw new HostError(`queue ${queue}: ${count} flushed, and nothing was filled ${i} ahead`);
    }
    for (let i = 0; i < count; i++) flags[(next + i) % size] = 0;
    this.next = (next + count) % size;
    this.filled -= count;
  }
}
