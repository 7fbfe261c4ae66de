import { HostError } from '@virtkit/core';
import type { NetOffloads } from '../live/backend.ts';
import { GSO, HDR_FLAG, type Packet } from '../live/backend.ts';
import { checksumFits, neededOffloads } from '../live/header.ts';
import { OFFLOAD } from '../live/offload.ts';
import { complement, fold, sumWords } from './checksum.ts';
import { HEAD_MAX, Layout, put16, u16 } from './layout.ts';

const ETHERNET_MIN = 14;
/**
 * Largest number of frames out of one packet; more are a guest's joke: the smallest segment that Linux makes has 48
 * bytes.
 */
const SEGMENTS_MAX = 2048;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const TCP_FLAGS = 13;
const FIN_PSH = 0x09;
const CWR = 0x80;
const MORE_FRAGMENTS = 0x2000;
const FRAGMENT_BYTES = 8;
const FRAGMENT = 44;

/** Offloads that {@link SoftwareOffload} does: the `offloads` of a card in front of it. */
export const SOFTWARE_OFFLOADS: NetOffloads = { csum: true, tso: true, ufo: true };

/** Counters of what was done in software, and what could not be: plain numbers, for reading. */
export class OffloadCounters {
  /** Number of packets that were complete frames. */
  plain = 0;
  /** Number of packets whose checksum was completed. */
  checksums = 0;
  /** Number of packets that were taken apart. */
  segmented = 0;
  /** Number of frames that were cut from larger packets. */
  segments = 0;
  /** Number of packets that were lost: not what their header says that they are, or cut off. */
  malformed = 0;
  /** Number of packets that were lost because they are UDP tunnels. */
  unsupported = 0;
}

type Kind = 'plain' | 'checksum' | 'tcp' | 'udp' | 'fragment';

/**
 * Offloads in software, for a network that has none: does what the driver left to the device, completes checksums, cuts
 * large TCP packets and UDP packets into segments, and large UDP packets into fragments. Virtio 1.3 §5.1.6.2
 *
 * ```ts
 * const offload = new SoftwareOffload();
 * send(packet) {
 *   for (let left = offload.open(packet); left > 0; left--) wire.put(scratch, offload.write(scratch));
 *   return true;
 * }
 * ```
 *
 * Allocates nothing. What a guest says that is not so is counted, and the packet dropped.
 */
export class SoftwareOffload {
  /** Counters of what was completed so far. */
  readonly counters: OffloadCounters = new OffloadCounters();
  readonly #head = new Uint8Array(HEAD_MAX);
  readonly #layout = new Layout();
  #packet: Packet | undefined;
  #kind: Kind = 'plain';
  /** Number of bytes before the payload in each frame. */
  #headLength = 0;
  /** Offsets in the packet of the rest of the payload and, {@link #end}, of its end; a frame takes {@link #step} bytes of it. */
  #from = 0;
  #end = 0;
  #step = 0;
  #count = 0;
  #index = 0;
  /** Sum of the pseudo header without its length, or of all bytes (fragments). */
  #sum = 0;
  /** Identification of the packet that fragments are of, with IPv6. */
  #identification = 0;

  /**
   * Takes a packet from a card, for as long as {@link write} is called. Answers how many frames it makes: 1 for most, 0
   * if it is dropped, which the counters tell.
   */
  open(packet: Packet): number {
    this.#index = 0;
    this.#count = this.#prepare(packet);
    this.#packet = this.#count > 0 ? packet : undefined;
    return this.#count;
  }

  /** Number of frames that are left. */
  get left(): number {
    return this.#count - this.#index;
  }

  /** Number of bytes of all frames that are left. */
  get total(): number {
    if (this.left === 0) return 0;
    const from = this.#from + this.#index * this.#step;
    return this.left * this.#headLength + this.#end - from;
  }

  /** Length of the next frame in bytes. */
  get length(): number {
    if (this.left === 0) return 0;
    const from = this.#from + this.#index * this.#step;
    return this.#headLength + Math.min(this.#step, this.#end - from);
  }

