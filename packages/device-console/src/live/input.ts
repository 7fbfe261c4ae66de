import type { DeviceHost } from '@virtkit/core/live';

/** Input queue of a port: what the host sends, on its way into the guest's buffers. QEMU: `write_to_port`. */
export class Input {
  readonly #index: number;
  #host: DeviceHost | undefined;
  /** True if somebody was told that there is no room. */
  #refused = false;

  /** @param index number of the queue */
  constructor(index: number) {
    this.#index = index;
  }

  attach(host: DeviceHost): void {
    this.#host = host;
  }

  /** Gives the guest bytes; answers how many there was room for. */
  send(bytes: Uint8Array, start: number, end: number): number {
    const host = this.#host;
    const queue = host?.running === true ? host.queue(this.#index) : undefined;
    if (host === undefined || queue === undefined) return this.#refuse(end - start);
    host.memory.sync();
    let at = start;
    let pushed = 0;
    // a driver on another thread may add buffers as fast as they are filled, and without room
    for (; at < end && pushed < queue.size; pushed++) {
      const chain = queue.pop();
      if (chain === undefined) break;
      const written = chain.in.copyFrom(0, bytes, at, end - at);
      queue.push(chain, written);
      at += written;
    }
    if (at < end) this.#refuse(end - at);
    if (pushed > 0) queue.notify();
    return at - start;
  }

  refuse(): void {
    this.#refused = true;
  }

  /** Was somebody told that there is no room, who is to be told that there may be some? It answers true once. */
  takeRefused(): boolean {
    const refused = this.#refused;
    this.#refused = false;
    return refused;
  }

  #refuse(bytes: number): 0 {
    if (bytes > 0) this.#refused = true;
    return 0;
  }
}
