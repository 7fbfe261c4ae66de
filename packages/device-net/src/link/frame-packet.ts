import type { Packet, PacketMeta } from '../live/backend.ts';
import { Header } from '../live/header.ts';

/**
 * Packet of a frame in one piece, to be sent into a switch's port. Reused: who takes it copies it before `send`
 * returns.
 */
export class FramePacket extends Header implements Packet {
  pair = 0;
  readonly pieces = 1;
  #frame: Uint8Array = new Uint8Array(0);

  /** @param meta left out: a complete frame */
  set(frame: Uint8Array, meta: PacketMeta | undefined, pair: number): this {
    this.#frame = frame;
    this.pair = pair;
    this.flags = meta?.flags ?? 0;
    this.gsoType = meta?.gsoType ?? 0;
    this.hdrLen = meta?.hdrLen ?? 0;
    this.gsoSize = meta?.gsoSize ?? 0;
    this.csumStart = meta?.csumStart ?? 0;
    this.csumOffset = meta?.csumOffset ?? 0;
    this.outerThOffset = meta?.outerThOffset ?? 0;
    this.innerNhOffset = meta?.innerNhOffset ?? 0;
    return this;
  }

  get length(): number {
    return this.#frame.length;
  }

  bytes(): Uint8Array {
    return this.#frame;
  }

  /** Offset in its array, in bytes, at which the frame begins. */
  offset(): number {
    return 0;
  }

  /** Length of the frame in bytes. */
  size(): number {
    return this.#frame.length;
  }

  copyTo(target: Uint8Array, at = 0, from = 0, length: number = target.length - at): number {
    const source = this.#frame;
    const count = Math.max(0, Math.min(length, source.length - from));
    if (from === 0 && count === source.length) target.set(source, at);
    else target.set(source.subarray(from, from + count), at);
    return count;
  }
}
