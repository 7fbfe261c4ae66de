import type { Gpa } from '../contract/memory.ts';
import type { MappedMemory } from './memory.ts';

/** Descriptor flags, Virtio 1.3 §2.7.5, §2.8.1. */
export const DESC_NEXT = 1;
export const DESC_WRITE = 2;
export const DESC_INDIRECT = 4;

/** Ring as a descriptor cursor sees it: where its descriptors lie. */
export interface DescriptorTable {
  readonly desc: Gpa;
  /** Number of descriptors in the table of the ring. */
  readonly size: number;
  readonly memory: MappedMemory;
  readonly littleEndian: boolean;
}

/**
 * A descriptor in guest memory, and the way to the next one of its chain: what collects a chain and what counts its bytes
 * go over both ring formats with it, number by number, whatever memory and byte order the ring has.
 *
 * Each number is read once: what was judged is what is used, whatever the driver writes meanwhile.
 */
export abstract class DescriptorCursor {
  /** Guest address of the buffer that the descriptor names. */
  addr = 0;
  length = 0;
  flags = 0;
  /** True if the chain lies in an indirect table, not in the ring's own. */
  indirect = false;
  /** Number of descriptors in the table that the chain lies in. */
  entries = 0;
  /** Text that says why {@link enter} or {@link next} could not go on; empty if nothing is wrong. */
  problem = '';
  protected table: Gpa;
  /** Index of the descriptor in {@link table}. */
  protected at = 0;
  protected readonly memory: MappedMemory;
  protected readonly little: boolean;
  private readonly ringTable: Gpa;
  private readonly ringSize: number;

  constructor({ desc, size, memory, littleEndian }: DescriptorTable) {
    this.table = desc;
    this.ringTable = desc;
    this.ringSize = size;
    this.memory = memory;
    this.little = littleEndian;
  }

  get writable(): boolean {
    return (this.flags & DESC_WRITE) !== 0;
  }

  /** Goes to the next descriptor of the chain. Answers false at its end, or with {@link problem} set. */
  abstract next(): boolean;

  /** Reads flags and the number beside them. */
  protected abstract readTail(): void;

  /** Goes to a descriptor in the table of the ring by its index, and reads nothing yet. */
  protected place(at: number): void {
    this.table = this.ringTable;
    this.entries = this.ringSize;
    this.at = at;
    this.indirect = false;
    this.problem = '';
  }

  /**
   * Goes to the first descriptor of the indirect table, if the head names one. Answers false with {@link problem} set.
   *
   * @param room descriptors that the chain may still have, of those of the ring
   */
  enter(room: number): boolean {
    if ((this.flags & DESC_INDIRECT) === 0) return true;
    // Virtio 1.3 §2.7.5.3.2 MUST: WRITE is ignored beside INDIRECT. A table behind plain descriptors is not known, as in QEMU
    this.problem = this.tableProblem(room);
    if (this.problem !== '') return false;
    this.indirect = true;
    this.table = this.addr as Gpa;
    this.entries = this.length / 16;
    this.at = 0;
    this.read();
    return true;
  }

  private tableProblem(room: number): string {
    const { addr, length } = this;
    // an empty table makes QEMU abort on a packed ring
    if (length === 0 || length % 16 !== 0) return 'Invalid size for indirect buffer table';
    if (room <= 0) return 'Looped descriptor';
    return this.memory.isCut(addr, length) ? 'Cannot map indirect buffer' : '';
  }

  /** Reads the descriptor. What is not in memory reads as 0. */
  protected read(): void {
    this.readBuffer();
    this.readTail();
  }

  protected readBuffer(): void {
    const { memory, little } = this;
    const at = this.table + 16 * this.at;
    const first = Math.max(0, memory.readU32(at as Gpa, little));
    const second = Math.max(0, memory.readU32((at + 4) as Gpa, little));
    this.addr = little ? second * 2 ** 32 + first : first * 2 ** 32 + second;
    this.length = Math.max(0, memory.readU32((at + 8) as Gpa, little));
  }

  protected read16(offset: number): number {
    return Math.max(0, this.memory.readU16((this.table + 16 * this.at + offset) as Gpa, this.little));
  }
}
