export const ETH_IPV4 = 0x0800;
const ETH_IPV6 = 0x86dd;
const ETH_VLAN = 0x8100;
const ETH_DVLAN = 0x88a8;
/** Numbers of transport protocols in IP headers. */
export const PROTO_TCP = 6;
export const PROTO_UDP = 17;
const TCP_BYTES = 20;
export const UDP_BYTES = 8;
const IPV6_BYTES = 40;
/** IPv6 extension headers that may stand before the transport header. */
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const DESTINATION = 60;
/** The option with the home address of a mobile node, and its bytes: type, length, address. RFC 6275 §6.3 */
const HOME_ADDRESS = 201;
const HOME_ADDRESS_BYTES = 18;
/** Extension headers that are followed in a packet; behind more, its transport protocol is not known. */
const EXTENSIONS_MAX = 8;

/** Where in a frame the parts are that its hash is made from. Reused for every frame. */
export class Flow {
  /** IP version, or 0. */
  ip: 0 | 4 | 6 = 0;
  /** Transport protocol; 0 also for fragments and for what is cut off. */
  l4: 0 | 6 | 17 = 0;
  /** Offset of the addresses. */
  src = 0;
  dst = 0;
  /** IPv6: the home address and the last hop of a type 2 routing header instead, if there are any. */
  exSrc = 0;
  exDst = 0;
  /** Offset of the ports. */
  ports = 0;

  /** Looks at a frame. QEMU: `eth_get_protocols`. */
  parse(frame: Uint8Array): void {
    this.ip = 0;
    this.l4 = 0;
    let at = 12;
    let type = u16(frame, at);
    for (let tags = 0; tags < 2 && (type === ETH_VLAN || type === ETH_DVLAN); tags++) {
      at += 4;
      type = u16(frame, at);
    }
    if (type === ETH_IPV4) this.#parseV4(frame, at + 2);
    else if (type === ETH_IPV6) this.#parseV6(frame, at + 2);
  }

  #parseV4(frame: Uint8Array, at: number): void {
    if (at + 20 > frame.length || (frame[at] as number) >> 4 !== 4) return;
    this.ip = 4;
    this.src = at + 12;
    this.dst = at + 16;
    const fragment = (u16(frame, at + 6) & 0x3fff) !== 0;
    const transport = at + 4 * ((frame[at] as number) & 15);
    if (!fragment) this.#transport(frame, frame[at + 9] as number, transport);
  }

  #parseV6(frame: Uint8Array, at: number): void {
    if (at + IPV6_BYTES > frame.length || (frame[at] as number) >> 4 !== 6) return;
    this.ip = 6;
    this.src = at + 8;
    this.dst = at + 24;
    this.exSrc = this.src;
    this.exDst = this.dst;
    let next = frame[at + 6] as number;
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

  /** A type 2 routing header with a segment left holds the home address of the destination. */
  #routing(frame: Uint8Array, at: number, length: number): void {
    const home = frame[at + 2] === 2 && frame[at + 3] === 1 && length === 24;
    if (home && at + 24 <= frame.length) this.exDst = at + 8;
  }

  /** The home address option of a destination header. */
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

/** Big-endian; what a runt lacks is 0. */
export function u16(frame: Uint8Array, at: number): number {
  return ((frame[at] ?? 0) << 8) | (frame[at + 1] ?? 0);
}
