/** Length in bytes of the number in front of each frame, which is the frame's length. QEMU: `net_fill_rstate`. */
const LENGTH_BYTES = 4;

/** Receiver of frames. */
export interface FrameSink {
  /** Length of the longest frame in bytes; a longer one means that this is no stream of frames, or not any more. */
  readonly max: number;
  /**
   * Takes a frame, which is lent. Answers false if it cannot be taken now; then {@link FrameReader.proceed} will be
   * called. Does not throw.
   */
  frame(bytes: Uint8Array): boolean;
}

/**
 * Reader of a byte stream that has for each frame its length in four bytes, big-endian, and its bytes. It makes no
 * array for a frame.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #buffer: Uint8Array;
  /** View of the buffer, as long as the last frame: most frames have the length of the one before. */
  #view: Uint8Array;
  #length = 0;
  /** Number of bytes of the length that have come; {@link #have} is that of the frame. */
  #lengthBytes = 0;
  #have = 0;
  /** Bytes that have come behind a frame that has to wait. */
  #chunk: Uint8Array | undefined;
  #at = 0;
  #held = false;

  constructor(sink: FrameSink) {
    this.#sink = sink;
    this.#buffer = new Uint8Array(sink.max);
    this.#view = this.#buffer;
  }

  /** Is the reader in the middle of a frame, or of its length? */
  get partial(): boolean {
    return this.#lengthBytes > 0;
  }

  /**
   * Takes what has come. It is kept when a frame has to wait: bring nothing then until {@link proceed} answers the same way. Answers
   * `all`, `wait`, or the length of a frame that is too long, behind which there is nothing to be read.
   */
  push(chunk: Uint8Array): 'all' | 'wait' | number {
    this.#chunk = chunk;
    this.#at = 0;
    return this.proceed();
  }

  /** Tries again with the frame that had to wait, and goes on. */
  proceed(): 'all' | 'wait' | number {
    if (this.#held && !this.#deliver()) return 'wait';
    const chunk = this.#chunk;
    if (chunk === undefined) return 'all';
    while (this.#at < chunk.length) {
      if (this.#lengthBytes < LENGTH_BYTES) {
        this.#length = ((this.#length << 8) | (chunk[this.#at++] as number)) >>> 0;
        if (++this.#lengthBytes < LENGTH_BYTES) continue;
        if (this.#length > this.#sink.max) return this.#length;
      } else this.#fill(chunk);
      if (this.#have === this.#length && !this.#deliver()) return 'wait';
    }
    this.#chunk = undefined;
    return 'all';
  }

  #fill(chunk: Uint8Array): void {
    const count = Math.min(this.#length - this.#have, chunk.length - this.#at);
    const part =
      this.#at === 0 && count === chunk.length ? chunk : chunk.subarray(this.#at, this.#at + count);
    this.#buffer.set(part, this.#have);
    this.#have += count;
    this.#at += count;
  }

  #deliver(): boolean {
    if (this.#view.length !== this.#length) this.#view = this.#buffer.subarray(0, this.#length);
    this.#held = !this.#sink.frame(this.#view);
    if (this.#held) return false;
    this.#lengthBytes = 0;
    this.#length = 0;
    this.#have = 0;
    return true;
  }
}
