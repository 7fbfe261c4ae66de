import type { Allocator, GuestRam } from '../ram.ts';
import { DriverError } from '../spec.ts';
import { type Entry, Outstanding, writableBytes } from './entry.ts';
import {
  type Buffer,
  type DriverRing,
  passed,
  type RingAddresses,
  type RingOptions,
  type Used,
} from './ring.ts';

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const AVAIL_NO_INTERRUPT = 1;
const USED_NO_NOTIFY = 1;

/** Split virtqueue at the driver's side, from Virtio 1.3 §2.7. */
export class SplitRing<T> implements DriverRing<T> {
  readonly format = 'split';
  readonly addresses: RingAddresses;
  readonly #ram: GuestRam;
  readonly #memory: Allocator;
  readonly #options: RingOptions;
  readonly #out: Outstanding<T>;
  readonly #freeList: number[];
  readonly #tables = new Map<number, { readonly at: number; readonly entries: number }>();
  /** Requests that came back together with another (IN_ORDER) and were not taken yet. */
  readonly #ready: Used<T>[] = [];
  #availIdx = 0;
  #publishedIdx = 0;
  #usedIdx = 0;

  constructor(memory: Allocator, options: RingOptions) {
    const { size, legacyAlign } = options;
    if (size < 1 || (size & (size - 1)) !== 0) throw new RangeError(`a split ring of ${size} entries`);
    this.#ram = memory.ram;
    this.#memory = memory;
    this.#options = options;
    this.#out = new Outstanding(options.inOrder);
    // IN_ORDER wants descriptors from 0 up (Virtio 1.3 §2.7.9); otherwise the last one freed is taken first
    this.#freeList = Array.from({ length: size }, (_, i) => (options.inOrder ? i : size - 1 - i));
    this.addresses = layOut(memory, size, legacyAlign);
  }

  get outstanding(): number {
    return this.#out.size + this.#ready.length;
  }

  get free(): number {
    return this.#freeList.length;
  }

