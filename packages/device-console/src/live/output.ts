import {
  type Chain,
  type DeviceHost,
  HostError,
  type Segment,
  type VirtQueueElement,
  type Virtqueue,
} from '@virtkit/core/live';
import type { PortBackend } from './backend.ts';

/** Number of bytes that a back end is given at a time. */
export const CHUNK_MAX = 65_536;
/**
 * Number of bytes from a port before others have their turn. (A guest's buffer may be a thousand times larger than its
 * memory.)
 */
const RUN_MAX = 1 << 20;

/** Buffer of the guest that is half written, and where it goes on. */
export interface HalfWritten {
  readonly element: VirtQueueElement;
  readonly ndescs: number;
  /** Number of bytes that the back end has. */
  readonly done: number;
}

/**
 * Output queue of a port: what the guest writes, on its way to the back end. QEMU: `do_flush_queued_data`, `throttled`,
 * `elem`, `iov_idx`, `iov_offset`.
 */
export class Output {
  readonly #backend: PortBackend;
  readonly #defer: (proceed: () => void) => void;
  readonly #index: number;
  #host: DeviceHost | undefined;
  /** True if the back end took less than it was given, and has not said that it is ready since. */
  #throttled = false;
  /** True if nothing is at the host's end: all is thrown away. */
  #discarding: boolean;
  /** Buffer under way; {@link #done} is how many of its bytes the back end has. */
  #chain: Chain | undefined;
  #done = 0;
  /** Index of the piece of {@link #chain} that the next byte is in; {@link #pieceDone} is how many of its bytes the back end has. */
  #piece = 0;
  #pieceDone = 0;
  /** Half-written buffer of a saved state that is not in guest memory: that of a device that is broken. */
  #parked: HalfWritten | undefined;
  #running = false;
  /** True if {@link ready} was called from inside of the back end's `write`. */
  #readyAgain = false;
  #deferred = false;
  /** Number of buffers that were given back in this go. */
  #pushed = 0;
  /** Number of resets: a chain that was taken before the last one is not given back any more. */
  #life = 0;

  /** @param index number of the queue */
  constructor(index: number, backend: PortBackend, open: boolean, defer: (proceed: () => void) => void) {
    this.#index = index;
    this.#backend = backend;
    this.#discarding = !open;
    this.#defer = defer;
  }

  attach(host: DeviceHost): void {
    this.#host = host;
  }

  /** Is the back end at work right now? */
  get running(): boolean {
    return this.#running;
  }

