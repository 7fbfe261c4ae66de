/** Length of the secret key in bytes, as QEMU has it. Virtio 1.3 §5.1.4: `rss_max_key_size` */
export const RSS_KEY_BYTES = 40;
/** Length of the longest input in bytes: two IPv6 addresses and two ports. */
const INPUT_MAX = 36;

/**
 * Toeplitz hash of receive-side scaling, Virtio 1.3 §5.1.6.4.3. For each place and value of a byte a table has what it
 * adds to the hash, so that a packet costs one look-up a byte.
 */
export class Toeplitz {
  readonly key: Uint8Array = new Uint8Array(RSS_KEY_BYTES);
  #table: Uint32Array | undefined;

  /** Makes the table anew, since the key has changed. */
  changed(): void {
    this.#table = undefined;
  }

  /** Hashes `length` bytes of input, of which the first one is byte `place` of the whole; goes on from `hash`. */
  add(hash: number, place: number, bytes: Uint8Array, at: number, length: number): number {
    const table = this.#table ?? this.#fill();
    let sum = hash;
    for (let i = 0; i < length; i++) sum ^= table[((place + i) << 8) | (bytes[at + i] as number)] as number;
    return sum >>> 0;
  }

  #fill(): Uint32Array {
    const { key } = this;
    const table = new Uint32Array(INPUT_MAX << 8);
    for (let place = 0; place < INPUT_MAX; place++) {
      for (let bit = 0; bit < 8; bit++) {
        const window = windowAt(key, 8 * place + bit);
        const mask = 0x80 >> bit;
        for (let value = 0; value < 256; value++) {
          const index = (place << 8) | value;
          if ((value & mask) !== 0) table[index] = (table[index] as number) ^ window;
        }
      }
    }
    this.#table = table;
    return table;
  }
}

/** Takes 32 bits of the key from bit `at` on. */
function windowAt(key: Uint8Array, at: number): number {
  let window = 0;
  for (let i = at; i < at + 32; i++) {
    const bit = ((key[i >> 3] as number) >> (7 - (i & 7))) & 1;
    window = (window << 1) | bit;
  }
  return window >>> 0;
}
