import { GSO } from '../live/backend.ts';
import {
  DESTINATION,
  ETH_DVLAN,
  ETH_IPV4,
  ETH_IPV6,
  ETH_TYPE_OFFSET,
  ETH_VLAN,
  HOP_BY_HOP,
  IPV4,
  IPV4_BYTES,
  IPV4_FRAGMENT,
  IPV6_BYTES,
  PROTO_TCP,
  PROTO_UDP,
  ROUTING,
  TCP_BYTES,
  UDP_BYTES,
} from '../protocols.ts';

/** Length in bytes of the longest headers, from the Ethernet address to the payload, that are taken apart. */
export const HEAD_MAX = 512;

/** Places of the parts of a frame that is to be taken apart. The object is reused for every frame. */
export class Layout {
  ipv6 = false;
  tcp = false;
  /** Offset of the IP header. */
  l3 = 0;
  /** Offset of the TCP or UDP header. */
  l4 = 0;
  /** Offset of the payload behind the TCP or UDP header. */
  payload = 0;
  /** Offset of the packet's end; what a frame has behind it is padding. */
  end = 0;
  /**
   * Offset in IPv6 where a fragment header goes; {@link next} is where the number is that names the header which
   * is there now. RFC 8200 §4.5
   */
  fragment = 0;
  next = 0;

  /**
   * Looks at a frame that says to be of this kind of segmentation. Answers false if it is not. What the driver says of
   * its length (`hdr_len`) is a hint and not looked at: Virtio 1.3 §5.1.6.2.2 MUST NOT.
   *
   * @param head the first bytes of the frame
   * @param length of the whole frame
   */
  parse(head: Uint8Array, known: number, length: number, gsoType: number): boolean {
    let at = ETH_TYPE_OFFSET;
    let type = u16(head, at);
    for (let tags = 0; tags < 2 && (type === ETH_VLAN || type === ETH_DVLAN); tags++) {
      at += 4;
      type = u16(head, at);
    }
    this.l3 = at + 2;
    this.ipv6 = type === ETH_IPV6;
    if (type !== ETH_IPV4 && type !== ETH_IPV6) return false;
    if (gsoType === GSO.TCPV4 ? this.ipv6 : gsoType === GSO.TCPV6 && !this.ipv6) return false;
    this.tcp = gsoType === GSO.TCPV4 || gsoType === GSO.TCPV6;
    const protocol = this.ipv6 ? this.#ipv6(head, known, length) : this.#ipv4(head, known, length);
    if (protocol !== (this.tcp ? PROTO_TCP : PROTO_UDP)) return false;
    // what IP's length fields can say
    const start = this.ipv6 ? this.l3 + IPV6_BYTES : this.l3;
    return this.#transport(head, known) && this.end - start <= 0xffff;
  }

  /** Finds the protocol number behind an IPv4 header, or -1. RFC 791 §3.1 */
  #ipv4(head: Uint8Array, known: number, length: number): number {
    const { l3 } = this;
    if (l3 + IPV4_BYTES > known || byte(head, l3) >> 4 !== 4) return -1;
    const bytes = 4 * (byte(head, l3) & 15);
    // a part of a packet has no transport header, or not all of its payload
    if (bytes < IPV4_BYTES || l3 + bytes > known || (u16(head, l3 + IPV4.FRAGMENT) & IPV4_FRAGMENT) !== 0)
      return -1;
    this.l4 = l3 + bytes;
    this.fragment = this.l4;
    const total = u16(head, l3 + IPV4.LENGTH);
    // 0: a driver that leaves it to the segmentation
    this.end = total === 0 ? length : l3 + total;
    return this.end > length ? -1 : byte(head, l3 + IPV4.PROTOCOL);
  }

  /**
   * Finds the protocol number behind an IPv6 header, or -1; extension headers are walked through as long as they stand
   * in every fragment's way. RFC 8200 §4
   */
  #ipv6(head: Uint8Array, known: number, length: number): number {
    const { l3 } = this;
    let at = l3 + IPV6_BYTES;
    if (at > known || byte(head, l3) >> 4 !== 6) return -1;
    const bytes = u16(head, l3 + 4);
    this.end = bytes === 0 ? length : at + bytes;
    let next = byte(head, l3 + IPV4.FRAGMENT);
    // 0 and options: a jumbogram, which does not say what it is in small pieces. RFC 2675
    if (this.end > length || (bytes === 0 && next === HOP_BY_HOP)) return -1;
    this.next = l3 + 6;
    this.fragment = at;
    while (next === HOP_BY_HOP || next === ROUTING || next === DESTINATION) {
      if (at + 8 > known) return -1;
      const header = at;
      const kind = next;
      next = byte(head, at);
      at += 8 * (byte(head, at + 1) + 1);
      if (at > known) return -1;
      if (kind === DESTINATION) continue;
      this.next = header;
      this.fragment = at;
    }
    this.l4 = at;
    return next;
  }

  #transport(head: Uint8Array, known: number): boolean {
    const { l4, tcp, end } = this;
    const fixed = tcp ? TCP_BYTES : UDP_BYTES;
    if (l4 + fixed > known) return false;
    const bytes = tcp ? 4 * (byte(head, l4 + 12) >> 4) : UDP_BYTES;
    this.payload = l4 + bytes;
    return bytes >= fixed && this.payload <= known && this.payload <= end;
  }
}

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] as number;
}

export function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}
