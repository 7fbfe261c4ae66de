import type { Buffer, Used } from '../ring/ring.ts';
import { bits, DriverError, F_ANY_LAYOUT, F_VERSION_1 } from '../spec.ts';
import { CTRL, CtrlQueue, type CtrlRequest } from './net-ctrl.ts';
import { NET_DRIVER_FEATURES, NET_F } from './net-features.ts';
import { headerLength, type NetHeader, readHeader, writeHeader } from './net-header.ts';
import { type DriverSetup, VirtioDriver } from './virtio.ts';

const NET_ID = 1;
/** Length in bytes of the largest frame without offloads, Virtio 1.3 §5.1.6.3.1 */
const FRAME_MAX = 1514;
/** Length in bytes of the largest packet with segmentation offload. */
const PACKET_MAX = 65_550;
const POLLS = 1000;
/** Bit of the configuration's status field that asks for announcements. */
const ANNOUNCE = 2;

/** Frame that arrived. */
export interface Received {
  /** Bytes of the frame, without the header. */
  readonly frame: Uint8Array;
  /** Header that the device wrote. */
  readonly header: NetHeader;
  /** Number of the receive queue pair. */
  readonly pair: number;
  /** Number of buffers that the frame took. */
  readonly buffers: number;
}

/** Options of a network driver. */
export interface NetDriverOptions {
  /** Number of receive buffers kept in each queue. */
  readonly rxBuffers?: number;
  /** Length in bytes of a receive buffer with MRG_RXBUF; without it, what the largest packet needs. */
  readonly rxBytes?: number;
  /** True for header and frame in one segment: needs ANY_LAYOUT or VERSION_1. */
  readonly joined?: boolean;
  /** Number of queue pairs that the driver sets up, if the device has as many. */
  readonly pairs?: number;
}

/** Frame on its way out. */
export interface Sent {
  /** Bytes of the frame, without the header. */
  readonly frame: Uint8Array;
  /** True if the device has given the frame's buffers back. */
  done: boolean;
}

interface RxBuffer {
  readonly at: number;
  readonly length: number;
  readonly pair: number;
}

interface TxBuffer {
  readonly at: number;
  readonly sent: Sent;
  readonly pair: number;
}

/** Guest driver for virtio-net. Virtio 1.3 §5.1 */
export class NetDriver {
  /** Part of the driver that all device types have. */
  readonly virtio: VirtioDriver;
  readonly #options: NetDriverOptions;
  /** Frames that came, oldest first. Take them out. */
  readonly received: Received[] = [];
  /** Pieces of a frame that is still arriving, by pair. */
  readonly #partial = new Map<number, { readonly pieces: Uint8Array[]; readonly header: NetHeader }>();
  readonly #rxPool: RxBuffer[] = [];
  readonly #txPool: number[] = [];
  readonly #waiting: { readonly sent: Sent; readonly header: Partial<NetHeader>; readonly pair: number }[] =
    [];
  #ctrl: CtrlQueue | undefined;
  #headerLength = 10;
  readonly #sending = new Set<TxBuffer>();
  /** Number of queue pairs in use. */
  pairs = 1;
  /** Number of queue pairs that the device has; 1 without MQ. */
  maxPairs = 1;
  /** Number of interrupts for a change of the configuration so far. */
  configChanges = 0;
  /** True if the configuration changed: the card may want to be announced. */
  #announce = false;
  #announced: CtrlRequest | undefined;
  /** False if received frames are taken, and no buffers put in their place. */
  refill = true;

  constructor(setup: DriverSetup, options: NetDriverOptions = {}) {
    this.#options = options;
    this.virtio = new VirtioDriver(
      { features: NET_DRIVER_FEATURES, ...setup },
      {
        used: (queue, used) => this.#used(queue, used),
        configChanged: () => {
          this.configChanges++;
          this.#announce = true;
        },
      },
    );
  }

  /** Finds the device. @throws DriverError if it is of another type */
  probe(): void {
    this.virtio.probe(NET_ID);
  }

