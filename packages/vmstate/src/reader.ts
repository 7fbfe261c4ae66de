import { StateError } from './errors.ts';
import type { Trace } from './trace.ts';

/**
 * Views memory as a plain `Uint8Array`. Node's `Buffer` is one by type, but its `slice` does not copy: whoever keeps a
 * slice of a lent buffer would see it change.
 */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  if (bytes.constructor === Uint8Array) return bytes;
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * A cursor over bytes that came from a stranger. All integers are big-endian, as everywhere in QEMU's migration format.
 *
 * Every read checks the end first and throws {@link StateError} `truncated`; nothing is ever allocated from a length
 * that has not been compared with the bytes that are left.
 */
export class Reader {
  /** Input that is read. */
  readonly bytes: Uint8Array;
  /** View of {@link bytes} that reads numbers. */
  readonly view: DataView;
  /** Offset of `bytes[0]` in the whole input; added to the offset in errors and traces. */
  readonly base: number;
  /** Index in `bytes` of the next byte to read. */
  offset = 0;
  /** Trace that records where each field lies, if it is set. */
  trace: Trace | undefined;

  constructor(bytes: Uint8Array, base = 0) {
    this.bytes = plainBytes(bytes);
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.base = base;
  }

  /** Number of bytes that are left. */
  get remaining(): number {
    return this.bytes.length - this.offset;
  }

  /** Offset of the cursor in the whole input. */
  get position(): number {
    return this.base + this.offset;
  }

  /** Moves on by `count` bytes and answers where they begin. */
  take(count: number): number {
    const start = this.offset;
    if (!(count >= 0) || start + count > this.bytes.length) throw this.truncated(count);
    this.offset = start + count;
    return start;
  }

  /** Reads a byte. @throws StateError `truncated` */
  u8(): number {
    return this.view.getUint8(this.take(1));
  }

  /** Reads 16 bits, big-endian. @throws StateError `truncated` */
  u16(): number {
    return this.view.getUint16(this.take(2));
  }

  /** Reads 32 bits, big-endian. @throws StateError `truncated` */
  u32(): number {
    return this.view.getUint32(this.take(4));
  }

  /** Reads 64 bits, big-endian. @throws StateError `truncated` */
  u64(): bigint {
    return this.view.getBigUint64(this.take(8));
  }

  /** Reads 32 bits with a sign, big-endian. @throws StateError `truncated` */
  s32(): number {
    return this.view.getInt32(this.take(4));
  }

  /** Reads 64 bits with a sign, big-endian. @throws StateError `truncated` */
  s64(): bigint {
    return this.view.getBigInt64(this.take(8));
  }

  /** Reads the next `count` bytes, shared with the input: copy what you keep. */
  borrow(count: number): Uint8Array {
    const start = this.take(count);
    return this.bytes.subarray(start, start + count);
  }

  /** Reads a copy of the next `count` bytes. */
  copy(count: number): Uint8Array {
    const start = this.take(count);
    return this.bytes.slice(start, start + count);
  }

  /** Looks at the byte `ahead` of the cursor; -1 behind the end. Moves nothing. */
  peek(ahead = 0): number {
    return this.bytes[this.offset + ahead] ?? -1;
  }

  /** Makes the error that says `count` bytes are not there. */
  truncated(count: number): StateError {
    const available = this.remaining;
    return new StateError(
      'truncated',
      `${count} bytes wanted, ${available} left`,
      { wanted: count, available },
      { offset: this.position },
    );
  }
}