  add(buffers: readonly Buffer[], token: T, indirect = false): boolean {
    if (indirect && !this.#options.indirect) throw new DriverError('INDIRECT_DESC was not negotiated');
    const writable = writableBytes(buffers);
    const needed = indirect ? 1 : buffers.length;
    if (needed === 0 || needed > this.#freeList.length) return false;
    const descriptors = this.#takeFree(needed);
    const head = descriptors[0] ?? 0;
    if (indirect) this.#writeTable(head, buffers);
    else this.#writeChain(descriptors, buffers);
    const slot = this.#availIdx & (this.#options.size - 1);
    this.#ram.setU16(this.addresses.driver + 4 + 2 * slot, head, this.#options.littleEndian);
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
    this.#out.add({ token, id: head, descriptors, writable });
    return true;
  }

  publish(): boolean {
    const { eventIdx, littleEndian, size } = this.#options;
    const { driver, device } = this.addresses;
    const before = this.#publishedIdx;
    this.#ram.setU16(driver + 2, this.#availIdx, littleEndian);
    this.#publishedIdx = this.#availIdx;
    if (before === this.#availIdx) return false;
    if (eventIdx) return passed(this.#ram.u16(device + 4 + 8 * size, littleEndian), this.#availIdx, before);
    return (this.#ram.u16(device, littleEndian) & USED_NO_NOTIFY) === 0;
  }

  position(): number {
    return this.#publishedIdx;
  }

  take(): Used<T> | undefined {
    if (this.#ready.length === 0) this.#collect();
    return this.#ready.shift();
  }

  enableInterrupts(): boolean {
    const { eventIdx, littleEndian, size } = this.#options;
    const { driver } = this.addresses;
    if (eventIdx) this.#ram.setU16(driver + 4 + 2 * size, this.#usedIdx, littleEndian);
    else this.#ram.setU16(driver, 0, littleEndian);
    return this.#ready.length > 0 || this.#pending() > 0;
  }

  disableInterrupts(): void {
    const { eventIdx, littleEndian, size } = this.#options;
    const { driver } = this.addresses;
    // with EVENT_IDX the flag is not looked at: ask for an event that lies as far away as can be
    if (eventIdx) this.#ram.setU16(driver + 4 + 2 * size, (this.#usedIdx - 1) & 0xffff, littleEndian);
    else this.#ram.setU16(driver, AVAIL_NO_INTERRUPT, littleEndian);
  }

  /** Counts the elements that the device published and the driver has not looked at. */
  #pending(): number {
    const pending =
      (this.#ram.u16(this.addresses.device + 2, this.#options.littleEndian) - this.#usedIdx) & 0xffff;
    if (pending > this.#out.size)
      throw new DriverError(`used index is ${pending} ahead, ${this.#out.size} requests are out`);
    return pending;
  }

  #collect(): void {
    const pending = this.#pending();
    if (pending === 0) return;
    const { littleEndian, size } = this.#options;
    const at = this.addresses.device + 4 + 8 * (this.#usedIdx & (size - 1));
    const batch = this.#out.take(this.#ram.u32(at, littleEndian), this.#ram.u32(at + 4, littleEndian));
    if (batch.length > pending)
      throw new DriverError(`${batch.length} buffers came back in order, used index says ${pending}`);
    for (const { entry, used } of batch) {
      this.#release(entry);
      this.#ready.push(used);
    }
    this.#usedIdx = (this.#usedIdx + batch.length) & 0xffff;
  }

  #takeFree(count: number): number[] {
    const { inOrder } = this.#options;
    return Array.from(
      { length: count },
      () => (inOrder ? this.#freeList.shift() : this.#freeList.pop()) ?? 0,
    );
  }

  #release({ descriptors }: Entry<T>): void {
    this.#freeList.push(...(this.#options.inOrder ? descriptors : [...descriptors].reverse()));
  }

  #writeChain(descriptors: readonly number[], buffers: readonly Buffer[]): void {
    buffers.forEach((buffer, i) => {
      const next = descriptors[i + 1];
      const at = this.addresses.desc + 16 * (descriptors[i] ?? 0);
      this.#writeDescriptor(at, buffer, next === undefined ? 0 : NEXT, next ?? 0);
    });
  }

  #writeTable(head: number, buffers: readonly Buffer[]): void {
    const table = this.#table(head, buffers.length);
    buffers.forEach((buffer, i) => {
      const more = i + 1 < buffers.length;
      this.#writeDescriptor(table + 16 * i, buffer, more ? NEXT : 0, more ? i + 1 : 0);
    });
    const whole = { address: table, length: 16 * buffers.length, writable: false };
    this.#writeDescriptor(this.addresses.desc + 16 * head, whole, INDIRECT, 0);
  }

  #writeDescriptor(at: number, { address, length, writable }: Buffer, flags: number, next: number): void {
    const { littleEndian } = this.#options;
    this.#ram.setU64(at, address, littleEndian);
    this.#ram.setU32(at + 8, length, littleEndian);
    this.#ram.setU16(at + 12, flags | (writable ? WRITE : 0), littleEndian);
    this.#ram.setU16(at + 14, next, littleEndian);
  }

  /** Finds memory for an indirect table, kept for the next request with this head. */
  #table(head: number, entries: number): number {
    const kept = this.#tables.get(head);
    if (kept !== undefined && kept.entries >= entries) return kept.at;
    const at = this.#memory.alloc(16 * entries);
    this.#tables.set(head, { at, entries });
    return at;
  }
}

/** Lays out the parts of a ring. Virtio 1.3 §2.7: sizes and alignments; §2.7.2 for the legacy layout. */
function layOut(memory: Allocator, size: number, legacyAlign?: number): RingAddresses {
  const availBytes = 6 + 2 * size;
  const usedBytes = 6 + 8 * size;
  if (legacyAlign === undefined) {
    return {
      size,
      desc: memory.alloc(16 * size, 16),
      driver: memory.alloc(availBytes, 2),
      device: memory.alloc(usedBytes, 4),
    };
  }
  const front = Math.ceil((16 * size + availBytes) / legacyAlign) * legacyAlign;
  const desc = memory.alloc(front + usedBytes, legacyAlign);
  return { size, desc, driver: desc + 16 * size, device: desc + front };
}
