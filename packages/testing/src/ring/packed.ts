import type { Allocator, GuestRam } from '../ram.ts';
import { DriverError } from '../spec.ts';
import { Outstanding, writableBytes } from './entry.ts';
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
const AVAIL = 1 << 7;
const USED = 1 << 15;
const EVENT_ENABLE = 0;
const EVENT_DISABLE = 1;
const EVENT_DESC = 2;
/** Number in the id field of descriptors where it has no meaning. */
const NO_ID = 0xdead;

/** Packed virtqueue at the driver's side, from Virtio 1.3 §2.8. Always little-endian: it came with VERSION_1. */
export class PackedRing<T> implements DriverRing<T> {
  readonly format = 'packed';
  readonly addresses: RingAddresses;
  readonly #ram: GuestRam;
  readonly #memory: Allocator;
  readonly #options: RingOptions;
  readonly #out: Outstanding<T>;
  readonly #ids: number[];
  readonly #tables = new Map<number, { readonly at: number; readonly entries: number }>();
  readonly #ready: Used<T>[] = [];
  /** First descriptors of requests that were added: their flags make them visible. */
  #added: { readonly at: number; readonly flags: number }[] = [];
  #free: number;
  #availIdx = 0;
  #availWrap = true;
  #usedIdx = 0;
  #usedWrap = true;
  /** Number of descriptors made available since the device was asked last whether it wants a kick. */
  #slotsAdded = 0;

  constructor(memory: Allocator, options: RingOptions) {
    const { size } = options;
    this.#ram = memory.ram;
    this.#memory = memory;
    this.#options = options;
    this.#out = new Outstanding(options.inOrder);
    this.#free = size;
    this.#ids = Array.from({ length: size }, (_, i) => size - 1 - i);
    this.addresses = {
      size,
      desc: memory.alloc(16 * size, 16),
      driver: memory.alloc(4, 4),
      device: memory.alloc(4, 4),
    };
  }

  get outstanding(): number {
    return this.#out.size + this.#ready.length;
  }

  get free(): number {
    return this.#free;
  }

