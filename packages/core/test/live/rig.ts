// A ring in memory, written by hand: what a driver would have put there, byte by byte.
import type { Facts } from '@virtkit/vmstate';
import type { Gpa } from '../../src/contract/memory.ts';
import type { Chain, Spans, Virtqueue } from '../../src/contract/queue.ts';
import { MappedMemory } from '../../src/live/memory.ts';
import { PackedQueue } from '../../src/live/packed-queue.ts';
import { freshIndices, type QueueOwner, type QueueSetup, type RingIndices } from '../../src/live/ring.ts';
import { SplitQueue } from '../../src/live/split-queue.ts';

export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;
/** Flags of packed rings. */
export const AVAIL_BIT = 0x80;
export const USED_BIT = 0x8000;

export interface Fault {
  readonly reason: string;
  readonly facts: Facts;
}

/** The device that a queue belongs to: notes what it is told. A fault breaks it. */
export class Owner implements QueueOwner {
  broken = false;
  disabled = false;
  paused = false;
  readonly faults: Fault[] = [];
  interrupts = 0;

  get live(): boolean {
    return !this.broken && !this.disabled && !this.paused;
  }

  fault(reason: string, facts: Facts = {}): void {
    this.faults.push({ reason, facts });
    this.broken = true;
  }

  interrupt(): void {
    this.interrupts++;
  }
}

export interface RigOptions {
  size?: number;
  desc?: number;
  avail?: number;
  used?: number;
  littleEndian?: boolean;
  eventIdx?: boolean;
  inOrder?: boolean;
  notifyOnEmpty?: boolean;
  indices?: Partial<RingIndices>;
  memory?: MappedMemory;
}

/** Layout of the tests: descriptors, driver's and device's part on pages 1 to 3, buffers from page 16 on. */
export class Rig {
  readonly owner = new Owner();
  readonly memory: MappedMemory;
  readonly setup: QueueSetup;
  readonly little: boolean;

  constructor(options: RigOptions = {}) {
    const { size = 8, desc = 0x1000, avail = 0x2000, used = 0x3000 } = options;
    this.memory = options.memory ?? new MappedMemory([{ gpa: 0, bytes: new Uint8Array(0x40000) }]);
    this.little = options.littleEndian ?? true;
    this.setup = {
      index: 0,
      size,
      desc: desc as Gpa,
      avail: avail as Gpa,
      used: used as Gpa,
      memory: this.memory,
      littleEndian: this.little,
      indirect: true,
      eventIdx: options.eventIdx ?? false,
      inOrder: options.inOrder ?? false,
      notifyOnEmpty: options.notifyOnEmpty ?? false,
      indices: { ...freshIndices(), ...options.indices },
      owner: this.owner,
    };
  }

  split(): SplitQueue {
    return new SplitQueue(this.setup);
  }

  packed(): PackedQueue {
    return new PackedQueue(this.setup);
  }

  put16(gpa: number, value: number): void {
    this.memory.writeU16(gpa as Gpa, value, this.little);
  }

  put32(gpa: number, value: number): void {
    this.memory.writeU32(gpa as Gpa, value, this.little);
  }

  get16(gpa: number): number {
    return this.memory.readU16(gpa as Gpa, this.little);
  }

  get32(gpa: number): number {
    return this.memory.readU32(gpa as Gpa, this.little);
  }

  put64(gpa: number, value: number | bigint): void {
    const low = Number(BigInt(value) & 0xffffffffn);
    const high = Number((BigInt(value) >> 32n) & 0xffffffffn);
    this.put32(gpa, this.little ? low : high);
    this.put32(gpa + 4, this.little ? high : low);
  }

  /** Split descriptor, or packed with `last` as flags: the two 16-bit fields are given in the order of memory. */
  desc(table: number, i: number, addr: number | bigint, length: number, third: number, last: number): void {
    const at = table + 16 * i;
    this.put64(at, addr);
    this.put32(at + 8, length);
    this.put16(at + 12, third);
    this.put16(at + 14, last);
  }

  /** Split: makes a head available. */
  offer(head: number): void {
    const { avail, size } = this.setup;
    const index = this.get16(avail + 2);
    this.put16(avail + 4 + 2 * (index % size), head);
    this.put16(avail + 2, (index + 1) & 0xffff);
  }

  bytes(gpa: number, length: number): number[] {
    const target = new Uint8Array(length);
    this.memory.read(gpa as Gpa, target);
    return [...target];
  }
}

/** Offset and length of each piece. */
export const pieces = (spans: Spans): [number, number][] =>
  Array.from({ length: spans.count }, (_, i) => [spans.offset(i), spans.length(i)]);

/** The next chain, which must be there. */
export function popped(queue: Virtqueue): Chain {
  const chain = queue.pop();
  if (chain === undefined) throw new Error('no chain');
  return chain;
}
