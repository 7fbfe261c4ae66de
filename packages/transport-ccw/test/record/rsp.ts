/** A client of QEMU's gdbstub: the few requests that the recorder needs. GDB manual, "Remote Protocol". */
import { connect, type Socket } from 'node:net';

/** The registers that an instruction works with. */
export interface Registers {
  /** Program status word: mask and address. */
  readonly mask: bigint;
  readonly address: number;
  readonly general: readonly bigint[];
}

const CC_SHIFT = 44n;

/** Condition code of a PSW mask. */
export function conditionCode(mask: bigint): number {
  return Number((mask >> CC_SHIFT) & 3n);
}

export class Gdb {
  readonly #socket: Socket;
  #received = '';
  #waiting: ((packet: string) => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      this.#received += chunk;
      this.#deliver();
    });
  }

  static async connect(path: string): Promise<Gdb> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new Gdb(socket);
  }

  close(): void {
    this.#socket.destroy();
  }

  async read(address: number, length: number): Promise<Uint8Array> {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; at += 1024) {
      const piece = Math.min(1024, length - at);
      const answer = await this.#request(`m${(address + at).toString(16)},${piece.toString(16)}`);
      if (answer.startsWith('E')) throw new Error(`no memory at 0x${(address + at).toString(16)}`);
      bytes.write(answer, at, 'hex');
    }
    return bytes;
  }

  /** s390-core64: PSW mask and address, general registers 0 to 15. */
  async registers(): Promise<Registers> {
    const bytes = Buffer.from(await this.#request('g'), 'hex');
    return {
      mask: bytes.readBigUInt64BE(0),
      address: Number(bytes.readBigUInt64BE(8)),
      general: Array.from({ length: 16 }, (_, index) => bytes.readBigUInt64BE(16 + 8 * index)),
    };
  }

  /** Sets all registers. */
  async setRegisters({ mask, address, general }: Registers): Promise<void> {
    const bytes = Buffer.alloc(16 + 8 * general.length);
    bytes.writeBigUInt64BE(mask, 0);
    bytes.writeBigUInt64BE(BigInt(address), 8);
    general.forEach((value, index) => {
      bytes.writeBigUInt64BE(BigInt.asUintN(64, value), 16 + 8 * index);
    });
    const answer = await this.#request(`G${bytes.toString('hex')}`);
    if (answer !== 'OK') throw new Error(`registers: ${answer}`);
  }

  async setBreakpoint(address: number): Promise<void> {
    const answer = await this.#request(`Z0,${address.toString(16)},2`);
    if (answer !== 'OK') throw new Error(`breakpoint at 0x${address.toString(16)}: ${answer}`);
  }

  /** One instruction; interrupts stay pending. */
  async step(): Promise<void> {
    await this.#request('s');
  }

  /** Runs to the next breakpoint. */
  async continue(): Promise<void> {
    await this.#request('c');
  }

  async #request(body: string): Promise<string> {
    let sum = 0;
    for (const character of body) sum += character.charCodeAt(0);
    const answer = new Promise<string>((resolve) => {
      this.#waiting = resolve;
    });
    this.#socket.write(`$${body}#${(sum & 0xff).toString(16).padStart(2, '0')}`);
    this.#deliver();
    return answer;
  }

  #deliver(): void {
    const match = /\$([^#]*)#[0-9a-f]{2}/.exec(this.#received);
    if (match === null || this.#waiting === undefined) return;
    this.#received = this.#received.slice(match.index + match[0].length);
    const resolve = this.#waiting;
    this.#waiting = undefined;
    this.#socket.write('+');
    resolve(match[1] ?? '');
  }
}
