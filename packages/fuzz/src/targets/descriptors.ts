// What the sessions of vhost-user and vfio-user do with file descriptors, without an operating system: numbers, over one file in memory.
import { PeerError, type Platform, type SharedMapping } from '@virtkit/linux';
import { demand } from '../target.ts';

/** Bytes of every file of a peer. */
export const FILE_BYTES = 1 << 16;

/** File descriptors that are numbers, over one file in memory: all that are handed out have to be closed. */
export class Files implements Platform {
  readonly open = new Set<number>();
  readonly bytes = new Uint8Array(FILE_BYTES);
  readonly #watching = new Map<number, () => void>();
  #next = 3;

  hand(): number {
    this.open.add(this.#next);
    return this.#next++;
  }

  #check(fd: number): void {
    demand(this.open.has(fd), `descriptor ${fd} is used and not open`);
  }

  kick(which: number): void {
    const waiting = [...this.#watching.values()];
    waiting[which % Math.max(1, waiting.length)]?.();
  }

  map(fd: number, offset: number, size: number): SharedMapping {
    this.#check(fd);
    if (offset + size > FILE_BYTES) throw new PeerError('behind the end of the file');
    let open = true;
    return {
      shrinkable: false,
      window: (from, length) =>
        open ? this.bytes.subarray(offset + from, offset + from + length) : new Uint8Array(0),
      close: () => {
        open = false;
      },
    };
  }

  identity(fd: number): string {
    this.#check(fd);
    // some descriptors are of the same file, some of another one
    return `${fd % 3}`;
  }

  file(_name: string, size: number): number {
    demand(size <= 1 << 25, `a file of ${size} bytes`);
    return this.hand();
  }

  checkEventfd(fd: number): void {
    this.#check(fd);
    if (fd % 11 === 0) throw new PeerError('no eventfd');
  }

  signal(fd: number): void {
    this.#check(fd);
  }

  clear(fd: number): boolean {
    this.#check(fd);
    return true;
  }

  watch(fd: number, ready: () => void) {
    this.#check(fd);
    this.#watching.set(fd, ready);
    return { close: () => void this.#watching.delete(fd) };
  }

  close(fd: number): void {
    demand(this.open.delete(fd), `descriptor ${fd} is closed twice`);
  }
}

/** Progress of a peer that does everything right. */
export interface Rehearsal {
  /** Bytes of what it says. */
  readonly length: number;
  /** Bytes of it that were read when it was sent away, or had ended. */
  readonly read: number;
  /** Requests of its guest that came back. */
  readonly usedIdx: number;
}

/** Numbers of 32 bits, and bigints of 64, one behind the other. */
export function fields(...values: readonly (number | bigint)[]): Uint8Array {
  return new Uint8Array(
    values.flatMap((value) => {
      const view = new DataView(new ArrayBuffer(typeof value === 'bigint' ? 8 : 4));
      if (typeof value === 'bigint') view.setBigUint64(0, value, true);
      else view.setUint32(0, value, true);
      return [...new Uint8Array(view.buffer)];
    }),
  );
}
