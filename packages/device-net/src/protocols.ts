/** Offset of a frame's EtherType, and its values: IEEE 802.3 §3.2.6, IEEE 802.1Q. */
export const ETH_TYPE_OFFSET = 12;
export const ETH_IPV4 = 0x0800;
export const ETH_IPV6 = 0x86dd;
export const ETH_VLAN = 0x8100;
export const ETH_DVLAN = 0x88a8;
/** Mask of a VLAN tag's bits that are the VLAN's id. */
export const VLAN_ID = 0xfff;

/** Length in bytes of an IPv4 header without options, and offsets in it. RFC 791 §3.1 */
export const IPV4_BYTES = 20;
export const IPV4 = { LENGTH: 2, FRAGMENT: 6, PROTOCOL: 9, SOURCE: 12, DESTINATION: 16 } as const;
/** Mask of the IPv4 field at FRAGMENT: the bits that make a packet a part of one, more fragments and offset. */
export const IPV4_FRAGMENT = 0x3fff;

/** Length in bytes of an IPv6 header, and offsets in it. RFC 8200 §3 */
export const IPV6_BYTES = 40;
export const IPV6 = { LENGTH: 4, NEXT: 6, SOURCE: 8, DESTINATION: 24 } as const;
/** Numbers of IPv6's extension headers. RFC 8200 §4 */
export const HOP_BY_HOP = 0;
export const ROUTING = 43;
export const FRAGMENT = 44;
export const DESTINATION = 60;

/** Numbers of protocols, and the bytes of their headers. RFC 9293 §3.1, RFC 768 */
export const PROTO_TCP = 6;
export const PROTO_UDP = 17;
export const TCP_BYTES = 20;
export const UDP_BYTES = 8;
