import type { Spans } from '@virtkit/core/live';
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

/** Length in bytes of the fields that every form of the header has. */
export const HDR_BYTES = 10;
/** Length in bytes of the longest form of the header. */
export const HDR_BYTES_MAX = 24;

const TUNNEL_TYPES = GSO.UDP_TUNNEL_IPV4 | GSO.UDP_TUNNEL_IPV6;

/** Header of a packet: that of a complete frame, until one was read. The object is reused. */
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
    this.gsoType = out.u8(HDR.GSO_TYPE);
    const tunnelled = (this.gsoType & TUNNEL_TYPES) !== 0;
    // Virtio 1.3 §5.1.6.2.2 MUST: other flags are ignored. Nobody hears from a guest that a checksum was validated;
    // of a tunnel that is a mistake, and such a packet goes nowhere
    const known = HDR_FLAG.NEEDS_CSUM | (tunnel ? HDR_FLAG.UDP_TUNNEL_CSUM : 0);
    this.flags = out.u8(HDR.FLAGS) & (tunnelled ? known | HDR_FLAG.DATA_VALID : known);
    this.hdrLen = out.u16(HDR.HDR_LEN, littleEndian);
    this.gsoSize = out.u16(HDR.GSO_SIZE, littleEndian);
    this.csumStart = out.u16(HDR.CSUM_START, littleEndian);
    this.csumOffset = out.u16(HDR.CSUM_OFFSET, littleEndian);
    // Virtio 1.4 §5.1.9.2.2 MUST NOT: without a tunnel these mean nothing
    this.outerThOffset = tunnel && tunnelled ? out.u16(HDR.OUTER_TH_OFFSET, littleEndian) : 0;
    this.innerNhOffset = tunnel && tunnelled ? out.u16(HDR.INNER_NH_OFFSET, littleEndian) : 0;
  }
}

/** Finds the {@link OFFLOAD}s that a packet needs of whoever takes it; -1: no such packet exists. */
export function neededOffloads(meta: PacketMeta): number {
  const { flags, gsoType } = meta;
  let needed = (flags & HDR_FLAG.NEEDS_CSUM) !== 0 ? OFFLOAD.CSUM : 0;
  if ((flags & HDR_FLAG.UDP_TUNNEL_CSUM) !== 0) needed |= OFFLOAD.TUNNEL_CSUM;
  if ((gsoType & GSO.ECN) !== 0) needed |= OFFLOAD.ECN;
  if ((gsoType & TUNNEL_TYPES) !== 0) {
    if (!isTunnel(flags, gsoType)) return -1;
    needed |= OFFLOAD.TUNNEL;
  } else if ((flags & HDR_FLAG.UDP_TUNNEL_CSUM) !== 0) return -1;
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

/** Virtio 1.4 §5.1.9.2.2 MUST NOT, §5.1.9.4.1 MUST NOT: one kind of tunnel, with a checksum that is left, and not validated */
function isTunnel(flags: number, gsoType: number): boolean {
  const checksum = flags & (HDR_FLAG.NEEDS_CSUM | HDR_FLAG.DATA_VALID);
  return checksum === HDR_FLAG.NEEDS_CSUM && (gsoType & TUNNEL_TYPES) !== TUNNEL_TYPES;
}

/** Does the checksum lie in the frame? */
export function checksumFits(meta: PacketMeta, length: number): boolean {
  return meta.csumStart + meta.csumOffset + 2 <= length;
}

/**
 * Computes the Internet checksum from `start` to the end; what stands in its place is part of it (the pseudo header).
 */
export function checksum(frame: Uint8Array, start: number): number {
  return complement(sumWords(frame, start, frame.length));
}
