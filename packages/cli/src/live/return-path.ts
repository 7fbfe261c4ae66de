import { COMMAND, NullSink } from '@virtkit/migration';

/** Messages from the destination to the source. QEMU: `mig_rp_message_type` */
const MESSAGE = { SHUT: 1, PONG: 2 } as const;

/** The destination's end of the return path: what a source expects to hear. */
export class ReturnPath extends NullSink {
  readonly #send: (bytes: Uint8Array) => void;
  /** The source opened it, and waits for the last word. */
  open = false;
  /** A command that only a QEMU can follow: postcopy, COLO. */
  unsupported: number | undefined;

  constructor(send: (bytes: Uint8Array) => void) {
    super();
    this.#send = send;
  }

  override command(command: number, payload: Uint8Array): void {
    if (command === COMMAND.OPEN_RETURN_PATH) this.open = true;
    else if (command === COMMAND.PING && this.open) this.#message(MESSAGE.PONG, payload);
    else if (
      // at the announcement, while the source can still go back: after the switch-over it cannot
      command === COMMAND.POSTCOPY_ADVISE ||
      command === COMMAND.POSTCOPY_LISTEN ||
      command === COMMAND.PACKAGED ||
      command === COMMAND.ENABLE_COLO
    )
      this.unsupported ??= command;
  }

  /** The last word: 0 everything was taken, else not. The source then gives up, or goes on running. */
  shut(value: number): void {
    if (!this.open) return;
    const word = new Uint8Array(4);
    new DataView(word.buffer).setUint32(0, value);
    this.#message(MESSAGE.SHUT, word);
    this.open = false;
  }

  #message(type: number, payload: Uint8Array): void {
    const bytes = new Uint8Array(4 + payload.length);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, type);
    view.setUint16(2, payload.length);
    bytes.set(payload, 4);
    this.#send(bytes);
  }
}
