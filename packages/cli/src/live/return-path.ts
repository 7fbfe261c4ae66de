import { COMMAND, NullSink } from '@virtkit/migration';
import { StateError } from '@virtkit/vmstate';

/** Types of messages from the destination to the source. QEMU: `mig_rp_message_type` */
const MESSAGE = { SHUT: 1, PONG: 2 } as const;
/** Length of a message in bytes: type and length in front, and the one word that both messages have. */
const MESSAGE_BYTES = 8;
const WORD_BYTES = 4;

/** Return path at the destination's end: what a source expects to hear, kept until it is taken. */
export class ReturnPath extends NullSink {
  /** True if the source opened the return path, and waits for the last word. */
  open = false;
  /** Error for what only a QEMU can follow (postcopy, COLO), or no QEMU would. */
  refused: StateError | undefined;
  #answers: Uint8Array = new Uint8Array(16 * MESSAGE_BYTES);
  #length = 0;

  override command(command: number, payload: Uint8Array): void {
    if (command === COMMAND.OPEN_RETURN_PATH) this.open = true;
    else if (command === COMMAND.PING) this.#ping(payload);
    else if (
      // at the announcement, while the source can still go back: after the switch-over it cannot
      command === COMMAND.POSTCOPY_ADVISE ||
      command === COMMAND.POSTCOPY_LISTEN ||
      command === COMMAND.PACKAGED ||
      command === COMMAND.ENABLE_COLO
    )
      this.#refuse(
        `the source sent command ${command} (postcopy or COLO), which only a QEMU can follow: switch postcopy-ram and x-colo off`,
        { command },
      );
  }

  #ping(payload: Uint8Array): void {
    const { length } = payload;
    // QEMU: "CMD_PING received with bad length"; with it the answers are never longer than the questions
    if (length !== WORD_BYTES)
      this.#refuse(`the source sent a PING of ${length} bytes, which has ${WORD_BYTES}`, { length });
    else if (this.open) this.#message(MESSAGE.PONG, payload);
  }

  /** Says the last word: 0 everything was taken, else not. The source then gives up, or goes on running. */
  shut(value: number): void {
    if (!this.open) return;
    const word = new Uint8Array(WORD_BYTES);
    new DataView(word.buffer).setUint32(0, value);
    this.#message(MESSAGE.SHUT, word);
    this.open = false;
  }

  /** Takes what is to be said now; undefined: nothing. */
  take(): Uint8Array | undefined {
    if (this.#length === 0) return undefined;
    const said = this.#answers.slice(0, this.#length);
    this.#length = 0;
    return said;
  }

  #refuse(reason: string, facts: Readonly<Record<string, number>>): void {
    this.refused ??= new StateError('command', reason, facts, { layer: 'stream' });
  }

  #message(type: number, word: Uint8Array): void {
    const at = this.#length;
    if (at + MESSAGE_BYTES > this.#answers.length) {
      const larger = new Uint8Array(2 * this.#answers.length);
      larger.set(this.#answers);
      this.#answers = larger;
    }
    const view = new DataView(this.#answers.buffer, at);
    view.setUint16(0, type);
    view.setUint16(2, WORD_BYTES);
    this.#answers.set(word, at + 4);
    this.#length = at + MESSAGE_BYTES;
  }
}
