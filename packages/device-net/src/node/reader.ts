/** Bytes of the length in front of each frame. QEMU: `net_fill_rstate`. */
const LENGTH_BYTES = 4;

/** What becomes of frames. */
export interface FrameSink {
  /** Longest frame; a longer one means that this is no stream of frames, or not any more. */
  readonly max: number;
  /** A frame, lent. False: not now, {@link FrameReader.proceed} will be called. Does not throw. */
  frame(bytes: Uint8Array): boolean;
}

/** Takes a byte stream apart: for each frame its length in four bytes, big-endian, and its bytes. Makes no array for a frame. */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #buffer: Uint8Array;
  /** A view of the buffer, as long as the last frame: most frames have the length of the one before. */
  #view: Uint8Array;
  #length = 0;
  /** Bytes of the length, and of the frame, that have come. */
  #lengthBytes = 0;
  #have = 0;
  /** What has come behind a frame that has to wait. */
  #chunk: Uint8Array | undefined;
  #at = 0;
  #held = false;

  constructor(sink: FrameSink) {
    this.#sink = sink;
    this.#buffer = new Uint8Array(sink.max);
    this.#view = this.#buffer;
  }

  /** In the middle of a frame, or of its length? */
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
