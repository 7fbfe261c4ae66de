import type { GuestRam } from '../ram.ts';
import { F_VERSION_1 } from '../spec.ts';
import { NET_F } from './net-features.ts';

/** Header in front of each frame, `struct virtio_net_hdr`. Virtio 1.3 §5.1.6 */
export interface NetHeader {
  /** Bits of `HDR_FLAG`. Virtio 1.3 §5.1.6 */
  readonly flags: number;
  /** Kind of segmentation: a number of `GSO`. */
  readonly gsoType: number;
  /** Length in bytes of all headers of a frame that is segmented. */
  readonly hdrLen: number;
  /** Largest number of payload bytes of a segment. */
  readonly gsoSize: number;
  /** Offset in the frame from which on bytes go into the checksum. */
  readonly csumStart: number;
  /** Offset of the checksum's place behind {@link csumStart}. */
  readonly csumOffset: number;
  /** Number of buffers of the frame, in headers of 12 bytes and more. */
  readonly numBuffers: number;
  /** Hash of the frame, in headers of 20 bytes: HASH_REPORT. */
  readonly hashValue: number;
  /** Kind of the hash: which parts of the frame it was made from. Virtio 1.3 §5.1.6.4.4 */
  readonly hashReport: number;
}

/** Finds the length of the header in bytes: 10 for legacy drivers without MRG_RXBUF, else 12; 20 with HASH_REPORT. */
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
