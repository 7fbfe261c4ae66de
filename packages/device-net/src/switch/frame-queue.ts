import type { Packet, PacketMeta } from '../live/backend.ts';
import { Header } from '../live/header.ts';
import type { SoftwareOffload } from '../offload/software.ts';

/** Longest buffer, in bytes, that is kept for the next frame when its own has been delivered. */
const KEPT_BYTES = 4096;
const SMALLEST = 2048;

/** Frame in a buffer that is used again. */
export class Frame {
  readonly meta: Header = new Header();
  /** Number of the receive queue pair that the frame is for. */
  pair = 0;
  #buffer: Uint8Array | undefined;
  /** View of the buffer that was made last: most frames are as long as the one before. */
  #view: Uint8Array = new Uint8Array(0);
  readonly #keptBytes: number;

  /** @param keptBytes a buffer of up to so many bytes is kept for the next frame */
  constructor(keptBytes: number = KEPT_BYTES) {
    this.#keptBytes = keptBytes;
  }

  get bytes(): Uint8Array {
    return this.#view;
  }

  set(packet: Packet): void {
    packet.copyTo(this.#room(packet.length));
    copyMeta(packet, this.meta);
  }

  /** Takes the next frame of a packet that is taken apart. */
  write(offload: SoftwareOffload): void {
    offload.write(this.#room(offload.length));
    copyMeta(COMPLETE, this.meta);
  }

  #room(length: number): Uint8Array {
    let buffer = this.#buffer;
    if (buffer === undefined || buffer.length < length) {
      buffer = new Uint8Array(Math.max(SMALLEST, length));
      this.#buffer = buffer;
    }
    if (this.#view.length !== length || this.#view.buffer !== buffer.buffer)
      this.#view = buffer.subarray(0, length);
    return this.#view;
  }

  /** Empties the frame, since its bytes were taken. */
  clear(): void {
    if (this.#buffer === undefined || this.#buffer.length <= this.#keptBytes) return;
    this.#buffer = undefined;
    this.#view = new Uint8Array(0);
  }
}

const COMPLETE = new Header();

function copyMeta(from: PacketMeta, to: Header): void {
  to.flags = from.flags;
  to.gsoType = from.gsoType;
  to.hdrLen = from.hdrLen;
  to.gsoSize = from.gsoSize;
  to.csumStart = from.csumStart;
  to.csumOffset = from.csumOffset;
  to.outerThOffset = from.outerThOffset ?? 0;
  to.innerNhOffset = from.innerNhOffset ?? 0;
}

/** Queue of frames in order, with a largest number of frames and of bytes. */
export class FrameQueue {
  readonly #frames: Frame[] = [];
  readonly #capacity: number;
  readonly #byteLimit: number;
  #first = 0;
  #count = 0;
  #bytes = 0;

  constructor(capacity: number, byteLimit: number) {
    this.#capacity = capacity;
    this.#byteLimit = byteLimit;
  }

  get length(): number {
    return this.#count;
  }

  /** Oldest frame of the queue. */
  get head(): Frame | undefined {
    return this.#count === 0 ? undefined : this.#frames[this.#first];
  }

  /** Copies a packet into the queue; false if there is no room. */
  push(packet: Packet, pair: number): boolean {
    const frame = this.#add(packet.length, pair);
    frame?.set(packet);
    return frame !== undefined;
  }

  /** Writes the next frame of a packet that is taken apart into the queue; false if there is no room. */
  pushNext(offload: SoftwareOffload, pair: number): boolean {
    const frame = this.#add(offload.length, pair);
    frame?.write(offload);
    return frame !== undefined;
  }

  #add(length: number, pair: number): Frame | undefined {
    if (this.#count === this.#capacity || this.#bytes + length > this.#byteLimit) return undefined;
    const index = (this.#first + this.#count) % this.#capacity;
    let frame = this.#frames[index];
    if (frame === undefined) {
      frame = new Frame();
      this.#frames[index] = frame;
    }
    frame.pair = pair;
    this.#count++;
    this.#bytes += length;
    return frame;
  }

  shift(): void {
    const { head } = this;
    if (head === undefined) return;
    this.#bytes -= head.bytes.length;
    head.clear();
    this.#count--;
    // a queue that is mostly empty uses one buffer, and not all of them in turn
    this.#first = this.#count === 0 ? 0 : (this.#first + 1) % this.#capacity;
  }

  clear(): void {
    while (this.#count > 0) this.shift();
  }
}
