// A running QEMU that answers: by its own QMP socket, or through libvirt, which has the socket.
import { spawn } from 'node:child_process';
import { createConnection } from 'node:net';
import { UsageError } from './usage.ts';

/** Monitor of a running QEMU, which takes commands of QMP. */
export interface Monitor {
  /** Executes a command. @throws UsageError for an answer that is an error, or none */
  execute(command: string, args?: object): Promise<unknown>;
  close(): void;
}

/** Milliseconds after which a QEMU that has not answered is not waited for. */
const ANSWER_MS = 30_000;
/** Largest number of bytes of all answers together. */
const ANSWERS_MAX = 64 * 2 ** 20;

interface Message {
  readonly QMP?: unknown;
  readonly return?: unknown;
  readonly error?: { readonly desc?: string };
}

function parsed(text: string, from: string): Message {
  try {
    const message: unknown = JSON.parse(text);
    if (typeof message === 'object' && message !== null) return message;
  } catch {
    // told below
  }
  throw new UsageError(`${from}: not QMP: ${text.slice(0, 80)}`);
}

function answerIn({ error, ...message }: Message, command: string, from: string): unknown {
  if (error !== undefined) throw new UsageError(`${from}: ${command}: ${error.desc ?? 'an error'}`);
  return message.return;
}

/** Monitor behind a QMP socket: one client at a time is served, so that another one (libvirt) keeps it waiting. */
export class QmpMonitor implements Monitor {
  readonly #path: string;
  readonly #socket: ReturnType<typeof createConnection>;
  readonly #lines: string[] = [];
  #text: string[] = [];
  #read = 0;
  #failed: Error | undefined;
  #wake: () => void = () => {};

  private constructor(path: string) {
    this.#path = path;
    this.#socket = createConnection(path);
    this.#socket.setEncoding('utf8');
    this.#socket.on('data', (chunk: string) => this.#take(chunk));
    this.#socket.on('error', (error) => this.#fail(error.message));
    this.#socket.on('close', () => this.#fail('the connection was closed'));
  }

  /** Connects to a QMP socket. @throws UsageError if nobody answers */
  static async connect(path: string): Promise<QmpMonitor> {
    const monitor = new QmpMonitor(path);
    try {
      const greeting = parsed(await monitor.#line('its greeting'), `--qmp ${path}`);
      if (greeting.QMP === undefined) throw new UsageError(`--qmp ${path}: it does not greet as QMP does`);
      await monitor.execute('qmp_capabilities');
      return monitor;
    } catch (error) {
      monitor.close();
      throw error;
    }
  }

  async execute(command: string, args: object = {}): Promise<unknown> {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    for (;;) {
      const message = parsed(await this.#line(command), `--qmp ${this.#path}`);
      // events come in between
      if ('return' in message || message.error !== undefined)
        return answerIn(message, command, `--qmp ${this.#path}`);
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #fail(why: string): void {
    this.#failed ??= new UsageError(`--qmp ${this.#path}: ${why}`);
    this.#wake();
  }

  #take(chunk: string): void {
    this.#read += chunk.length;
    if (this.#read > ANSWERS_MAX) {
      this.#fail(`more than ${ANSWERS_MAX} bytes of answers`);
      this.#socket.destroy();
      return;
    }
    const [first = '', ...rest] = chunk.split('\n');
    this.#text.push(first);
    for (const next of rest) {
      this.#lines.push(this.#text.join(''));
      this.#text = [next];
    }
    this.#wake();
  }

  async #line(what: string): Promise<string> {
    const timer = setTimeout(
      () => this.#fail(`no answer to ${what} in time (another client may have it)`),
      ANSWER_MS,
    );
    try {
      for (;;) {
        const line = this.#lines.shift();
        if (line !== undefined && line.trim() !== '') return line;
        if (line !== undefined) continue;
        if (this.#failed !== undefined) throw this.#failed;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Runs virsh and takes what it prints. @throws UsageError if it fails, with its own words */
export function virsh(connection: string | undefined, ...args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('virsh', ['-q', ...(connection === undefined ? [] : ['-c', connection]), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C' },
    });
    const chunks: Buffer[] = [];
    let [read, errors] = [0, ''];
    const fail = (why: string): void => {
      child.kill('SIGKILL');
      reject(new UsageError(`virsh ${args.slice(0, 2).join(' ')}: ${why}`));
    };
    const timer = setTimeout(() => fail('no answer in time'), ANSWER_MS);
    child.once('error', (error) => fail(error.message));
    child.stderr.on('data', (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-4000);
    });
    child.stdout.on('data', (chunk: Buffer) => {
      read += chunk.length;
      if (read > ANSWERS_MAX) fail(`more than ${ANSWERS_MAX} bytes of answers`);
      else chunks.push(chunk);
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      if (code === 0) resolve(Buffer.concat(chunks).toString('utf8'));
      else fail(errors.trim().replace(/^error: /, ''));
    });
  });
}

/** Monitor of the QEMU of a domain that libvirt runs. libvirt marks the domain as tainted (`custom-monitor`). */
export class VirshMonitor implements Monitor {
  readonly #connection: string | undefined;
  readonly #domain: string;

  constructor(connection: string | undefined, domain: string) {
    this.#connection = connection;
    this.#domain = domain;
  }

  async execute(command: string, args: object = {}): Promise<unknown> {
    const question = JSON.stringify({ execute: command, arguments: args });
    const text = await virsh(
      this.#connection,
      'qemu-monitor-command',
      '--domain',
      this.#domain,
      '--cmd',
      question,
    );
    return answerIn(parsed(text, `--domain ${this.#domain}`), command, `--domain ${this.#domain}`);
  }

  close(): void {}
}
