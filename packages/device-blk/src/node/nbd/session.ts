import { closedError, FlushLatch } from '../../disk/flush-latch.ts';
import { NbdConnection } from './connection.ts';
import type { NbdExport } from './handshake.ts';
import { KeptWrites } from './kept-writes.ts';
import { CAN, COMMAND, COMMAND_FLAG, NbdProtocolError, nbdError } from './protocol.ts';
import { type CommandFacts, NbdRequest } from './request.ts';
import type { NbdAddress } from './uri.ts';

/** Event in the life of the connections with a server. */
export type NbdEvent =
  /** Loss of the last connection. Requests wait until there is one again, or their time is over. */
  | { readonly type: 'lost'; readonly error: Error }
  /**
   * Return of a connection. `resent`: requests that were under way; `replayed`: writes that no flush had made stable.
   */
  | {
      readonly type: 'connected';
      readonly attempts: number;
      readonly resent: number;
      readonly replayed: number;
    }
  /** Change of the export's size, in bytes: tell the device, `BlkDevice.resize`. */
  | { readonly type: 'resized'; readonly size: number };

export interface SessionOptions {
  readonly connections: number;
  readonly timeoutMs: number;
  readonly keepBytes: number;
  readonly onEvent: (event: NbdEvent) => void;
}

/** First and last pause between attempts to connect, in milliseconds; it doubles from the first to the last. */
const PAUSE_FIRST_MS = 50;
const PAUSE_LAST_MS = 2000;
/** Interval in milliseconds at which requests are looked through for those whose time is over. */
const LOOK_MS = 250;

/**
 * Connections with a server, lost and made again. A request that was under way is sent again, and looks to the device
 * like one that took longer. Before that every old connection is cut off, so that no reply to what was sent before can
 * come in between.
 */
export class NbdSession {
  readonly #address: NbdAddress;
  readonly #options: SessionOptions;
  readonly #latch: FlushLatch;
  readonly #kept = new KeptWrites();
  /** Requests without an answer, oldest first: those that are sent and those that wait for a connection. */
  readonly #requests = new Set<NbdRequest>();
  #connections: NbdConnection[] = [];
  #agreed: NbdExport;
  #isUp = true;
  #isClosed = false;
  /**
   * Largest number of connections at a time: as many as were asked for, or fewer after the server has closed one over
   * which nothing was under way.
   */
  #connectionsMax: number;
  /** Pause in milliseconds before the next attempt to connect; none once the server has answered something. */
  #pause = 0;
  /** True if writes were answered that no flush has made stable. */
  #isDirty = false;
  /** Flush that began last, while it is under way. */
  #flushing: Promise<void> | undefined;
  #ownFlush: Promise<void> | undefined;
  #looking: ReturnType<typeof setInterval> | undefined;
  #wake: () => void = () => {};
  #idle: () => void = () => {};

  private constructor(address: NbdAddress, options: SessionOptions, first: NbdConnection) {
    this.#address = address;
    this.#options = options;
    this.#latch = new FlushLatch(address.text);
    this.#agreed = first.agreed;
    this.#connectionsMax = options.connections;
  }

  static async open(address: NbdAddress, options: SessionOptions): Promise<NbdSession> {
    let session: NbdSession | undefined;
    let early: Error | undefined;
    const first = await NbdConnection.open(address, options.timeoutMs, (connection, error) => {
      if (session === undefined) early = error;
      else session.#lose(connection, error);
    });
    if (early !== undefined) throw early;
    session = new NbdSession(address, options, first);
    session.#connections.push(first);
    void session.#connectMore();
    return session;
  }

  get agreed(): NbdExport {
    return this.#agreed;
  }

  get connections(): number {
    return this.#connections.length;
  }

