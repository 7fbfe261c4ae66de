import type { ContractVersion } from './version.ts';

/**
 * A guest-physical address, as a number: addresses from 2^53 up are no RAM anywhere and are never translated.
 * `n as Gpa` says that a number is one. The mark is a name and no symbol, so that two copies of this package agree on it.
 */
export type Gpa = number & { readonly __address: 'guest-physical' };

/** A stretch of guest-physical addresses, and the bytes of the host program behind it. */
export interface MemoryRegion {
  /** Guest-physical address of the region's first byte, below 2^53. */
  readonly gpa: number;
  /**
   * Bytes of the whole region, at most 4 GiB. It may be another array once {@link MemoryMap.epoch} is another number,
   * and not before.
   */
  readonly bytes: Uint8Array;
  /** ROM: devices cannot write it. Default: false. */
  readonly readonly?: boolean;
  /**
   * True if another thread or process writes and reads these bytes at the same time, so that accesses to a ring in them
   * are ordered for it. Default: true on a `SharedArrayBuffer`, else false, since an array over a shared mapping does
   * not show it.
   */
  readonly shared?: boolean;
}

/**
 * Guest memory as a program brings it: which bytes lie at which address. `MappedMemory` is one that is made from a list of
 * regions; an emulator whose memory is not a few arrays (pages that are made when they are first touched, say) implements
 * this itself, and core reads and writes its arrays.
 */
export interface MemoryMap {
  /**
   * Contract number that the memory was written for. Core knows guest memory by it, and not by its class, of which
   * there may be two copies.
   */
  readonly contract: ContractVersion;
  /**
   * Number that goes up by one each time that regions have other bytes, come or go (a WASM memory grew), or that {@link
   * tracksWrites} changes: what core has looked up before is old then. It may change within {@link sync} only.
   */
  readonly epoch: number;
  /**
   * Number that changes each time that the memory gets another owner, and no device has a chain of the one before: core
   * then forgets the regions that it knew. Only a memory whose regions come and go without end needs it. It may change
   * within {@link sync} only. Default: always the same.
   */
  readonly owner?: number;
  /**
   * Brings the regions up to date. Core calls it at every entry into a device, so that inside one, arrays that were
   * looked up stay good.
   */
  sync(): void;
  /** The region that an address lies in, the same object in the same epoch; undefined where there is no memory. Never throws. */
  regionAt(gpa: number): MemoryRegion | undefined;
  /** True if the memory wants to hear of writes by {@link markDirty}: a dirty log is on, or translated code is kept. */
  readonly tracksWrites: boolean;
  /**
   * Tells that devices wrote these bytes, directly into the arrays. Core calls it while {@link tracksWrites} is true,
   * and may call it otherwise.
   */
  markDirty(gpa: Gpa, length: number): void;
}

/**
 * Guest memory as devices and transports see it: synchronous, mapped, checked at each use. Accesses answer `false`
 * (or -1) where there is no RAM, or ROM when written; they never throw for what a guest does.
 */
export interface GuestMemory extends MemoryMap {
  /** Is all of this RAM (with `writable`: not ROM)? May cross from region to region. */
  covers(gpa: Gpa, length: number, writable?: boolean): boolean;
  /** Copies `length` bytes out of guest memory. Answers false, with nothing copied, if not all of them are RAM. */
  read(gpa: Gpa, target: Uint8Array, offset?: number, length?: number): boolean;
  /**
   * Copies `length` bytes into guest memory. Answers false, with nothing written, if not all of them are writable RAM.
   */
  write(gpa: Gpa, source: Uint8Array, offset?: number, length?: number): boolean;
  /** Reads the byte at an address: 0 to 255, or -1 where there is no RAM. */
  readU8(gpa: Gpa): number;
  /** Reads the 16-bit number at an address: 0 to 0xffff, or -1 where there is no RAM. */
  readU16(gpa: Gpa, littleEndian: boolean): number;
  /** Reads the 32-bit number at an address: 0 to 0xffffffff, or -1 where there is no RAM. */
  readU32(gpa: Gpa, littleEndian: boolean): number;
  /** Writes the lower 8 bits of a number. False where there is no writable RAM. */
  writeU8(gpa: Gpa, value: number): boolean;
  /** Writes the lower 16 bits of a number. False, and nothing written, where there is no writable RAM. */
  writeU16(gpa: Gpa, value: number, littleEndian: boolean): boolean;
  /** Writes the lower 32 bits of a number. False, and nothing written, where there is no writable RAM. */
  writeU32(gpa: Gpa, value: number, littleEndian: boolean): boolean;
  /**
   * Sets bits of a byte, in one step where another thread may change it at the same time. Answers the byte as it was
   * before, or -1 where there is no writable RAM. Optional: without it, devices read and write.
   */
  orU8?(gpa: Gpa, bits: number): number;
}

/**
 * Guest memory in one list of regions that can tell which pages were written: the interface of `MappedMemory`, which a
 * copy of this package of another version has, too.
 */
export interface LoggedMemory extends GuestMemory {
  /** The regions by address; the list does not change. */
  readonly regions: readonly MemoryRegion[];
  /** Begins to remember the pages that devices write. */
  startDirtyLog(): void;
  /** Ends the log and forgets what it holds. */
  stopDirtyLog(): void;
  /**
   * Visits runs of pages of 4 KiB that were written since the log was started or taken last, and forgets them. Answers how
   * many pages; 0 if the log is off. A page that two regions share is in both.
   */
  takeDirty(visit: (gpa: Gpa, length: number) => void): number;
}