  /** Gives the back end what the guest has written, since the driver kicked or there may be something. */
  flush(): void {
    const host = this.#host;
    const queue = host?.queue(this.#index);
    if (this.#running || host === undefined || queue === undefined) return;
    const life = this.#life;
    this.#running = true;
    this.#pushed = 0;
    try {
      this.#run(host, queue, life);
    } finally {
      this.#running = false;
      if (this.#pushed > 0 && life === this.#life) queue.notify();
    }
    if (!this.#readyAgain) return;
    this.#readyAgain = false;
    this.#throttled = false;
    this.#later();
  }

  /** Goes on, since the back end takes bytes again. */
  ready(): void {
    if (this.#running) {
      this.#readyAgain = true;
      return;
    }
    this.#throttled = false;
    this.flush();
  }

  /** Stops throwing bytes away, since something is at the host's end now. */
  open(): void {
    this.#discarding = false;
  }

  /** Throws away what waits, since nothing is at the host's end any more. */
  close(): void {
    this.#discarding = true;
    this.#throttled = false;
    this.#parked = undefined;
    this.flush();
  }

  /** Forgets what is under way, since the driver has reset the device, or the queue. QEMU: `discard_throttle_data`. */
  forget(): void {
    this.#life++;
    this.#chain = undefined;
    this.#parked = undefined;
    this.#throttled = false;
    this.#readyAgain = false;
  }

  /**
   * Lets go of the buffer under way, since the driver has withdrawn DRIVER_OK: it is neither written nor given back.
   * QEMU: `virtqueue_detach_element`.
   */
  detach(): void {
    const queue = this.#host?.queue(this.#index);
    if (this.#chain !== undefined) queue?.detach(this.#chain);
    this.forget();
  }

  /**
   * Takes the half-written buffer, if there is one. @throws HostError while the back end's `write` runs: nobody knows
   * how many bytes it has taken
   */
  capture(): HalfWritten | undefined {
    if (this.#running) throw new HostError('a console cannot be saved from inside of a port’s back end');
    const chain = this.#chain;
    if (chain === undefined) return this.#parked;
    return { element: chain.element(), ndescs: chain.ndescs, done: this.#done };
  }

  /** Takes over a half-written buffer that {@link capture} gave, or a state has. It goes on when the machine does. */
  restore(half: HalfWritten | undefined): void {
    this.forget();
    if (half === undefined) return;
    const chain = this.#host?.queue(this.#index)?.adopt(half.element, half.ndescs);
    if (chain === undefined) {
      this.#parked = half;
      return;
    }
    this.#begin(chain);
    this.#skip(chain, half.done);
  }

  #run(host: DeviceHost, queue: Virtqueue, life: number): void {
    let left = RUN_MAX;
    while (!this.#throttled && life === this.#life && host.running) {
      if (left <= 0 || this.#pushed >= queue.size) {
        this.#later();
        return;
      }
      const chain = this.#chain ?? this.#next(queue);
      if (chain === undefined) return;
      if (!this.#discarding) left -= this.#write(chain, left, life);
      if (life !== this.#life) return;
      if (!this.#discarding && this.#done < chain.out.total) continue;
      this.#chain = undefined;
      queue.push(chain, 0);
      this.#pushed++;
    }
  }

  #next(queue: Virtqueue): Chain | undefined {
    const chain = queue.pop();
    if (chain !== undefined) this.#begin(chain);
    return chain;
  }

  #begin(chain: Chain): void {
    this.#chain = chain;
    this.#done = 0;
    this.#piece = 0;
    this.#pieceDone = 0;
  }

  /** Goes to byte `done` of the buffer. */
  #skip(chain: Chain, done: number): void {
    this.#done = done;
    let left = done;
    while (this.#piece < chain.out.count && left >= chain.out.length(this.#piece)) {
      left -= chain.out.length(this.#piece);
      this.#piece++;
    }
    this.#pieceDone = left;
  }

  /** Gives the back end the rest of a buffer, at most `most` bytes. Answers how many it took. */
  #write(chain: Chain, most: number, life: number): number {
    const { out } = chain;
    let given = 0;
    while (this.#piece < out.count && given < most && !this.#throttled) {
      const size = Math.min(out.length(this.#piece) - this.#pieceDone, CHUNK_MAX, most - given);
      const start = out.offset(this.#piece) + this.#pieceDone;
      const taken = this.#backend.write(out.bytes(this.#piece), start, start + size);
      if (!Number.isInteger(taken) || taken < 0 || taken > size)
        throw new HostError(`the back end of a port took ${taken} of ${size} bytes`);
      // the back end has closed the port, or the guest, which may run inside of it, has reset the device
      if (life !== this.#life || this.#discarding) return given;
      given += taken;
      this.#done += taken;
      this.#pieceDone += taken;
      if (this.#pieceDone === out.length(this.#piece)) {
        this.#piece++;
        this.#pieceDone = 0;
      }
      if (taken < size) this.#throttled = true;
    }
    return given;
  }

  #later(): void {
    if (this.#deferred) return;
    this.#deferred = true;
    this.#defer(() => {
      this.#deferred = false;
      this.#host?.memory.sync();
      this.flush();
    });
  }
}

/** Finds QEMU's `iov_idx` and `iov_offset` of a byte of a buffer. */
export function toSegment(out: readonly Segment[], done: number): { iovIdx: number; iovOffset: bigint } {
  let left = BigInt(done);
  for (const [iovIdx, { len }] of out.entries()) {
    if (left < len) return { iovIdx, iovOffset: left };
    left -= len;
  }
  return { iovIdx: out.length, iovOffset: left };
}

/** Finds the byte of a buffer that {@link toSegment} was given. */
export function fromSegment(out: readonly Segment[], iovIdx: number, iovOffset: bigint): number {
  return Number(out.slice(0, iovIdx).reduce((sum, { len }) => sum + len, iovOffset));
}
