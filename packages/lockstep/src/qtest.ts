import type { Socket } from 'node:net';

/** An interrupt line changed its level. */
export interface LineChange {
  /** Answers that had come before. */
  readonly after: number;
  readonly line: number;
  readonly level: 0 | 1;
}

/** Answers that came back for the commands of one {@link Qtest.finish}. */
export interface Answers {
  /** One line for each command: `OK`, `OK 0x…`, `FAIL …` */
  readonly lines: readonly string[];
  readonly changes: readonly LineChange[];
  /** QEMU is gone, or does not answer any more: there are fewer lines than commands. */
  readonly failure?: Error;
}

/** Text is handed to the socket in pieces of this size, so that QEMU works while more is being made. */
const PIECE = 8192;

/**
 * A client of QEMU's qtest protocol: text commands, answered in order. Commands are pipelined; a round trip costs some
 * 30 times what a command in a row costs.
 */
export class Qtest {
  readonly #socket: Socket;
  #out = '';
  #rest = '';
  #sent = 0;
  #lines: string[] = [];
  #changes: LineChange[] = [];
  #wake: (() => void) | undefined;
  #failure: Error | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => this.#receive(chunk));
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.fail(new Error('QEMU closed its qtest socket')));
  }

  /** Sends a command; its answer is among the next {@link finish}'s. */
  send(command: string): void {
    this.#sent++;
    this.#out += `${command}\n`;
    if (this.#out.length >= PIECE) this.#write();
  }

  /** Commands sent since the last {@link finish}. */
  get sent(): number {
    return this.#sent;
  }

  /** Waits for the answers to all commands since the last time. */
  async finish(timeoutMs = 5_000): Promise<Answers> {
    await this.arrived(timeoutMs);
    if (this.#lines.length < this.#sent && this.#failure !== undefined)
      return { lines: this.#lines, changes: this.#changes, failure: this.#failure };
    const answers = { lines: this.#lines, changes: this.#changes };
    this.#lines = [];
    this.#changes = [];
    this.#sent = 0;
    return answers;
  }

  /** Waits until all commands so far are answered, or will not be; {@link finish} has the answers later. */
  async arrived(timeoutMs = 5_000): Promise<void> {
    this.#write();
    let timer: NodeJS.Timeout | undefined;
    while (this.#lines.length < this.#sent && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer ??= setTimeout(
          () => this.fail(new Error(`qtest: no answer within ${timeoutMs} ms`)),
          timeoutMs,
        );
      });
    }
    clearTimeout(timer);
  }

  /** One command and its answer, without the `OK`. */
  async ask(command: string): Promise<string> {
    if (this.#sent > 0) throw new Error('qtest: commands are under way');
    this.send(command);
    const { lines, failure } = await this.finish();
    if (failure !== undefined) throw failure;
    const line = lines[0] ?? '';
    if (!line.startsWith('OK')) throw new Error(`qtest: ${command}: ${line}`);
    return line.slice(3);
  }

  fail(reason: Error): void {
    this.#failure ??= reason;
    this.#wake?.();
  }

  close(): void {
    this.#socket.destroy();
  }

  #write(): void {
    if (this.#out === '') return;
    this.#socket.write(this.#out, 'latin1');
    this.#out = '';
  }

  #receive(chunk: string): void {
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line.charCodeAt(0) !== 0x49 /* I */) this.#lines.push(line);
      else this.#event(line);
    }
    if (this.#lines.length >= this.#sent) this.#wake?.();
  }

  /** `IRQ raise 11`, `IRQ lower 11` */
  #event(line: string): void {
    const [, what, number] = line.split(' ');
    this.#changes.push({
      after: this.#lines.length,
      line: Number(number),
      level: what === 'raise' ? 1 : 0,
    });
  }
}
