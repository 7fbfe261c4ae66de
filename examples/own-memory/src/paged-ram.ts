import { GuestRam } from '@virtkit/testing';
import type { PagedMemory } from './paged-memory.ts';

/** The same memory as the guest's processor has it: loads and stores, for the drivers of `@virtkit/testing`. */
export class PagedRam extends GuestRam {
  readonly #memory: PagedMemory;
  #next: number;

  /** @param from address from which buffers and rings are handed out */
  constructor(memory: PagedMemory, from: number) {
    super(new Uint8Array(0));
    this.#memory = memory;
    this.#next = from;
  }

  override alloc(size: number, align = 16): number {
    const at = Math.ceil(this.#next / align) * align;
    if (at + size > this.#memory.size) throw new RangeError(`guest memory is used up: ${size} bytes wanted`);
    this.#next = at + size;
    return at;
  }

  override u8(at: number): number {
    const page = this.#page(at);
    return page.bytes[at - page.gpa] ?? 0;
  }

  override setU8(at: number, value: number): void {
    const page = this.#page(at);
    page.bytes[at - page.gpa] = value;
  }

  override u16(at: number, littleEndian: boolean): number {
    const [first, second] = [this.u8(at), this.u8(at + 1)];
    return littleEndian ? first | (second << 8) : (first << 8) | second;
  }

  override u32(at: number, littleEndian: boolean): number {
    const [first, second] = [this.u16(at, littleEndian), this.u16(at + 2, littleEndian)];
    return (littleEndian ? first | (second << 16) : (first << 16) | second) >>> 0;
  }

  override setU16(at: number, value: number, littleEndian: boolean): void {
    this.setU8(at + (littleEndian ? 0 : 1), value & 0xff);
    this.setU8(at + (littleEndian ? 1 : 0), value >>> 8);
  }

  override setU32(at: number, value: number, littleEndian: boolean): void {
    this.setU16(at + (littleEndian ? 0 : 2), value & 0xffff, littleEndian);
    this.setU16(at + (littleEndian ? 2 : 0), value >>> 16, littleEndian);
  }

  override read(at: number, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, i) => this.u8(at + i));
  }

  override write(at: number, bytes: Uint8Array): void {
    for (const [i, byte] of bytes.entries()) this.setU8(at + i, byte);
  }

  override fill(at: number, length: number, value: number): void {
    for (let i = 0; i < length; i++) this.setU8(at + i, value);
  }

  #page(at: number): { readonly gpa: number; readonly bytes: Uint8Array } {
    const page = this.#memory.regionAt(at);
    if (page === undefined) throw new RangeError(`no memory at 0x${at.toString(16)}`);
    return page;
  }
}
