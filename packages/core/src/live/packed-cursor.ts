import type { AvailableChains } from './avail-bytes.ts';
import { DESC_NEXT, DescriptorCursor } from './descriptor-cursor.ts';
import { DESC_OFFSET, EVENT_WRAP, NOT_AVAIL, type PackedRing } from './packed-ring.ts';

/** Goes over the chains of a packed ring and their descriptors. Virtio 1.3 §2.8.1, §2.8.7 */
export class PackedCursor extends DescriptorCursor implements AvailableChains {
  slot = 0;
  position = 0;
  /** Buffer id of the descriptor. */
  id = 0;
  /** The slot where {@link available} found nothing more, with the wrap counter as bit 15; -1 while it has not come so far. */
  end = -1;
  private wrap = false;
  private tail = 0;
  private readonly ring: PackedRing;

  constructor(ring: PackedRing) {
    super(ring);
    this.ring = ring;
  }

  /** Goes to a descriptor of the ring. */
  readSlot(slot: number): void {
    this.place(slot);
    this.read();
  }

  /**
   * Goes to the descriptor that a chain begins with.
   *
   * @param tail its last word, as it was when it was found available
   */
  begin(slot: number, tail: number): void {
    this.place(slot);
    this.readBuffer();
    this.id = tail & 0xffff;
    this.flags = tail >>> 16;
  }

  next(): boolean {
    // Virtio 1.3 §2.8.7: the length of an indirect table, not NEXT, says where it ends
    if (this.indirect) {
      if (this.at + 1 === this.entries) return false;
    } else if ((this.flags & DESC_NEXT) === 0) return false;
    this.at++;
    if (!this.indirect && this.at === this.entries) this.at = 0;
    this.read();
    return true;
  }

  protected readTail(): void {
    this.flags = this.read16(DESC_OFFSET.FLAGS);
    this.id = this.read16(DESC_OFFSET.ID);
  }

  /**
   * Goes to the first available chain.
   *
   * @param position its slot, laps of the whole ring included
   * @param wrap the wrap counter of its lap
   */
  start(position: number, wrap: boolean): void {
    this.position = position;
    this.slot = position % this.ring.size;
    this.wrap = wrap;
    this.end = -1;
    this.problem = '';
  }

  available(passed: number): boolean {
    // at most one lap: no slot is looked at twice
    this.tail = passed < this.ring.size ? this.ring.availTail(this.slot, this.wrap) : NOT_AVAIL;
    if (this.tail !== NOT_AVAIL) return true;
    this.end = this.slot | (this.wrap ? EVENT_WRAP : 0);
    return false;
  }

  open(room: number): boolean {
    this.begin(this.slot, this.tail);
    return this.enter(room);
  }

  pass(slots: number): void {
    this.position += slots;
    this.slot += slots;
    if (this.slot < this.ring.size) return;
    this.slot -= this.ring.size;
    this.wrap = !this.wrap;
  }
}