  can(flag: number): boolean {
    return (this.#agreed.flags & flag) !== 0;
  }

  /** Sends a command, again and again until it is answered or its time is over. */
  submit(facts: CommandFacts): Promise<void> {
    if (this.#isClosed) return Promise.reject(closedError(this.#address.text));
    const request = new NbdRequest(facts, performance.now() + this.#options.timeoutMs);
    this.#requests.add(request);
    this.#looking ??= setInterval(() => this.#look(), Math.min(LOOK_MS, this.#options.timeoutMs));
    if (this.#isUp) this.#send(request);
    return request.done
      .then(() => {
        this.#pause = 0;
      })
      .finally(() => this.#ended(request));
  }

  /** A command that changes bytes of the disk; they are kept until they are stable. */
  async change(facts: CommandFacts): Promise<void> {
    const isStable = (facts.flags & COMMAND_FLAG.FUA) !== 0 || !this.can(CAN.FLUSH);
    await this.submit(facts);
    if (isStable) return;
    this.#isDirty = true;
    if (this.#options.keepBytes === 0) return;
    this.#kept.add(facts);
    if (this.#kept.bytes > this.#options.keepBytes) {
      const flush = this.#flushByItself();
      // a server that takes writes faster than it makes them stable has to wait
      if (this.#kept.bytes > 2 * this.#options.keepBytes) await flush;
    }
  }

  /** Flushes the disk; undefined where nothing was written since the last flush, and that has ended. */
  flush(): Promise<void> | undefined {
    this.#latch.check();
    if (!this.can(CAN.FLUSH)) return undefined;
    return this.#isDirty ? this.#beginFlush() : this.#flushing;
  }

  /** Begins a flush; until it has ended, nothing that was written before it counts as stable. */
  #beginFlush(): Promise<void> {
    const flushing = this.#flush().finally(() => {
      if (this.#flushing === flushing) this.#flushing = undefined;
    });
    this.#flushing = flushing;
    return flushing;
  }

  async #flush(): Promise<void> {
    const { mark } = this.#kept;
    this.#isDirty = false;
    try {
      await this.submit({ command: COMMAND.FLUSH, flags: 0, position: 0, length: 0 });
      this.#latch.check();
    } catch (error) {
      this.#isDirty = true;
      throw isOutage(error) ? error : this.#latch.fail(error);
    }
    this.#kept.drop(mark);
  }

  #flushByItself(): Promise<void> {
    // its error is told by the next flush that somebody asks for
    this.#ownFlush ??= this.#beginFlush()
      .catch(() => {})
      .finally(() => {
        this.#ownFlush = undefined;
      });
    return this.#ownFlush;
  }

  /** Asks the server anew how large the export is, over a connection of its own. */
  async askSize(): Promise<number> {
    const asking = await NbdConnection.open(this.#address, this.#options.timeoutMs, () => {});
    asking.close();
    this.#take(asking.agreed);
    return asking.agreed.size;
  }

  /** From now on nothing is begun; a promise if requests are under way. */
  close(): Promise<void> | undefined {
    if (this.#isClosed) return undefined;
    this.#isClosed = true;
    this.#wake();
    if (!this.#isUp) this.#failAll(closedError(this.#address.text));
    if (this.#requests.size === 0) return this.#disconnect();
    return new Promise<void>((resolve) => {
      this.#idle = resolve;
    }).then(() => this.#disconnect());
  }

  #disconnect(): undefined {
    for (const connection of this.#connections) connection.close();
    this.#connections = [];
    return undefined;
  }

  #send(request: NbdRequest): void {
    let best = this.#connections[0];
    for (const connection of this.#connections) {
      if (best === undefined || connection.underWay < best.underWay) best = connection;
    }
    best?.send(request);
  }

  #ended(request: NbdRequest): void {
    this.#requests.delete(request);
    if (this.#requests.size > 0) return;
    clearInterval(this.#looking);
    this.#looking = undefined;
    this.#idle();
  }

  /** The oldest requests have the earliest deadlines. */
  #look(): void {
    const now = performance.now();
    for (const request of this.#requests) {
      if (request.deadline > now) return;
      const late = nbdError('ETIMEDOUT', `${request.text}: no answer within ${this.#options.timeoutMs} ms`);
      request.fail(late);
      // what hangs on a connection is not waited for; whether it is done is not known
      for (const connection of this.#connections.slice(0, 1)) this.#lose(connection, late);
    }
  }

  #failAll(error: Error): void {
    for (const request of this.#requests) request.fail(error);
  }

  #lose(connection: NbdConnection, error: Error): void {
    const at = this.#connections.indexOf(connection);
    if (at === -1) return;
    if (connection.underWay === 0 && this.#connections.length > 1) {
      // the server is there, and takes fewer: nothing was asked for over this one
      this.#connections.splice(at, 1);
      this.#connectionsMax = this.#connections.length;
      return;
    }
    for (const other of this.#connections) other.destroy();
    this.#connections = [];
    this.#isUp = false;
    this.#options.onEvent({ type: 'lost', error });
    // what one that breaks the rules has been asked for would only make it do it again
    if (error instanceof NbdProtocolError || this.#isClosed) this.#failAll(error);
    void this.#reconnect();
  }

  async #reconnect(): Promise<void> {
    for (let attempts = 1; !this.#isClosed; attempts++) {
      await this.#pauseOnce();
      if (await this.#attempt(attempts)) return;
    }
  }

  /** Longer each time: a server may also agree to everything and then break off, again and again. */
  async #pauseOnce(): Promise<void> {
    const pause = this.#pause;
    this.#pause = pause === 0 ? PAUSE_FIRST_MS : Math.min(2 * pause, PAUSE_LAST_MS);
    if (pause === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, pause);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** @returns whether there is a connection again, over which everything is sent that has to be */
  async #attempt(attempts: number): Promise<boolean> {
    let connection: NbdConnection | undefined;
    let cut = (): void => {};
    const broken = new Promise<'broken'>((resolve) => {
      cut = () => resolve('broken');
    });
    try {
      connection = await NbdConnection.open(this.#address, this.#options.timeoutMs, (lost, error) => {
        cut();
        this.#lose(lost, error);
      });
      this.#take(connection.agreed);
      const replayed = await this.#replay(connection, broken);
      if (replayed === undefined || this.#isClosed || !connection.isOpen) {
        connection.destroy();
        return false;
      }
      this.#goOn(connection, attempts, replayed);
      return true;
    } catch {
      return false;
    }
  }

  #goOn(connection: NbdConnection, attempts: number, replayed: number): void {
    this.#connections.push(connection);
    this.#connectionsMax = this.#options.connections;
    this.#isUp = true;
    const waiting = [...this.#requests].filter((request) => !request.isSettled);
    for (const request of waiting) this.#send(request);
    this.#options.onEvent({ type: 'connected', attempts, resent: waiting.length, replayed });
    void this.#connectMore();
  }

  /**
   * Does the writes again that no flush has made stable, oldest first. What the server refuses now is lost: the next flush says so.
   *
   * @returns how many; undefined if the connection was lost again, or the server hangs
   */
  async #replay(connection: NbdConnection, broken: Promise<'broken'>): Promise<number | undefined> {
    let count = 0;
    for (const group of this.#kept.groups()) {
      const requests = group.map((facts) => new NbdRequest(facts, Number.POSITIVE_INFINITY));
      const all = Promise.allSettled(requests.map(({ done }) => done));
      for (const request of requests) connection.send(request);
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<'broken'>((resolve) => {
        timer = setTimeout(() => resolve('broken'), this.#options.timeoutMs);
      });
      const results = await Promise.race([all, broken, late]);
      clearTimeout(timer);
      if (results === 'broken') return undefined;
      for (const result of results) {
        if (result.status === 'rejected') this.#latch.fail(result.reason);
      }
      count += requests.length;
    }
    return count;
  }

  #take(agreed: NbdExport): void {
    const { size } = this.#agreed;
    this.#agreed = agreed;
    if (agreed.size !== size) this.#options.onEvent({ type: 'resized', size: agreed.size });
  }

  /** More connections, where the server says that one sees what another has written. */
  async #connectMore(): Promise<void> {
    while (this.#wantsMore) {
      try {
        const more = await NbdConnection.open(this.#address, this.#options.timeoutMs, (lost, error) =>
          this.#lose(lost, error),
        );
        if (this.#wantsMore && more.isOpen) this.#connections.push(more);
        else {
          more.close();
          return;
        }
      } catch {
        // it has as many clients as it takes; those that there are do
        return;
      }
    }
  }

  get #wantsMore(): boolean {
    const room = this.#connections.length < this.#connectionsMax;
    return room && this.#isUp && !this.#isClosed && this.can(CAN.MULTI_CONN);
  }
}

/** An error that says nothing of what the server has made stable. */
function isOutage(error: unknown): boolean {
  return ['ETIMEDOUT', 'EBADF', 'EPROTO'].includes((error as { code?: string }).code ?? '');
}
