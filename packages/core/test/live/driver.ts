// The driver's half of a ring, as short as it can be: adds chains, and takes back what was used.
import type { Gpa } from '../../src/contract/memory.ts';
import type { Virtqueue } from '../../src/contract/queue.ts';
import { AVAIL_BIT, INDIRECT, NEXT, type Rig, USED_BIT, WRITE } from './rig.ts';

export interface Buffer {
  readonly addr: number;
  readonly length: number;
  readonly write: boolean;
}

export interface Used {
  readonly id: number;
  readonly length: number;
}

export interface Driver {
  readonly queue: Virtqueue;
  /** Makes a chain available; false if the ring is full. `id` comes back with it. */
  add(buffers: readonly Buffer[], indirect: boolean): number | undefined;
  /** Chains that were used since. */
  take(): Used[];
  /** Asks for an interrupt at once. */
  wantInterrupt(): void;
  /** Notes where the ring stands. Must the device be kicked for what has been added since? */
  kicks(): () => boolean;
}

/** Tables of indirect chains: one page for each id. */
const TABLES = 0x20000;
const SLOTS = 16;

export class SplitDriver implements Driver {
  readonly queue: Virtqueue;
  readonly #rig: Rig;
  readonly #free: number[];
  readonly #heads = new Map<number, number[]>();
  #availIdx: number;
  #usedIdx: number;

  constructor(rig: Rig, start = 0) {
    this.#rig = rig;
    this.#availIdx = start;
    this.#usedIdx = start;
    this.#free = Array.from({ length: rig.setup.size }, (_, i) => i);
    rig.put16(rig.setup.avail + 2, start);
    rig.put16(rig.setup.used + 2, start);
    this.queue = rig.split();
  }

