// Frames built from their fields, one by one, in the most straightforward way: what the packages make is held against these.
import type { Packet, PacketMeta } from '@virtkit/device-net';
import { FramePacket } from '../src/link/frame-packet.ts';

/** RFC 1071, word by word. */
export function internetChecksum(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += 256 * (bytes[i] ?? 0) + (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

export const be16 = (value: number): number[] => [(value >> 8) & 0xff, value & 0xff];
export const be32 = (value: number): number[] => [...be16(value >>> 16), ...be16(value & 0xffff)];

export interface Ip {
  readonly version: 4 | 6;
  readonly src: readonly number[];
  readonly dst: readonly number[];
  /** IPv4: options, a multiple of 4 bytes. */
  readonly options?: readonly number[];
  /** IPv4: identification, and flags with the fragment's offset. */
  readonly id?: number;
  readonly flags?: number;
  /** IPv6: extension headers, as number of each and its bytes without the first. */
  readonly extensions?: readonly (readonly [number, readonly number[]])[];
  /** 802.1Q tags. */
  readonly tags?: number;
  /** Ethernet addresses: destination, source. */
  readonly macs?: readonly number[];
}

/** A frame around what IP carries. */
export function ipFrame(ip: Ip, protocol: number, body: readonly number[]): number[] {
  const tags = Array.from({ length: ip.tags ?? 0 }, (_, i) => [0x81, 0x00, 0x00, 5 + i]).flat();
  const ethernet = [...(ip.macs ?? [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]), ...tags];
  if (ip.version === 4) {
    const { options = [], id = 0, flags = 0 } = ip;
    const length = 20 + options.length;
    const start = [
      0x40 | (length / 4),
      0x02,
      ...be16(length + body.length),
      ...be16(id),
      ...be16(flags),
      64,
      protocol,
    ];
    const end = [...ip.src, ...ip.dst, ...options];
    const sum = internetChecksum([...start, 0, 0, ...end]);
    return [...ethernet, 0x08, 0x00, ...start, ...be16(sum), ...end, ...body];
  }
  const { extensions = [] } = ip;
  const kinds = [...extensions.map(([kind]) => kind), protocol];
  const chain = extensions.flatMap(([, bytes], i) => [kinds[i + 1] ?? 0, ...bytes]);
  const start = [0x60, 0x12, 0x34, 0x56, ...be16(chain.length + body.length), kinds[0] ?? 0, 64];
  return [...ethernet, 0x86, 0xdd, ...start, ...ip.src, ...ip.dst, ...chain, ...body];
}

/** The pseudo header. RFC 9293 §3.1, RFC 8200 §8.1 */
function pseudo(ip: Ip, protocol: number, length: number): number[] {
  const end = ip.version === 4 ? [0, protocol, ...be16(length)] : [...be32(length), 0, 0, 0, protocol];
  return [...ip.src, ...ip.dst, ...end];
}

export interface Tcp {
  /** Source and destination. */
  readonly ports?: readonly number[];
  readonly seq: number;
  readonly ack?: number;
  readonly flags: number;
  readonly options?: readonly number[];
}

const TCP = 6;
const UDP = 17;

/** The checksum as it should be; or the sum of the pseudo header, as a driver leaves it to the device. */
function withChecksum(ip: Ip, protocol: number, at: number, body: number[], partial: boolean): number[] {
  const front = pseudo(ip, protocol, body.length);
  const sum = partial ? 0xffff - internetChecksum(front) : internetChecksum([...front, ...body]) || 0xffff;
  return [...body.slice(0, at), ...be16(sum), ...body.slice(at + 2)];
}

export function tcpFrame(ip: Ip, tcp: Tcp, payload: readonly number[], partial = false): number[] {
  const { options = [] } = tcp;
  const ports = (tcp.ports ?? [0x1234, 0x50]).flatMap(be16);
  const header = [
    ...ports,
    ...be32(tcp.seq),
    ...be32(tcp.ack ?? 77),
    ((20 + options.length) / 4) << 4,
    tcp.flags,
    0xff,
    0x00,
  ];
  const body = [...header, 0, 0, 0, 0, ...options, ...payload];
  return ipFrame(ip, TCP, withChecksum(ip, TCP, 16, body, partial));
}

/** UDP as it is carried by IP. */
export function udpBody(
  ip: Ip,
  payload: readonly number[],
  partial = false,
  ports: readonly number[] = [0x1234, 0x35],
): number[] {
  const body = [...ports.flatMap(be16), ...be16(8 + payload.length), 0, 0, ...payload];
  return withChecksum(ip, UDP, 6, body, partial);
}

export function udpFrame(
  ip: Ip,
  payload: readonly number[],
  partial = false,
  ports?: readonly number[],
): number[] {
  return ipFrame(ip, UDP, udpBody(ip, payload, partial, ports));
}

/** Bytes before the transport header. */
export function headBytes(ip: Ip): number {
  const extensions = (ip.extensions ?? []).reduce((sum, [, bytes]) => sum + 1 + bytes.length, 0);
  return 14 + 4 * (ip.tags ?? 0) + (ip.version === 4 ? 20 + (ip.options?.length ?? 0) : 40 + extensions);
}

export const plainMeta: PacketMeta = {
  flags: 0,
  gsoType: 0,
  hdrLen: 0,
  gsoSize: 0,
  csumStart: 0,
  csumOffset: 0,
};

export function packetOf(bytes: readonly number[] | Uint8Array, meta: Partial<PacketMeta> = {}): Packet {
  return new FramePacket().set(Uint8Array.from(bytes), { ...plainMeta, ...meta }, 0);
}

/** The same in pieces that begin anywhere in their arrays, as they do in guest memory. */
export function packetInPieces(
  bytes: readonly number[],
  sizes: readonly number[],
  meta: Partial<PacketMeta>,
): Packet {
  const pieces: { bytes: Uint8Array; offset: number; size: number }[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const part = bytes.slice(at, at + (sizes[i % sizes.length] ?? 1));
    pieces.push({
      bytes: Uint8Array.from([...Array(i % 5).fill(0xee), ...part, 0xee]),
      offset: i % 5,
      size: part.length,
    });
    at += part.length;
  }
  const whole = Uint8Array.from(bytes);
  return {
    ...plainMeta,
    ...meta,
    pair: 0,
    length: bytes.length,
    pieces: pieces.length,
    bytes: (i) => pieces[i]?.bytes ?? new Uint8Array(0),
    offset: (i) => pieces[i]?.offset ?? 0,
    size: (i) => pieces[i]?.size ?? 0,
    copyTo: (target, at = 0, from = 0, length = target.length - at) => {
      const part = whole.subarray(from, from + length);
      target.set(part, at);
      return part.length;
    },
  };
}
