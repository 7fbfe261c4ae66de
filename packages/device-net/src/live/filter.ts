import { MAC_TABLE_ENTRIES, VLAN_BYTES } from '../limits.ts';
import { ETH_TYPE_OFFSET, ETH_VLAN, VLAN_ID } from '../protocols.ts';

const MAC_BYTES = 6;

/**
 * Filter of received frames by what the guest wants. Virtio 1.3 §5.1.6.5.1, .2, .3; QEMU: `receive_filter`. The modes
 * are bytes as the driver sent them: anything but 0 is on.
 */
export class RxFilter {
  /** Address of the card itself. */
  readonly mac: Uint8Array = new Uint8Array(MAC_BYTES);
  /** Mode in which all frames are received; on at first, for drivers that never heard of filters. */
  promisc = 1;
  allmulti = 0;
  alluni = 0;
  nomulti = 0;
  nouni = 0;
  nobcast = 0;
  /** Number of addresses in {@link table}; unicast ones come first. */
  inUse = 0;
  /** Index in {@link table} of the first multicast address. */
  firstMulti = 0;
  uniOverflow = 0;
  multiOverflow = 0;
  readonly table: Uint8Array = new Uint8Array(MAC_TABLE_ENTRIES * MAC_BYTES);
  /** Bitmap of the VLANs whose frames pass. */
  readonly vlans: Uint8Array = new Uint8Array(VLAN_BYTES);

  reset(mac: Uint8Array): void {
    this.mac.set(mac);
    this.promisc = 1;
    this.allmulti = 0;
    this.alluni = 0;
    this.nomulti = 0;
    this.nouni = 0;
    this.nobcast = 0;
    this.inUse = 0;
    this.firstMulti = 0;
    this.uniOverflow = 0;
    this.multiOverflow = 0;
    // Virtio 1.3 §5.1.6.5.2.1 MUST: the table is empty after a reset
    this.table.fill(0);
    this.vlans.fill(0);
  }

  /** Does the guest want this frame? Bytes that a runt lacks count as 0. */
  accepts(frame: Uint8Array): boolean {
    if (this.promisc !== 0) return true;
    if (((frame[ETH_TYPE_OFFSET] ?? 0) << 8) + (frame[ETH_TYPE_OFFSET + 1] ?? 0) === ETH_VLAN) {
      const vid = ((frame[ETH_TYPE_OFFSET + 2] ?? 0) << 8) | (frame[ETH_TYPE_OFFSET + 3] ?? 0);
      // Virtio 1.3 §5.1.6.5.3.1: a frame of a VLAN that was not added is dropped
      if (!this.hasVlan(vid & VLAN_ID)) return false;
    }
    return ((frame[0] ?? 0) & 1) !== 0 ? this.#acceptsGroup(frame) : this.#acceptsUnicast(frame);
  }

  hasVlan(vid: number): boolean {
    return (((this.vlans[vid >> 3] as number) >> (vid & 7)) & 1) === 1;
  }

  setVlan(vid: number, on: boolean): void {
    const mask = 1 << (vid & 7);
    const byte = this.vlans[vid >> 3] as number;
    this.vlans[vid >> 3] = on ? byte | mask : byte & ~mask;
  }

  #acceptsGroup(frame: Uint8Array): boolean {
    let broadcast = true;
    for (let i = 0; i < MAC_BYTES; i++) if (frame[i] !== 0xff) broadcast = false;
    if (broadcast) return this.nobcast === 0;
    if (this.nomulti !== 0) return false;
    if (this.allmulti !== 0 || this.multiOverflow !== 0) return true;
    return this.#inTable(frame, this.firstMulti, this.inUse);
  }

  #acceptsUnicast(frame: Uint8Array): boolean {
    if (this.nouni !== 0) return false;
    if (this.alluni !== 0 || this.uniOverflow !== 0) return true;
    return same(frame, this.mac, 0) || this.#inTable(frame, 0, this.firstMulti);
  }

  #inTable(frame: Uint8Array, from: number, to: number): boolean {
    for (let entry = from; entry < to; entry++) if (same(frame, this.table, entry * MAC_BYTES)) return true;
    return false;
  }
}

/** Is the frame addressed to the entry at `at` of this list? */
function same(frame: Uint8Array, list: Uint8Array, at: number): boolean {
  for (let i = 0; i < MAC_BYTES; i++) if ((frame[i] ?? 0) !== list[at + i]) return false;
  return true;
}
