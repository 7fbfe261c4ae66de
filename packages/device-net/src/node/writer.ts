import type { Writable } from 'node:stream';
import type { SoftwareOffload } from '../offload/software.ts';

const LENGTH_BYTES = 4;
/** Length in bytes of each of the two buffers: several of the largest packets. */
const BUFFER_BYTES = 512 << 10;

/**
 * Writer of frames to a byte stream, each behind its length. What is sent while the stream writes is gathered, and goes
 * out in one go afterwards. It allocates nothing for a frame.
 */
export class FrameWriter {
  readonly #stream: Writable;
  readonly #ready: () => void;
  #filling = new Uint8Array(BUFFER_BYTES);
  #writing = new Uint8Array(BUFFER_BYTES);
  #used = 0;
  /** True while a write is under way, or about to be. */
  #busy = false;
  #full = false;

  /** @param ready there is room again, after a {@link hasRoom} that answered false */
  constructor(stream: Writable, ready: () => void) {
    this.#stream = stream;
    this.#ready = ready;
  }

  /** Is there room for a packet of so many bytes, and for what segmentation puts in front of its segments? */
  hasRoom(bytes: number): boolean {
    if (this.#used + 2 * bytes + LENGTH_BYTES <= BUFFER_BYTES) return true;
    this.#full = true;
    return false;
  }

  /** Takes the frames of a packet. Answers how many were lost: segments with more headers than payload. */
  put(offload: SoftwareOffload): number {
    while (offload.left > 0) {
      const { length } = offload;
      if (this.#used + LENGTH_BYTES + length > BUFFER_BYTES) break;
      const buffer = this.#filling;
      const at = this.#used;
      buffer[at] = 0;
      buffer[at + 1] = length >> 16;
      buffer[at + 2] = length >> 8;
      buffer[at + 3] = length;
      offload.write(buffer, at + LENGTH_BYTES);
      this.#used = at + LENGTH_BYTES + length;
    }
    if (!this.#busy && this.#used > 0) {
      this.#busy = true;
      queueMicrotask(this.#flush);
    }
    return offload.left;
  }

  readonly #flush = (): void => {
    const bytes = this.#filling.subarray(0, this.#used);
    const spare = this.#writing;
    this.#writing = this.#filling;
    this.#filling = spare;
    this.#used = 0;
    this.#stream.write(bytes, this.#written);
    if (!this.#full) return;
    this.#full = false;
    this.#ready();
  };

  readonly #written = (error?: Error | null): void => {
    // the stream's `close` comes too
    if (error) return;
    if (this.#used > 0) this.#flush();
    else this.#busy = false;
  };
}