  add(buffers: readonly Buffer[], indirect: boolean): number | undefined {
    const [rig, free] = [this.#rig, this.#free];
    const need = indirect ? 1 : buffers.length;
    if (need > free.length) return undefined;
    const slots = free.splice(0, need);
    const [head] = slots;
    if (head === undefined) return undefined;
    const table = TABLES + head * SLOTS * 16;
    if (indirect) rig.desc(rig.setup.desc, head, table, 16 * buffers.length, INDIRECT, 0);
    buffers.forEach(({ addr, length, write }, i) => {
      const next = indirect ? i + 1 : (slots[i + 1] ?? 0);
      const flags = (write ? WRITE : 0) | (i + 1 < buffers.length ? NEXT : 0);
      rig.desc(indirect ? table : rig.setup.desc, indirect ? i : (slots[i] ?? 0), addr, length, flags, next);
    });
    rig.put16(rig.setup.avail + 4 + 2 * (this.#availIdx % rig.setup.size), head);
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
    rig.put16(rig.setup.avail + 2, this.#availIdx);
    this.#heads.set(head, slots);
    return head;
  }

  take(): Used[] {
    const rig = this.#rig;
    const { used, size } = rig.setup;
    const list: Used[] = [];
    while (this.#usedIdx !== rig.get16(used + 2)) {
      const at = used + 4 + 8 * (this.#usedIdx % size);
      const id = rig.get32(at);
      this.#free.push(...(this.#heads.get(id) ?? []));
      if (!this.#heads.delete(id)) throw new Error(`used ${id} is not in flight`);
      list.push({ id, length: rig.get32(at + 4) });
      this.#usedIdx = (this.#usedIdx + 1) & 0xffff;
    }
    return list;
  }

  wantInterrupt(): void {
    this.#rig.put16(this.#rig.setup.avail + 4 + 2 * this.#rig.setup.size, this.#usedIdx);
  }

  kicks(): () => boolean {
    const rig = this.#rig;
    const old = this.#availIdx;
    const { used, size, eventIdx } = rig.setup;
    return () => {
      if (!eventIdx) return (rig.get16(used) & 1) === 0;
      // Virtio 1.3 §2.7.10: the event is among what was added
      return (
        ((this.#availIdx - rig.get16(used + 4 + 8 * size) - 1) & 0xffff) < ((this.#availIdx - old) & 0xffff)
      );
    };
  }
}

export class PackedDriver implements Driver {
  readonly queue: Virtqueue;
  readonly #rig: Rig;
  readonly #free: number[];
  readonly #slots = new Map<number, number>();
  #room: number;
  #availIdx = 0;
  #availWrap = true;
  #usedIdx = 0;
  #usedWrap = true;

  constructor(rig: Rig) {
    this.#rig = rig;
    this.#room = rig.setup.size;
    this.#free = Array.from({ length: rig.setup.size }, (_, i) => i);
    this.queue = rig.packed();
  }

  add(buffers: readonly Buffer[], indirect: boolean): number | undefined {
    const rig = this.#rig;
    const { desc, size } = rig.setup;
    const need = indirect ? 1 : buffers.length;
    if (need > this.#room) return undefined;
    const id = this.#free.shift();
    if (id === undefined) return undefined;
    const flags = (): number => (this.#availWrap ? AVAIL_BIT : USED_BIT);
    const first = this.#availIdx;
    const firstFlags = flags();
    const table = TABLES + id * SLOTS * 16;
    if (indirect) {
      buffers.forEach(({ addr, length, write }, i) => {
        rig.desc(table, i, addr, length, 0, write ? WRITE : 0);
      });
      rig.desc(desc, first, table, 16 * buffers.length, id, 0);
      rig.put16(desc + 16 * first + 14, firstFlags | INDIRECT);
      this.#step(size);
    } else {
      const kind = ({ write }: Buffer, i: number): number =>
        (write ? WRITE : 0) | (i + 1 < buffers.length ? NEXT : 0);
      buffers.forEach((buffer, i) => {
        const { addr, length } = buffer;
        rig.put64(desc + 16 * this.#availIdx, addr);
        rig.put32(desc + 16 * this.#availIdx + 8, length);
        rig.put16(desc + 16 * this.#availIdx + 12, id);
        if (i > 0) rig.put16(desc + 16 * this.#availIdx + 14, flags() | kind(buffer, i));
        this.#step(size);
      });
      // the first one makes the chain available
      const [buffer] = buffers;
      if (buffer !== undefined) rig.put16(desc + 16 * first + 14, firstFlags | kind(buffer, 0));
    }
    this.#room -= need;
    this.#slots.set(id, need);
    return id;
  }

  #step(size: number): void {
    this.#availIdx++;
    if (this.#availIdx < size) return;
    this.#availIdx = 0;
    this.#availWrap = !this.#availWrap;
  }

  take(): Used[] {
    const rig = this.#rig;
    const { desc, size } = rig.setup;
    const list: Used[] = [];
    for (;;) {
      const at = desc + 16 * this.#usedIdx;
      const flags = rig.get16(at + 14) & (AVAIL_BIT | USED_BIT);
      if (flags !== (this.#usedWrap ? AVAIL_BIT | USED_BIT : 0)) return list;
      const id = rig.get16(at + 12);
      const slots = this.#slots.get(id);
      // a ring that was never used looks used in a lap with wrap counter 0
      if (slots === undefined) return list;
      this.#slots.delete(id);
      this.#free.push(id);
      this.#room += slots;
      list.push({ id, length: rig.get32(at + 8) });
      this.#usedIdx += slots;
      if (this.#usedIdx >= size) {
        this.#usedIdx -= size;
        this.#usedWrap = !this.#usedWrap;
      }
    }
  }

  wantInterrupt(): void {
    const { avail } = this.#rig.setup;
    this.#rig.put16(avail, this.#usedIdx | (this.#usedWrap ? 0x8000 : 0));
    this.#rig.put16(avail + 2, this.#rig.setup.eventIdx ? 2 : 0);
  }

  kicks(): () => boolean {
    const rig = this.#rig;
    const [old, oldWrap] = [this.#availIdx, this.#availWrap];
    const { used, size } = rig.setup;
    return () => {
      const flags = rig.get16(used + 2);
      if (flags !== 2) return flags === 0;
      // Virtio 1.3 §2.8.14: the descriptor that the offset names is among what was added
      const offset = rig.get16(used);
      const sameLap = offset >= 0x8000 === oldWrap;
      const event = (offset & 0x7fff) + (sameLap ? 0 : size);
      const end = this.#availIdx + (this.#availWrap === oldWrap ? 0 : size);
      return event >= old && event < end;
    };
  }
}

/** Bytes of guest memory. */
export function bytesAt({ memory }: Rig, gpa: number, length: number): Uint8Array {
  const target = new Uint8Array(length);
  if (!memory.read(gpa as Gpa, target)) throw new Error('no memory');
  return target;
}
