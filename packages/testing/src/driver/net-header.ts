import type { GuestRam } from '../ram.ts';
import { F_VERSION_1 } from '../spec.ts';
import { NET_F } from './net-features.ts';

/** `struct virtio_net_hdr`. Virtio 1.3 §5.1.6 */
export interface NetHeader {
  /** Bits of `HDR_FLAG`. Virtio 1.3 §5.1.6 */
  readonly flags: number;
  /** How the frame is segmented: a number of `GSO`. */
  readonly gsoType: number;
  /** Bytes of all headers of a frame that is segmented. */
  readonly hdrLen: number;
  /** Most payload bytes of a segment. */
  readonly gsoSize: number;
  /** From here to the end goes into the checksum. */
  readonly csumStart: number;
  /** Behind {@link csumStart}: where the checksum goes. */
  readonly csumOffset: number;
  /** 12 bytes and more. */
  readonly numBuffers: number;
  /** 20 bytes: HASH_REPORT. */
  readonly hashValue: number;
  /** Which parts of the frame the hash was made from. Virtio 1.3 §5.1.6.4.4 */
  readonly hashReport: number;
}

/** 10 bytes for legacy drivers without MRG_RXBUF, else 12; 20 with HASH_REPORT. */
export function headerLength(has: (bit: number) => boolean): number {
  if (has(NET_F.HASH_REPORT)) return 20;
  return has(F_VERSION_1) || has(NET_F.MRG_RXBUF) ? 12 : 10;
}

export function writeHeader(
  ram: GuestRam,
  at: number,
  header: Partial<NetHeader>,
  length: number,
  littleEndian: boolean,
): void {
  ram.fill(at, length, 0);
  ram.setU8(at, header.flags ?? 0);
  ram.setU8(at + 1, header.gsoType ?? 0);
  ram.setU16(at + 2, header.hdrLen ?? 0, littleEndian);
  ram.setU16(at + 4, header.gsoSize ?? 0, littleEndian);
  ram.setU16(at + 6, header.csumStart ?? 0, littleEndian);
  ram.setU16(at + 8, header.csumOffset ?? 0, littleEndian);
  // Virtio 1.3 §5.1.6.2.1 MUST: num_buffers is 0 on the way out
}

export function readHeader(bytes: Uint8Array, length: number, littleEndian: boolean): NetHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, length);
  return {
    flags: view.getUint8(0),
    gsoType: view.getUint8(1),
    hdrLen: view.getUint16(2, littleEndian),
    gsoSize: view.getUint16(4, littleEndian),
    csumStart: view.getUint16(6, littleEndian),
    csumOffset: view.getUint16(8, littleEndian),
    numBuffers: length >= 12 ? view.getUint16(10, littleEndian) : 1,
    hashValue: length >= 20 ? view.getUint32(12, littleEndian) : 0,
    hashReport: length >= 20 ? view.getUint16(16, littleEndian) : 0,
  };
}
