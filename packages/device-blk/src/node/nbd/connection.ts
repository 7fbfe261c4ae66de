import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { handshake, type NbdExport } from './handshake.ts';
import {
  COMMAND,
  COMMAND_FLAG,
  EXTENDED_REQUEST_MAGIC,
  nbdError,
  REQUEST_BYTES,
  REQUEST_MAGIC,
} from './protocol.ts';
import { ReplyReader } from './replies.ts';
import type { NbdRequest } from './request.ts';
import type { NbdAddress } from './uri.ts';

/** Milliseconds of silence after which the system asks the other side whether it is still there. */
const KEEP_ALIVE_MS = 15_000;

/**
 * Connection to a server, agreed on. It sends commands and says how each ended; when it is lost, what was under way is
 * nobody's.
 */
export class NbdConnection {
  readonly agreed: NbdExport;
  readonly #socket: Duplex;
  readonly #lost: (error: Error) => void;
  readonly #underWay = new Map<bigint, NbdRequest>();
  #nextCookie = 1n;
  #isOpen = true;

  private constructor(socket: Duplex, agreed: NbdExport, lost: (error: Error) => void) {
    this.#socket = socket;
    this.agreed = agreed;
    this.#lost = lost;
    const replies = new ReplyReader(agreed.replies, {
      get: (cookie) => this.#underWay.get(cookie),
      answered: (cookie, request) => this.#answered(cookie, request),
    });
    socket.on('error', (error) => this.#lose(error));
    socket.on('close', () => this.#lose(nbdError('ECONNRESET', 'the server closed the connection')));
    socket.on('data', (bytes: Buffer) => {
      try {
        if (this.#isOpen) replies.push(bytes);
      } catch (error) {
        this.#lose(error as Error);
      }
    });
  }

  /**
   * @param timeoutMs that connecting and agreeing may take
   * @param lost is called once, when the connection has ended without {@link close}
   * @throws Error with a `code`, of the socket, of TLS, or of `handshake`
   */
  static async open(
    address: NbdAddress,
    timeoutMs: number,
    lost: (connection: NbdConnection, error: Error) => void,
  ): Promise<NbdConnection> {
    const socket = connect({
      ...address.place,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    });
    // whoever waits for bytes hears of it, too
    socket.on('error', () => {});
    const timer = setTimeout(() => {
      socket.destroy(nbdError('ETIMEDOUT', `${address.text}: no connection within ${timeoutMs} ms`));
    }, timeoutMs);
    try {
      await connected(socket);
      return await NbdConnection.over(socket, address, lost);
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Agrees with the server at the other end of a stream that is open.
   *
   * @throws Error with a `code`, as {@link open}
   */
  static async over(
    stream: Duplex,
    address: NbdAddress,
    lost: (connection: NbdConnection, error: Error) => void,
  ): Promise<NbdConnection> {
    const { socket, agreed } = await handshake(stream, address);
    const connection: NbdConnection = new NbdConnection(socket, agreed, (error) => lost(connection, error));
    return connection;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Number of commands that are not answered. */
  get underWay(): number {
    return this.#underWay.size;
  }

  /** Sends a command. Its promise settles when it is answered; if the connection is lost before, it is left as it is. */
  send(request: NbdRequest): void {
    const cookie = this.#nextCookie++;
    this.#underWay.set(cookie, request);
    request.begin();
    const { data } = request.facts;
    this.#socket.cork();
    this.#socket.write(this.#header(cookie, request));
    if (data !== undefined) this.#socket.write(data);
    this.#socket.uncork();
  }

  /** Says goodbye: the server has done all that it was asked for. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    const goodbye = Buffer.alloc(REQUEST_BYTES[this.agreed.replies]);
    goodbye.writeUInt32BE(this.agreed.replies === 'extended' ? EXTENDED_REQUEST_MAGIC : REQUEST_MAGIC, 0);
    goodbye.writeUInt16BE(COMMAND.DISCONNECT, 6);
    this.#socket.end(goodbye);
    // a server that does not close its side in time is left
    const timer = setTimeout(() => this.#socket.destroy(), 1000);
    this.#socket.once('close', () => clearTimeout(timer));
  }

  /** Cuts the connection off, without a word to the server. */
  destroy(): void {
    this.#isOpen = false;
    this.#socket.destroy();
  }

  #header(cookie: bigint, { facts }: NbdRequest): Buffer {
    const isExtended = this.agreed.replies === 'extended';
    const header = Buffer.alloc(REQUEST_BYTES[this.agreed.replies]);
    header.writeUInt32BE(isExtended ? EXTENDED_REQUEST_MAGIC : REQUEST_MAGIC, 0);
    // with extended headers the length of a write is that of what follows, and it says so
    const payload = isExtended && facts.command === COMMAND.WRITE ? COMMAND_FLAG.PAYLOAD_LEN : 0;
    header.writeUInt16BE(facts.flags | payload, 4);
    header.writeUInt16BE(facts.command, 6);
    header.writeBigUInt64BE(cookie, 8);
    header.writeBigUInt64BE(BigInt(facts.position), 16);
    if (isExtended) header.writeBigUInt64BE(BigInt(facts.length), 24);
    else header.writeUInt32BE(facts.length, 24);
    return header;
  }

  #answered(cookie: bigint, request: NbdRequest): void {
    this.#underWay.delete(cookie);
    if (request.isSettled) return;
    if (request.failure === undefined) request.succeed();
    else request.fail(request.failure);
  }

  #lose(error: Error): void {
    if (!this.#isOpen) return;
    this.destroy();
    this.#lost(error);
  }
}

function connected(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve();
    });
  });
}
