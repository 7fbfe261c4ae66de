/** Source of guest memory that is handed out in pieces. */
export interface Allocator {
  /** Memory that pieces are taken from. */
  readonly ram: GuestRam;
  /** Takes `size` unused bytes, zeroed, and answers their address. @throws RangeError when there are none left */
  alloc(size: number, align?: number): number;
}

/** Part of guest memory that is handed out and taken back as a whole: what one driver has between two resets. */
export class Arena implements Allocator {
  /** Memory that pieces are taken from. */
  readonly ram: GuestRam;
  readonly #start: number;
  readonly #end: number;
  #next: number;

  constructor(ram: GuestRam, bytes: number) {
    this.ram = ram;
    this.#start = ram.alloc(bytes, 4096);
    this.#end = this.#start + bytes;
    this.#next = this.#start;
  }

  alloc(size: number, align = 16): number {
    const at = Math.ceil(this.#next / align) * align;
    if (at + size > this.#end) throw new RangeError(`the driver's memory is used up: ${size} bytes wanted`);
    this.#next = at + size;
    this.ram.fill(at, size, 0);
    return at;
  }

  /** Is there room for so many bytes? */
  fits(size: number, align = 16): boolean {
    return Math.ceil(this.#next / align) * align + size <= this.#end;
  }

  /** Makes everything unused again. */
  clear(): void {
    this.#next = this.#start;
  }
}

/**
 * View that the guest has of its memory: what its processor does with loads and stores, and a bump allocator for rings
 * and buffers. It is no part of the device: an emulator maps the same bytes for its devices.
 */
export class GuestRam implements Allocator {
  /** Array with the memory. It is another one after {@link replace}. */
  bytes: Uint8Array;
  /** View of {@link bytes} that reads and writes numbers. It is another one when the memory has moved. */
  view: DataView;
  /** Guest-physical address of the first byte. */
  readonly base: number;
  #next: number;

  /** @param from address from which {@link alloc} hands out; below it is room for low memory. */
  constructor(bytes: Uint8Array, base = 0, from: number = base + 0x1000) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.base = base;
    this.#next = from;
  }

  /** Memory itself: it is an allocator, too. */
  get ram(): GuestRam {
    return this;
  }

  /** Replaces the array, since the machine was moved: its memory has the same contents at another place. */
  replace(bytes: Uint8Array): void {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Takes `size` unused bytes, zeroed, and answers their address. @throws RangeError when the memory is used up */
  alloc(size: number, align = 16): number {
    const at = Math.ceil(this.#next / align) * align;
    if (at + size > this.base + this.bytes.length)
      throw new RangeError(`guest memory is used up: ${size} bytes wanted`);
    this.#next = at + size;
    this.fill(at, size, 0);
    return at;
  }

  /** Reads the byte at an address. */
  u8(at: number): number {
    return this.view.getUint8(at - this.base);
  }

  /** Reads the 16-bit number at an address. */
  u16(at: number, littleEndian: boolean): number {
    return this.view.getUint16(at - this.base, littleEndian);
  }

  /** Reads the 32-bit number at an address. */
  u32(at: number, littleEndian: boolean): number {
    return this.view.getUint32(at - this.base, littleEndian);
  }

  /** Writes a byte. */
  setU8(at: number, value: number): void {
    this.view.setUint8(at - this.base, value);
  }

  /** Writes a 16-bit number. */
  setU16(at: number, value: number, littleEndian: boolean): void {
    this.view.setUint16(at - this.base, value, littleEndian);
  }

  /** Writes a 32-bit number. */
  setU32(at: number, value: number, littleEndian: boolean): void {
    this.view.setUint32(at - this.base, value >>> 0, littleEndian);
  }

  /** Writes a 64-bit number below 2^53. */
  setU64(at: number, value: number, littleEndian: boolean): void {
    const high = Math.floor(value / 0x1_0000_0000);
    this.setU32(at + (littleEndian ? 4 : 0), high, littleEndian);
    this.setU32(at + (littleEndian ? 0 : 4), value >>> 0, littleEndian);
  }

  /** Reads a copy of some bytes. */
  read(at: number, length: number): Uint8Array {
    return this.bytes.slice(at - this.base, at - this.base + length);
  }

  /** Copies bytes to an address. */
  write(at: number, bytes: Uint8Array): void {
    this.bytes.set(bytes, at - this.base);
  }

  /** Fills bytes from an address on with one value. */
  fill(at: number, length: number, value: number): void {
    this.bytes.fill(value, at - this.base, at - this.base + length);
  }
}
