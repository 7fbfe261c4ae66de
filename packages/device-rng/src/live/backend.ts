/** Back end that an entropy device takes random bytes from. */
export interface RngBackend {
  /**
   * Writes random bytes to the beginning of `target`, and answers how many they are: 1 to `target.length`, or 0 if there are none now.
   * Then, and after an error, the device asks again later (`RngOptions.retryMs`).
   *
   * @param target lent until the call returns, or until the promise settles. 1 to 65536 bytes
   * @returns a promise, if it takes longer. The device asks for nothing more before it settles
   */
  fill(target: Uint8Array<ArrayBuffer>): number | Promise<number>;
}

/** Part of Web Crypto that is needed: `globalThis.crypto` of browsers, workers, Node, Deno and Bun. */
export interface RandomValues {
  /** Fills an array with at most 65536 random bytes. */
  getRandomValues(target: Uint8Array<ArrayBuffer>): unknown;
}

/**
 * Makes a back end of the platform's random bytes.
 *
 * ```ts
 * const entropy = new RngDevice({ backend: webCrypto(crypto) });
 * ```
 */
export function webCrypto(crypto: RandomValues): RngBackend {
  return {
    fill: (target) => {
      crypto.getRandomValues(target);
      return target.length;
    },
  };
}
