import {
  DESTINATION,
  ETH_DVLAN,
  ETH_IPV4,
  ETH_IPV6,
  ETH_TYPE_OFFSET,
  ETH_VLAN,
  FRAGMENT,
  HOP_BY_HOP,
  IPV4,
  IPV4_BYTES,
  IPV4_FRAGMENT,
  IPV6,
  IPV6_BYTES,
  PROTO_TCP,
  PROTO_UDP,
  ROUTING,
  TCP_BYTES,
  UDP_BYTES,
} from '../protocols.ts';

/** Length in bytes of a type 2 routing header: one address. RFC 6275 §6.4 */
const ROUTING_BYTES = 24;
/** Numbers of transport protocols in IP headers. */
/** IPv6 extension headers that may stand before the transport header. */
/**
 * Type of the option with the home address of a mobile node; the constant below is its length in bytes: type, length,
 * address. RFC 6275 §6.3
 */
const HOME_ADDRESS = 201;
const HOME_ADDRESS_BYTES = 18;
/** Number of extension headers that are followed in a packet; behind more, its transport protocol is not known. */
const EXTENSIONS_MAX = 8;

/** Places in a frame of the parts that its hash is made from. The object is reused for every frame. */
export class Flow {
  /** IP version of the frame, or 0. */
  ip: 0 | 4 | 6 = 0;
  /** Number of the transport protocol; 0 for fragments and for what is cut off, too. */
  l4: 0 | 6 | 17 = 0;
  /** Offset of the source address; {@link dst} is that of the destination. */
  src = 0;
  dst = 0;
  /**
   * Offset of the home address that stands instead of {@link src} in IPv6, if there is one; {@link exDst} is that of
   * the last hop of a type 2 routing header.
   */
  exSrc = 0;
  exDst = 0;
  /** Offset of the ports. */
  ports = 0;

  /** Finds the parts of a frame. QEMU: `eth_get_protocols`. */
  parse(frame: Uint8Array): void {
    this.ip = 0;
    this.l4 = 0;
    let at = ETH_TYPE_OFFSET;
    let type = u16(frame, at);
    for (let tags = 0; tags < 2 && (type === ETH_VLAN || type === ETH_DVLAN); tags++) {
      at += 4;
      type = u16(frame, at);
    }
    if (type === ETH_IPV4) this.#parseV4(frame, at + 2);
    else if (type === ETH_IPV6) this.#parseV6(frame, at + 2);
  }

  #parseV4(frame: Uint8Array, at: number): void {
    if (at + IPV4_BYTES > frame.length || (frame[at] as number) >> 4 !== 4) return;
    this.ip = 4;
    this.src = at + IPV4.SOURCE;
    this.dst = at + IPV4.DESTINATION;
    const fragment = (u16(frame, at + IPV4.FRAGMENT) & IPV4_FRAGMENT) !== 0;
    const transport = at + 4 * ((frame[at] as number) & 15);
    if (!fragment) this.#transport(frame, frame[at + IPV4.PROTOCOL] as number, transport);
  }

  #parseV6(frame: Uint8Array, at: number): void {
    if (at + IPV6_BYTES > frame.length || (frame[at] as number) >> 4 !== 6) return;
    this.ip = 6;
    this.src = at + IPV6.SOURCE;
    this.dst = at + IPV6.DESTINATION;
    this.exSrc = this.src;
    this.exDst = this.dst;
    let next = frame[at + IPV6.NEXT] as number;
    let header = at + IPV6_BYTES;
    for (let count = 0; isExtension(next); count++) {
      if (count === EXTENSIONS_MAX || header + 8 > frame.length || next === FRAGMENT) return;
      const length = 8 * ((frame[header + 1] as number) + 1);
      if (next === ROUTING) this.#routing(frame, header, length);
      if (next === DESTINATION) this.#destination(frame, header, length);
      next = frame[header] as number;
      header += length;
    }
    this.#transport(frame, next, header);
  }

  #transport(frame: Uint8Array, protocol: number, at: number): void {
    this.ports = at;
    if (protocol === PROTO_TCP && at + TCP_BYTES <= frame.length) this.l4 = PROTO_TCP;
    if (protocol === PROTO_UDP && at + UDP_BYTES <= frame.length) this.l4 = PROTO_UDP;
  }

  /** Reads a routing header: of type 2 with a segment left, it holds the home address of the destination. */
  #routing(frame: Uint8Array, at: number, length: number): void {
    const home = frame[at + 2] === 2 && frame[at + 3] === 1 && length === ROUTING_BYTES;
    if (home && at + ROUTING_BYTES <= frame.length) this.exDst = at + 8;
  }

  /** Reads a destination header, which may hold the home address option. */
  #destination(frame: Uint8Array, at: number, length: number): void {
    const end = Math.min(at + length, frame.length);
    for (let option = at + 2; option + 1 < end; ) {
      const type = frame[option] as number;
      const size = type === 0 ? 1 : 2 + (frame[option + 1] as number);
      if (type === HOME_ADDRESS && size === HOME_ADDRESS_BYTES && option + size <= end)
        this.exSrc = option + 2;
      option += size;
    }
  }
}

function isExtension(next: number): boolean {
  return next === HOP_BY_HOP || next === ROUTING || next === FRAGMENT || next === DESTINATION;
}

/** Reads a big-endian 16-bit number; bytes that a runt lacks are 0. */
export function u16(frame: Uint8Array, at: number): number {
  return ((frame[at] ?? 0) << 8) | (frame[at + 1] ?? 0);
}
