import type { V86 } from 'v86';

/** Of what a guest wrote, so much goes with it to another tab. */
const TAIL = 64 << 10;
const NEWLINE = 0x0a;

/** The serial console of a guest: bytes are collected for a moment, so that a page gets few messages. */
export class Console {
  readonly #emulator: V86;
  readonly #onOutput: (bytes: Uint8Array<ArrayBuffer>) => void;
  readonly #onByte = (byte: number): void => this.#take(byte);
  #pending = new Uint8Array(4096);
  #count = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #tail: Uint8Array<ArrayBuffer>;
  #awaited: { readonly text: string; at: number; found: () => void } | undefined;

  /** @param tail what it showed before, elsewhere */
  constructor(emulator: V86, tail: Uint8Array, onOutput: (bytes: Uint8Array<ArrayBuffer>) => void) {
    this.#emulator = emulator;
    this.#tail = tail.slice();
    this.#onOutput = onOutput;
    emulator.add_listener('serial0-output-byte', this.#onByte);
  }

  /** What the console showed last, from the begin of a line. */
  get tail(): Uint8Array<ArrayBuffer> {
    this.flush();
    return this.#tail;
  }

  send(text: string): void {
    this.#emulator.serial_send_bytes(0, new TextEncoder().encode(text));
  }

  /** Resolves when the guest has written this. ASCII. */
  waitFor(text: string): Promise<void> {
    return new Promise((found) => {
      this.#awaited = { text, at: 0, found };
    });
  }

  close(): void {
    this.flush();
    this.#emulator.remove_listener('serial0-output-byte', this.#onByte);
  }

  #take(byte: number): void {
    if (this.#count === this.#pending.length) this.flush();
    this.#pending[this.#count++] = byte;
    this.#timer ??= setTimeout(() => this.flush(), 16);
    const awaited = this.#awaited;
    if (awaited === undefined) return;
    awaited.at = byte === awaited.text.charCodeAt(awaited.at) ? awaited.at + 1 : 0;
    if (awaited.at < awaited.text.length) return;
    this.#awaited = undefined;
    awaited.found();
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#count === 0) return;
    const bytes = this.#pending.slice(0, this.#count);
    this.#count = 0;
    this.#keep(bytes);
    this.#onOutput(bytes);
  }

  #keep(bytes: Uint8Array): void {
    const all = new Uint8Array(this.#tail.length + bytes.length);
    all.set(this.#tail);
    all.set(bytes, this.#tail.length);
    if (all.length <= 2 * TAIL) {
      this.#tail = all;
      return;
    }
    const line = all.indexOf(NEWLINE, all.length - TAIL);
    this.#tail = all.slice(line < 0 ? all.length - TAIL : line + 1);
  }
}
