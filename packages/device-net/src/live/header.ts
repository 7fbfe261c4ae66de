import type { Spans } from '@virtkit/core';
import { complement, sumWords } from '../offload/checksum.ts';
import { GSO, HDR_FLAG, type PacketMeta } from './backend.ts';
import { OFFLOAD } from './offload.ts';

/** Offsets in `struct virtio_net_hdr` and its longer forms. Virtio 1.3 §5.1.6 */
export const HDR = {
  FLAGS: 0,
  GSO_TYPE: 1,
  HDR_LEN: 2,
  GSO_SIZE: 4,
  CSUM_START: 6,
  CSUM_OFFSET: 8,
  NUM_BUFFERS: 10,
  HASH_VALUE: 12,
  HASH_REPORT: 16,
  OUTER_TH_OFFSET: 20,
  INNER_NH_OFFSET: 22,
} as const;

/** Bytes of the fields that every form has. */
export const HDR_BYTES = 10;
/** Bytes of the longest form. */
export const HDR_BYTES_MAX = 24;

/** What a driver can ask for. Everything else it writes there is no word of this card to whoever gets the packet. */
const TX_FLAGS = HDR_FLAG.NEEDS_CSUM | HDR_FLAG.UDP_TUNNEL_CSUM;
const TUNNEL_TYPES = GSO.UDP_TUNNEL_IPV4 | GSO.UDP_TUNNEL_IPV6;

/** The packet that a header speaks of: a complete frame, until a header was read. Reused. */
export class Header implements PacketMeta {
  flags = 0;
  gsoType = 0;
  hdrLen = 0;
  gsoSize = 0;
  csumStart = 0;
  csumOffset = 0;
  outerThOffset = 0;
  innerNhOffset = 0;

  read(out: Spans, tunnel: boolean, littleEndian: boolean): void {
    // Virtio 1.3 §5.1.6.2.2 MUST: other flags are ignored. Nobody hears from a guest that a checksum was validated
    this.flags = out.u8(HDR.FLAGS) & TX_FLAGS;
    this.gsoType = out.u8(HDR.GSO_TYPE);
    this.hdrLen = out.u16(HDR.HDR_LEN, littleEndian);
    this.gsoSize = out.u16(HDR.GSO_SIZE, littleEndian);
    this.csumStart = out.u16(HDR.CSUM_START, littleEndian);
    this.csumOffset = out.u16(HDR.CSUM_OFFSET, littleEndian);
    if (!tunnel) return;
    this.outerThOffset = out.u16(HDR.OUTER_TH_OFFSET, littleEndian);
    this.innerNhOffset = out.u16(HDR.INNER_NH_OFFSET, littleEndian);
  }
}

/** {@link OFFLOAD}s that a packet needs of whoever takes it; -1: no such packet exists. */
export function neededOffloads(meta: PacketMeta): number {
  const { flags, gsoType } = meta;
  let needed = (flags & HDR_FLAG.NEEDS_CSUM) !== 0 ? OFFLOAD.CSUM : 0;
  if ((flags & HDR_FLAG.UDP_TUNNEL_CSUM) !== 0) needed |= OFFLOAD.TUNNEL_CSUM;
  if ((gsoType & GSO.ECN) !== 0) needed |= OFFLOAD.ECN;
  if ((gsoType & TUNNEL_TYPES) !== 0) needed |= OFFLOAD.TUNNEL;
  switch (gsoType & ~(GSO.ECN | TUNNEL_TYPES)) {
    case GSO.NONE:
      return gsoType === GSO.NONE ? needed : -1;
    case GSO.TCPV4:
      return needed | OFFLOAD.TSO4;
    case GSO.TCPV6:
      return needed | OFFLOAD.TSO6;
    case GSO.UDP:
      return needed | OFFLOAD.UFO;
    case GSO.UDP_L4:
      return needed | OFFLOAD.USO;
    default:
      return -1;
  }
}

/** Does the checksum lie in the frame? */
export function checksumFits(meta: PacketMeta, length: number): boolean {
  return meta.csumStart + meta.csumOffset + 2 <= length;
}

/** The Internet checksum from `start` to the end; what stands in its place is part of it (the pseudo header). */
export function checksum(frame: Uint8Array, start: number): number {
  return complement(sumWords(frame, start, frame.length));
}
