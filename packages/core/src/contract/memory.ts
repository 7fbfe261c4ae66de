declare const guestPhysical: unique symbol;

/**
 * A guest-physical address, as a number: addresses from 2^53 up are no RAM anywhere and are never translated.
 * `n as Gpa` says that a number is one.
 */
export type Gpa = number & { readonly [guestPhysical]: true };

/**
 * Guest memory as devices and transports see it: synchronous, mapped, checked at each use. Accesses answer `false`
 * (or -1) where there is no RAM, or ROM when written; they never throw for what a guest does.
 */
export interface GuestMemory {
  /** One more each time that the bytes behind the regions may be others (a WASM memory grew): cached views are old then. */
  readonly epoch: number;
  /** Looks whether a memory has grown. Called at every entry into a device, so that inside one views stay good. */
  sync(): void;
  /** Is all of this RAM (with `writable`: not ROM)? May cross from region to region. */
  covers(gpa: Gpa, length: number, writable?: boolean): boolean;
  /** Copies `length` bytes out. False, and nothing copied, if not all is RAM. */
  read(gpa: Gpa, target: Uint8Array, offset?: number, length?: number): boolean;
  /** Copies `length` bytes in. False, and nothing written, if not all is writable RAM. */
  write(gpa: Gpa, source: Uint8Array, offset?: number, length?: number): boolean;
  /** The number at the address, or -1 where there is no RAM. */
  readU8(gpa: Gpa): number;
  readU16(gpa: Gpa, littleEndian: boolean): number;
  readU32(gpa: Gpa, littleEndian: boolean): number;
  writeU8(gpa: Gpa, value: number): boolean;
  writeU16(gpa: Gpa, value: number, littleEndian: boolean): boolean;
  writeU32(gpa: Gpa, value: number, littleEndian: boolean): boolean;
  /**
   * Sets bits of a byte, in one step where another thread may change it at the same time. Answers what it was before, or
   * -1 where there is no writable RAM. Optional: without it, devices read and write.
   */
  orU8?(gpa: Gpa, bits: number): number;
  /** Tells the dirty log, if one is on, of bytes that were written through views. */
  markDirty(gpa: Gpa, length: number): void;
}
