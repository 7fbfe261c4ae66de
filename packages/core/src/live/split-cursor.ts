import type { AvailableChains } from './avail-bytes.ts';
import { DESC_NEXT, DescriptorCursor } from './descriptor-cursor.ts';
import type { SplitRing } from './split-ring.ts';

/** Offsets in bytes of a split descriptor's flags and of its next index. Virtio 1.3 §2.7.5 */
const FLAGS_OFFSET = 12;
const NEXT_OFFSET = 14;

/** Goes over the chains of a split ring and their descriptors. Virtio 1.3 §2.7.5, §2.7.6 */
export class SplitCursor extends DescriptorCursor implements AvailableChains {
  slot = 0;
  position = 0;
  /** Avail index as it was when {@link start} looked. */
  availIdx = 0;
  private left = 0;
  private nextAt = 0;
  private readonly ring: SplitRing;

  constructor(ring: SplitRing) {
    super(ring);
    this.ring = ring;
  }

  /** Goes to the descriptor that a chain begins with. */
  begin(head: number): void {
    this.place(head);
    this.read();
  }

  next(): boolean {
    if ((this.flags & DESC_NEXT) === 0) return false;
    if (this.nextAt >= this.entries) {
      this.problem = `Desc next is ${this.nextAt}`;
      return false;
    }
    this.at = this.nextAt;
    this.read();
    return true;
  }

  protected readTail(): void {
    this.flags = this.read16(FLAGS_OFFSET);
    this.nextAt = this.read16(NEXT_OFFSET);
  }

  /**
   * Goes to the first available chain.
   *
   * @param position the free-running index of the next avail entry to take, laps of 65536 included
   */
  start(position: number): void {
    const { ring } = this;
    const index = ring.availIdx();
    this.availIdx = index;
    this.position = position;
    this.slot = position % ring.size;
    this.left = (index - position) & 0xffff;
    this.problem =
      this.left > ring.size ? `Guest moved used index from ${position & 0xffff} to ${index}` : '';
  }

  available(): boolean {
    return this.left > 0;
  }

  open(room: number): boolean {
    const { ring } = this;
    const head = ring.availEntry(this.position & 0xffff);
    if (head >= ring.size) {
      this.problem = `Guest says index ${head} is available`;
      return false;
    }
    this.begin(head);
    return this.enter(room);
  }

  pass(_slots: number): void {
    this.left--;
    this.position++;
    this.slot = this.position % this.ring.size;
  }
}
