// A network card in a machine without a processor or a bus.
import type { VirtioState } from '@virtkit/core';
import {
  type NetBackend,
  NetDevice,
  type NetOptions,
  type NetPort,
  type NetState,
  type Packet,
  type PacketMeta,
} from '@virtkit/device-net';
import { BareMachine, type BareOptions, type BareParts } from '@virtkit/lab/bare-machine.ts';

export type { Segment } from '@virtkit/lab/bare-machine.ts';
export type State = VirtioState<BareParts, NetState>;

export interface MachineOptions extends BareOptions {
  readonly net?: Partial<NetOptions>;
}

/** Legacy bit of cards: GSO. */
const GSO = 6;
export const MAC = '52:54:00:12:34:56';
export const MAC_BYTES = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);

/** Keeps what the card sends, and refuses when told to. */
export class Sink implements NetBackend {
  readonly frames: Uint8Array[] = [];
  readonly metas: PacketMeta[] = [];
  readonly pairs: number[] = [];
  /** Packets that it still takes. */
  room = Number.POSITIVE_INFINITY;
  rxReadyCalls = 0;
  offloads: unknown;
  onSend: ((packet: Packet) => void) | undefined;
  onRxReady: ((pair: number) => void) | undefined;
  port: NetPort | undefined;
  attach(port: NetPort): void {
    this.port = port;
  }
  send(packet: Packet): boolean {
    if (this.room === 0) return false;
    this.room--;
    const frame = new Uint8Array(packet.length);
    packet.copyTo(frame);
    this.frames.push(frame);
    const { flags, gsoType, hdrLen, gsoSize, csumStart, csumOffset, outerThOffset, innerNhOffset } = packet;
    this.metas.push({
      flags,
      gsoType,
      hdrLen,
      gsoSize,
      csumStart,
      csumOffset,
      outerThOffset: outerThOffset ?? 0,
      innerNhOffset: innerNhOffset ?? 0,
    });
    this.pairs.push(packet.pair);
    this.onSend?.(packet);
    return true;
  }
  rxReady(pair: number): void {
    this.rxReadyCalls++;
    this.onRxReady?.(pair);
  }
  guestOffloads(offloads: unknown): void {
    this.offloads = offloads;
  }
}

export class Machine extends BareMachine<NetState> {
  readonly sink: Sink;
  readonly card: NetDevice;

  constructor(options: MachineOptions = {}) {
    const sink = new Sink();
    const card = new NetDevice({ backend: sink, mac: MAC, ...options.net });
    super(card, options, [GSO]);
    this.sink = sink;
    this.card = card;
  }

  get controlQueue(): number {
    return this.live.queueCount - 1;
  }

  /** Receive buffers of one segment each. Answers where they are. */
  offer(sizes: readonly number[], pair = 0, kick = true): number[] {
    const at = sizes.map((size) => {
      const addr = this.alloc(size);
      this.ram.fill(0xaa, addr, addr + size);
      this.add(2 * pair, [{ addr, len: size, write: true }]);
      return addr;
    });
    if (kick) this.driver.kick(2 * pair);
    return at;
  }

  /** Header and frame in one segment. */
  transmit(frame: Uint8Array, header: Uint8Array = new Uint8Array(this.headerBytes), pair = 0): number {
    const bytes = new Uint8Array(header.length + frame.length);
    bytes.set(header);
    bytes.set(frame, header.length);
    const id = this.add(2 * pair + 1, [{ addr: this.put(bytes), len: bytes.length }]);
    this.driver.kick(2 * pair + 1);
    return id;
  }

  headerBytes = 12;

  /** A command. Answers the status byte; 0xee: none came. */
  command(group: number, command: number, data: Uint8Array | readonly number[] = [], split = false): number {
    const queue = this.controlQueue;
    const head = this.put(Uint8Array.of(group, command, ...data));
    const ack = this.put(Uint8Array.of(0xee));
    const length = 2 + data.length;
    const step = split ? Math.ceil(length / 30) : length;
    const out = Array.from({ length: Math.ceil(length / step) }, (_, i) => ({
      addr: head + i * step,
      len: Math.min(step, length - i * step),
    }));
    this.add(queue, [...out, { addr: ack, len: 1, write: true }]);
    this.driver.kick(queue);
    this.used(queue);
    return this.ram[ack] as number;
  }

  u16(value: number): number[] {
    const bytes = [value & 0xff, (value >> 8) & 0xff];
    return this.little ? bytes : bytes.reverse();
  }

  u32(value: number): number[] {
    const bytes = [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
    return this.little ? bytes : bytes.reverse();
  }

  read(at: number, length: number): Uint8Array {
    return this.ram.slice(at, at + length);
  }

  config(): Uint8Array {
    return Uint8Array.from({ length: this.driver.config.length }, (_, i) => this.driver.config.read(i, 1));
  }
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export function fromHex(text: string): Uint8Array {
  const digits = text.replaceAll(/\s/g, '');
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) =>
    Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

/** A frame: destination, source, type, and bytes that say where they are from. */
export function frame(length: number, to = 'ffffffffffff', from = '525400aabbcc', seed = 1): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 31) & 0xff);
  bytes.set(fromHex(`${to}${from}88b5`).subarray(0, length));
  return bytes;
}