  /** Brings the device up, from reset to running, with receive buffers in place. */
  start(): void {
    const { virtio } = this;
    this.#announce = false;
    this.#announced = undefined;
    this.#partial.clear();
    this.#waiting.length = 0;
    this.#txPool.length = 0;
    this.#rxPool.length = 0;
    this.#sending.clear();
    virtio.negotiate();
    this.#headerLength = headerLength((bit) => virtio.has(bit));
    const many = virtio.has(NET_F.MQ) || virtio.has(NET_F.RSS);
    this.maxPairs = many ? this.u16(8) : 1;
    this.pairs = Math.min(this.maxPairs, this.#options.pairs ?? this.maxPairs);
    for (let pair = 0; pair < this.pairs; pair++) {
      virtio.addQueue(2 * pair);
      virtio.addQueue(2 * pair + 1);
    }
    this.#ctrl = undefined;
    if (virtio.has(NET_F.CTRL_VQ)) {
      this.#ctrl = new CtrlQueue(virtio, 2 * this.maxPairs);
      virtio.addQueue(2 * this.maxPairs);
    }
    for (let pair = 0; pair < this.pairs; pair++) this.#fill(pair);
    virtio.ready();
    for (let pair = 0; pair < this.pairs; pair++) virtio.kick(2 * pair);
    if (this.pairs > 1) this.#activatePairs();
  }

  /** Asks for the pairs in use: after a reset the device uses one. Virtio 1.3 §5.1.6.5.5 */
  #activatePairs(): void {
    const data = new Uint8Array(2);
    new DataView(data.buffer).setUint16(0, this.pairs, this.virtio.littleEndian);
    const request = this.ctrl(CTRL.mq, CTRL.mqPairsSet, data);
    // control commands are waited for, as drivers do
    for (let polls = 0; request.ack === undefined; polls++) {
      if (polls === POLLS) throw new DriverError('a command is never answered');
      this.virtio.collect(2 * this.maxPairs);
    }
    if (request.ack !== 0) throw new DriverError(`${this.pairs} queue pairs were refused`);
  }

  /** Number of frames that were not sent yet, and of commands not answered. */
  get pending(): number {
    return this.#sending.size + this.#waiting.length + (this.#ctrl?.pending ?? 0);
  }

  /** Length in bytes of the header in front of each frame, which depends on the features. */
  get headerBytes(): number {
    return this.#headerLength;
  }

  /** Address of the card, 6 bytes, as the configuration has it. */
  get mac(): Uint8Array {
    return this.virtio.transport.config(0, 6);
  }

  /** Status of the card: 1 link up, 2 announce. */
  get status(): number {
    return this.virtio.has(NET_F.STATUS) ? this.u16(6) : 1;
  }

  /** Reads a 16-bit field of the configuration space. */
  u16(offset: number): number {
    const bytes = this.virtio.transport.config(offset, 2);
    return new DataView(bytes.buffer, bytes.byteOffset, 2).getUint16(0, this.virtio.littleEndian);
  }