  /**
   * Writes the next frame to `target`, where there must be room for {@link length} bytes. Answers how many they were.
   *
   * @throws HostError if there is no room, or nothing left
   */
  write(target: Uint8Array, at = 0): number {
    const packet = this.#packet;
    const { length } = this;
    if (packet === undefined) throw new HostError('no frame is left of this packet');
    if (at + length > target.length)
      throw new HostError(`a frame of ${length} bytes does not fit at ${at} of ${target.length}`);
    if (this.#kind === 'plain' || this.#kind === 'checksum') this.#whole(packet, target, at, length);
    else this.#segment(packet, target, at, length);
    this.#index++;
    if (this.#index === this.#count) this.#packet = undefined;
    return length;
  }

  /** Drops the rest of the packet. */
  close(): void {
    this.#packet = undefined;
    this.#count = 0;
    this.#index = 0;
  }

  #prepare(packet: Packet): number {
    const { counters } = this;
    const { length, gsoType } = packet;
    const needed = neededOffloads(packet);
    if (needed < 0 || length < ETHERNET_MIN) return this.#malformed();
    if ((needed & (OFFLOAD.TUNNEL | OFFLOAD.TUNNEL_CSUM)) !== 0) {
      counters.unsupported++;
      return 0;
    }
    const summed = (needed & OFFLOAD.CSUM) !== 0;
    if (summed && !checksumFits(packet, length)) return this.#malformed();
    if (gsoType !== GSO.NONE) return this.#apart(packet);
    this.#kind = summed ? 'checksum' : 'plain';
    if (summed) counters.checksums++;
    else counters.plain++;
    this.#headLength = 0;
    this.#from = 0;
    this.#end = length;
    this.#step = length;
    return 1;
  }

  #malformed(): 0 {
    this.counters.malformed++;
    return 0;
  }