  add(buffers: readonly Buffer[], token: T, indirect = false): boolean {
    if (indirect && !this.#options.indirect) throw new DriverError('INDIRECT_DESC was not negotiated');
    const writable = writableBytes(buffers);
    const needed = indirect ? 1 : buffers.length;
    if (needed === 0 || needed > this.#free) return false;
    const id = this.#ids.pop();
    if (id === undefined) return false;
    const pieces = indirect ? [this.#table(id, buffers)] : buffers;
    this.#added.push({
      at: this.addresses.desc + 16 * this.#availIdx,
      flags: this.#flags(pieces, 0, indirect),
    });
    const descriptors = pieces.map((piece, i) => {
      const slot = this.#availIdx;
      const last = i + 1 === pieces.length;
      this.#writeDescriptor(slot, piece, last ? id : NO_ID);
      if (i > 0)
        this.#ram.setU16(this.addresses.desc + 16 * slot + 14, this.#flags(pieces, i, indirect), true);
      this.#stepAvail();
      return slot;
    });
    this.#free -= needed;
    this.#slotsAdded += needed;
    this.#out.add({ token, id, descriptors, writable });
    return true;
  }

  publish(): boolean {
    // Virtio 1.3 §2.8.6: the first descriptor of what is made available becomes visible last
    for (const { at, flags } of this.#added.reverse()) this.#ram.setU16(at + 14, flags, true);
    this.#added = [];
    const count = this.#slotsAdded;
    this.#slotsAdded = 0;
    return count > 0 && this.#wantsKick(count);
  }

  position(): number {
    return this.#availIdx | (this.#availWrap ? 0x8000 : 0);
  }

  take(): Used<T> | undefined {
    if (this.#ready.length === 0) this.#collect();
    return this.#ready.shift();
  }

  enableInterrupts(): boolean {
    const { driver } = this.addresses;
    if (this.#options.eventIdx) {
      this.#ram.setU16(driver, this.#usedIdx | (this.#usedWrap ? 0x8000 : 0), true);
      this.#ram.setU16(driver + 2, EVENT_DESC, true);
    } else {
      this.#ram.setU16(driver + 2, EVENT_ENABLE, true);
    }
    return this.#ready.length > 0 || this.#isUsed();
  }

  disableInterrupts(): void {
    this.#ram.setU16(this.addresses.driver + 2, EVENT_DISABLE, true);
  }

  #wantsKick(count: number): boolean {
    const { device } = this.addresses;
    const flags = this.#ram.u16(device + 2, true);
    if (flags !== EVENT_DESC) return flags !== EVENT_DISABLE;
    const event = this.#ram.u16(device, true);
    const sameWrap = ((event & 0x8000) !== 0) === this.#availWrap;
    const position = (event & 0x7fff) - (sameWrap ? 0 : this.#options.size);
    return passed(position & 0xffff, this.#availIdx, (this.#availIdx - count) & 0xffff);
  }

  #flags(pieces: readonly Buffer[], i: number, indirect: boolean): number {
    const more = i + 1 < pieces.length ? NEXT : 0;
    const write = pieces[i]?.writable === true ? WRITE : 0;
    return more | write | (indirect ? INDIRECT : 0) | (this.#availWrap ? AVAIL : USED);
  }

  #stepAvail(): void {
    this.#availIdx++;
    if (this.#availIdx < this.#options.size) return;
    this.#availIdx = 0;
    this.#availWrap = !this.#availWrap;
  }

  #writeDescriptor(slot: number, { address, length }: Buffer, id: number): void {
    const at = this.addresses.desc + 16 * slot;
    this.#ram.setU64(at, address, true);
    this.#ram.setU32(at + 8, length, true);
    this.#ram.setU16(at + 12, id, true);
  }

  /** Has the device used the descriptor at the driver's position? Virtio 1.3 §2.8.1 */
  #isUsed(): boolean {
    if (this.#out.size === 0) return false;
    const flags = this.#ram.u16(this.addresses.desc + 16 * this.#usedIdx + 14, true);
    return ((flags & AVAIL) !== 0) === this.#usedWrap && ((flags & USED) !== 0) === this.#usedWrap;
  }

  #collect(): void {
    if (!this.#isUsed()) return;
    const at = this.addresses.desc + 16 * this.#usedIdx;
    // whether WRITE is set here says if something was written; QEMU never sets it, and drivers read the length all the same
    const batch = this.#out.take(this.#ram.u16(at + 12, true), this.#ram.u32(at + 8, true));
    for (const { entry, used } of batch) {
      this.#ids.push(entry.id);
      this.#free += entry.descriptors.length;
      this.#usedIdx += entry.descriptors.length;
      if (this.#usedIdx >= this.#options.size) {
        this.#usedIdx -= this.#options.size;
        this.#usedWrap = !this.#usedWrap;
      }
      this.#ready.push(used);
    }
  }

  /** Writes a request into a table of its own; answers the table as a buffer. */
  #table(id: number, buffers: readonly Buffer[]): Buffer {
    let table = this.#tables.get(id);
    if (table === undefined || table.entries < buffers.length) {
      table = { at: this.#memory.alloc(16 * buffers.length), entries: buffers.length };
      this.#tables.set(id, table);
    }
    for (const [i, { address, length, writable }] of buffers.entries()) {
      const at = table.at + 16 * i;
      this.#ram.setU64(at, address, true);
      this.#ram.setU32(at + 8, length, true);
      this.#ram.setU16(at + 12, NO_ID, true);
      this.#ram.setU16(at + 14, writable ? WRITE : 0, true);
    }
    return { address: table.at, length: 16 * buffers.length, writable: false };
  }
}