  /** Sends a frame; what the header leaves out is 0. */
  send(frame: Uint8Array, header: Partial<NetHeader> = {}, pair = 0): Sent {
    const sent: Sent = { frame, done: false };
    if (this.#waiting.length > 0 || !this.#transmit(sent, header, pair))
      this.#waiting.push({ sent, header, pair });
    else this.virtio.kick(2 * pair + 1);
    return sent;
  }

  /** Sends a command on the control queue. */
  ctrl(type: number, command: number, data: Uint8Array): CtrlRequest {
    if (this.#ctrl === undefined) throw new DriverError('CTRL_VQ was not negotiated');
    return this.#ctrl.send(type, command, data);
  }

  /**
   * Resets a receive or transmit queue and sets it up anew. Answers the frames that may not have been sent; what had
   * arrived in the old ring and was not looked at is lost.
   */
  resetQueue(queue: number, size?: number): Sent[] {
    this.virtio.resetQueue(queue, size);
    const pair = queue >> 1;
    if (queue % 2 === 0) {
      this.#partial.delete(pair);
      this.#fill(pair);
      this.virtio.kick(queue);
      return [];
    }
    const lost: Sent[] = [];
    for (const buffer of this.#sending) {
      if (buffer.pair !== pair) continue;
      this.#sending.delete(buffer);
      this.#txPool.push(buffer.at);
      lost.push(buffer.sent);
    }
    return lost;
  }

  /** Handles interrupts, refills receive queues, and sends what waited for room. */
  service(): number {
    const count = this.virtio.service();
    this.#answerAnnounce();
    if (this.refill) {
      for (let pair = 0; pair < this.pairs; pair++) {
        this.#fill(pair);
        this.virtio.kick(2 * pair);
      }
    }
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (!this.#transmit(next.sent, next.header, next.pair)) break;
      this.#waiting.shift();
      this.virtio.kick(2 * next.pair + 1);
    }
    return count;
  }

  /**
   * Answers a card that has come to another place and wants to be announced. The frames are the caller's. Virtio 1.3
   * §5.1.6.5.4
   */
  #answerAnnounce(): void {
    if (!this.#announce || !this.virtio.has(NET_F.GUEST_ANNOUNCE) || this.#ctrl === undefined) return;
    if (this.#announced !== undefined && this.#announced.ack === undefined) return;
    this.#announce = false;
    if ((this.status & ANNOUNCE) !== 0)
      this.#announced = this.ctrl(CTRL.announce, CTRL.announceAck, new Uint8Array(0));
  }

  /** Counts the receive buffers that the device has, in one queue. */
  rxOutstanding(pair = 0): number {
    return this.virtio.ring(2 * pair).outstanding;
  }

  #fill(pair: number): void {
    const ring = this.virtio.ring(2 * pair);
    const wanted = Math.min(this.#options.rxBuffers ?? 16, ring.addresses.size);
    while (ring.outstanding < wanted) {
      const index = this.#rxPool.findIndex((buffer) => buffer.pair === pair);
      const buffer = (index < 0 ? undefined : this.#rxPool.splice(index, 1)[0]) ?? this.#newRxBuffer(pair);
      this.virtio.ram.fill(buffer.at, buffer.length, 0xa5);
      if (this.virtio.add(2 * pair, this.#pieces(buffer.at, buffer.length, true), buffer)) continue;
      this.#rxPool.push(buffer);
      return;
    }
  }

  #newRxBuffer(pair: number): RxBuffer {
    const { virtio } = this;
    const offloads = [NET_F.GUEST_TSO4, NET_F.GUEST_TSO6, NET_F.GUEST_UFO].some((bit) => virtio.has(bit));
    const whole = (offloads ? PACKET_MAX : FRAME_MAX) + this.#headerLength;
    const length = virtio.has(NET_F.MRG_RXBUF) ? (this.#options.rxBytes ?? whole) : whole;
    return { at: virtio.memory.alloc(length, 16), length, pair };
  }

  /** Cuts a buffer: header apart from the rest, unless the driver was told to join them and may. */
  #pieces(at: number, length: number, writable: boolean): Buffer[] {
    const { virtio } = this;
    const may = virtio.has(F_VERSION_1) || virtio.has(F_ANY_LAYOUT);
    // Virtio 1.3 §5.1.6.3.1: with MRG_RXBUF a buffer is one piece for frame bytes, whatever its descriptors are
    const joined = may && (this.#options.joined === true || (writable && virtio.has(NET_F.MRG_RXBUF)));
    if (joined || length <= this.#headerLength) return [{ address: at, length, writable }];
    return [
      { address: at, length: this.#headerLength, writable },
      { address: at + this.#headerLength, length: length - this.#headerLength, writable },
    ];
  }

  #transmit(sent: Sent, header: Partial<NetHeader>, pair: number): boolean {
    const { virtio } = this;
    const length = this.#headerLength + sent.frame.length;
    if (length > PACKET_MAX) throw new RangeError(`a frame of ${sent.frame.length} bytes`);
    const room = Math.max(length, FRAME_MAX + 20);
    // frames beyond the usual have memory of their own, for good
    if (this.#sending.size > 0 && this.#txPool.length === 0 && !virtio.memory.fits(room)) return false;
    const at =
      length <= FRAME_MAX + 20
        ? (this.#txPool.pop() ?? virtio.memory.alloc(room))
        : virtio.memory.alloc(room);
    writeHeader(virtio.ram, at, header, this.#headerLength, virtio.littleEndian);
    virtio.ram.write(at + this.#headerLength, sent.frame);
    const buffer: TxBuffer = { at, sent, pair };
    if (!virtio.add(2 * pair + 1, this.#pieces(at, length, false), buffer)) {
      this.#txPool.push(at);
      return false;
    }
    this.#sending.add(buffer);
    return true;
  }

  #used(queue: number, used: Used<unknown>): void {
    if (queue === 2 * this.maxPairs && this.#ctrl !== undefined) this.#ctrl.finish(used);
    else if (queue % 2 === 0) this.#receive(used.token as RxBuffer, used.written);
    else {
      const { at, sent } = used.token as TxBuffer;
      if (sent.done) throw new DriverError('a frame came back twice');
      sent.done = true;
      this.#sending.delete(used.token as TxBuffer);
      this.#txPool.push(at);
    }
  }

  #receive(buffer: RxBuffer, written: number): void {
    const { virtio } = this;
    const bytes = virtio.ram.read(buffer.at, written);
    this.#rxPool.push(buffer);
    const partial = this.#partial.get(buffer.pair);
    if (partial === undefined) {
      if (written < this.#headerLength) throw new DriverError(`${written} bytes are no header`);
      const header = readHeader(bytes, this.#headerLength, virtio.littleEndian);
      this.#partial.set(buffer.pair, { header, pieces: [bytes.subarray(this.#headerLength)] });
    } else {
      partial.pieces.push(bytes);
    }
    const now = this.#partial.get(buffer.pair);
    const expected = virtio.has(NET_F.MRG_RXBUF) ? (now?.header.numBuffers ?? 1) : 1;
    if (now === undefined || now.pieces.length < expected) return;
    this.#partial.delete(buffer.pair);
    this.received.push({
      frame: join(now.pieces),
      header: now.header,
      pair: buffer.pair,
      buffers: now.pieces.length,
    });
  }
}

function join(pieces: readonly Uint8Array[]): Uint8Array {
  const frame = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    frame.set(piece, at);
    at += piece.length;
  }
  return frame;
}

/** Makes the feature bits for {@link DriverSetup.features}. */
export function netFeatures(...names: readonly (keyof typeof NET_F)[]): bigint {
  return bits(...names.map((name) => NET_F[name]));
}