  /** Takes apart a packet that is to be more than one frame. */
  #apart(packet: Packet): number {
    const { length, gsoType, gsoSize } = packet;
    const head = this.#head;
    const layout = this.#layout;
    const type = gsoType & ~GSO.ECN;
    const known = packet.copyTo(head, 0, 0, Math.min(length, HEAD_MAX));
    if (gsoSize === 0 || !layout.parse(head, known, length, type)) return this.#malformed();
    const offset = layout.tcp ? TCP_CHECKSUM : UDP_CHECKSUM;
    const field = u16(head, layout.l4 + offset);
    // with NEEDS_CSUM, as all drivers known have it, the field holds the sum of the pseudo header; else the checksum
    const partial = (packet.flags & HDR_FLAG.NEEDS_CSUM) !== 0;
    const fits = packet.csumStart === layout.l4 && packet.csumOffset === offset;
    if (partial ? !fits : !layout.tcp && field === 0) return this.#malformed();
    this.#end = layout.end;
    if (type === GSO.UDP) {
      if (!this.#fragments(packet, partial, field)) return this.#malformed();
    } else {
      this.#kind = layout.tcp ? 'tcp' : 'udp';
      this.#headLength = layout.payload;
      this.#from = layout.payload;
      this.#step = gsoSize;
      // where the checksum is right, the pseudo header is what is missing to 0; where it is not, no segment's will be
      const pseudo = partial ? field : ~fold(sumPacket(packet, layout.l4, layout.end)) & 0xffff;
      this.#sum = pseudo + (~(layout.end - layout.l4) & 0xffff);
    }
    const count = Math.max(1, Math.ceil((this.#end - this.#from) / this.#step));
    if (count > SEGMENTS_MAX) return this.#malformed();
    this.counters.segmented++;
    this.counters.segments += count;
    return count;
  }

  /**
   * Cuts a UDP datagram into fragments (UFO): it gets its checksum as a whole, and is cut by IP. Answers false if it
   * cannot be.
   */
  #fragments(packet: Packet, partial: boolean, field: number): boolean {
    const layout = this.#layout;
    const { l4, end, fragment, ipv6 } = layout;
    // RFC 791 §3.2: all but the last have a multiple of 8 bytes
    const step = packet.gsoSize & ~7;
    if (step < l4 + UDP_CHECKSUM + 2 - fragment) return false;
    if (end - fragment <= step) {
      this.#kind = partial ? 'checksum' : 'plain';
      this.#headLength = 0;
      this.#from = 0;
      this.#step = end;
      return true;
    }
    this.#kind = 'fragment';
    this.#headLength = ipv6 ? fragment + FRAGMENT_BYTES : fragment;
    this.#from = fragment;
    this.#step = step;
    this.#sum = partial ? complement(sumPacket(packet, l4, end)) : field;
    if (ipv6) this.#identification = (this.#identification + 0x9e3779b1) >>> 0;
    return true;
  }

  /** Writes a packet that is one frame already. */
  #whole(packet: Packet, target: Uint8Array, at: number, length: number): void {
    packet.copyTo(target, at, 0, length);
    if (this.#kind === 'plain') return;
    const start = at + packet.csumStart;
    put16(target, start + packet.csumOffset, complement(sumWords(target, start, at + length)));
  }

  #segment(packet: Packet, target: Uint8Array, at: number, length: number): void {
    const head = this.#head;
    const layout = this.#layout;
    const headLength = this.#headLength;
    const copied = Math.min(headLength, this.#kind === 'fragment' ? layout.fragment : headLength);
    for (let i = 0; i < copied; i++) target[at + i] = head[i] as number;
    packet.copyTo(target, at + headLength, this.#from + this.#index * this.#step, length - headLength);
    if (layout.ipv6) put16(target, at + layout.l3 + 4, length - layout.l3 - 40);
    else this.#ipv4(target, at + layout.l3, length - layout.l3);
    if (this.#kind === 'fragment') this.#fragment(target, at);
    else this.#transport(target, at, length);
  }

  /** Sets length, identification and fragment, and the checksum of the IPv4 header. RFC 791 §3.1 */
  #ipv4(target: Uint8Array, l3: number, length: number): void {
    put16(target, l3 + 2, length);
    if (this.#kind === 'fragment') {
      const flags = u16(target, l3 + 6) & 0xc000;
      put16(target, l3 + 6, flags | this.#more | ((this.#index * this.#step) >> 3));
    } else put16(target, l3 + 4, (u16(target, l3 + 4) + this.#index) & 0xffff);
    put16(target, l3 + 10, 0);
    const bytes = 4 * ((target[l3] as number) & 15);
    put16(target, l3 + 10, complement(sumWords(target, l3, l3 + bytes)));
  }

  get #more(): number {
    return this.#index + 1 < this.#count ? MORE_FRAGMENTS : 0;
  }

  #fragment(target: Uint8Array, at: number): void {
    const { ipv6, fragment, next, l4 } = this.#layout;
    if (ipv6) {
      // RFC 8200 §4.5
      const header = at + fragment;
      target[header] = target[at + next] as number;
      target[at + next] = FRAGMENT;
      target[header + 1] = 0;
      put16(target, header + 2, (this.#index * this.#step) | (this.#more === 0 ? 0 : 1));
      put16(target, header + 4, this.#identification >>> 16);
      put16(target, header + 6, this.#identification & 0xffff);
    }
    const checksum = at + this.#headLength + l4 - fragment + UDP_CHECKSUM;
    if (this.#index === 0) put16(target, checksum, this.#sum);
  }

  /** Sets sequence numbers and flags, or lengths; and the checksum. RFC 9293 §3.1, RFC 768, RFC 3168 §6.1.2 */
  #transport(target: Uint8Array, at: number, length: number): void {
    const { l4, tcp } = this.#layout;
    const start = at + l4;
    const bytes = length - l4;
    if (tcp) {
      const sequence = (u32(target, start + 4) + this.#index * this.#step) >>> 0;
      put16(target, start + 4, sequence >>> 16);
      put16(target, start + 6, sequence & 0xffff);
      let flags = target[start + TCP_FLAGS] as number;
      if (this.#index + 1 < this.#count) flags &= ~FIN_PSH;
      // the receiver counts reductions of the window by it
      if (this.#index > 0) flags &= ~CWR;
      target[start + TCP_FLAGS] = flags;
    } else put16(target, start + 4, bytes);
    const checksum = start + (tcp ? TCP_CHECKSUM : UDP_CHECKSUM);
    put16(target, checksum, fold(this.#sum + bytes));
    put16(target, checksum, complement(sumWords(target, start, at + length)));
  }
}

function u32(bytes: Uint8Array, at: number): number {
  return ((u16(bytes, at) << 16) | u16(bytes, at + 2)) >>> 0;
}

/** Adds up a part of a packet where it lies. */
function sumPacket(packet: Packet, from: number, end: number): number {
  let sum = 0;
  let at = 0;
  for (let i = 0; i < packet.pieces && at < end; i++) {
    const size = packet.size(i);
    const first = Math.max(from, at);
    const last = Math.min(end, at + size);
    if (first < last) {
      const start = packet.offset(i) + first - at;
      const part = fold(sumWords(packet.bytes(i), start, start + last - first));
      // RFC 1071 §2(B): the sum of bytes that begin in the middle of a word is the one with its bytes swapped
      sum += ((first - from) & 1) === 0 ? part : ((part & 0xff) << 8) | (part >> 8);
    }
    at += size;
  }
  return sum;
}
