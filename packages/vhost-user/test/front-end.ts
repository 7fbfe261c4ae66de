// A front end in the test's own process: real sockets, files in memory and eventfds, and the drivers of @virtkit/testing behind them.
import {
  clear,
  closeDescriptor,
  connectTo,
  createEventfd,
  mapShared,
  receive,
  send,
  sharedFile,
  signal,
} from '@virtkit/linux';
import { BlkDriver, GuestRam, type RingWishes } from '@virtkit/testing';
import type { RingAddresses } from '@virtkit/testing/rings';
import type { DriverTransport, Interrupts } from '@virtkit/testing/transports';
import { FLAG, HEADER_BYTES, PAYLOAD_MAX, REQUEST, type RequestName } from '../src/wire/requests.ts';

/** Guest memory of a test, in bytes. */
export const RAM_BYTES = 4 << 20;
/** Where the front end says that it has guest memory itself. */
const USER = 0x7f00_0000_0000n;

export const PROTOCOL_ALL = 0x1b22bn;

/** Lets the event loop turn once, with what is ready in it. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Turns until something is so; the test's own time-out ends what never comes. */
export async function until(what: () => boolean): Promise<void> {
  while (!what()) await turn();
}

export function eventfd(): number {
  return createEventfd();
}

export function memfd(bytes: number): number {
  return sharedFile('test', bytes, false);
}

/** Fields of a payload: 32 bits for a number, 64 for a bigint. */
export function fields(...values: readonly (number | bigint)[]): Uint8Array {
  const bytes = new Uint8Array(
    values.reduce<number>((sum, value) => sum + (typeof value === 'bigint' ? 8 : 4), 0),
  );
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const value of values) {
    if (typeof value === 'bigint') view.setBigUint64(at, value, true);
    else view.setUint32(at, value, true);
    at += typeof value === 'bigint' ? 8 : 4;
  }
  return bytes;
}

/** A message that came. */
interface Reply {
  readonly request: number;
  readonly payload: Uint8Array;
  readonly view: DataView;
  readonly descriptors: readonly number[];
}

/** A connection to a server, message by message. */
export class Wire {
  readonly fd: number;

  constructor(path: string) {
    this.fd = connectTo(path);
  }

  raw(bytes: Uint8Array, descriptors: readonly number[] = []): boolean {
    return send(this.fd, bytes, descriptors);
  }

  send(
    request: RequestName,
    payload: Uint8Array = new Uint8Array(0),
    descriptors: readonly number[] = [],
    flags = 0,
  ): void {
    const bytes = new Uint8Array(HEADER_BYTES + payload.length);
    bytes.set(fields(REQUEST[request], FLAG.VERSION | flags, payload.length));
    bytes.set(payload, HEADER_BYTES);
    if (!this.raw(bytes, descriptors)) throw new Error(`${request} was not taken`);
  }

  /** The next message; undefined: the connection was closed. */
  async next(): Promise<Reply | undefined> {
    const bytes = new Uint8Array(HEADER_BYTES + PAYLOAD_MAX);
    for (;;) {
      // an answer is sent in one piece, and only asked for one at a time
      const { count, descriptors } = receive(this.fd, bytes);
      if (count === 0) return undefined;
      if (count > 0) {
        const payload = bytes.slice(HEADER_BYTES, count);
        const view = new DataView(payload.buffer);
        return { request: new DataView(bytes.buffer).getUint32(0, true), payload, view, descriptors };
      }
      await turn();
    }
  }

  async ask(request: RequestName, payload?: Uint8Array, descriptors?: readonly number[]): Promise<Reply> {
    this.send(request, payload, descriptors);
    const reply = await this.next();
    if (reply?.request !== REQUEST[request]) throw new Error(`${request} was answered by ${reply?.request}`);
    return reply;
  }

  /** Sends with NEED_REPLY, and answers what came back. */
  async acknowledged(
    request: RequestName,
    payload?: Uint8Array,
    descriptors?: readonly number[],
  ): Promise<bigint> {
    this.send(request, payload, descriptors, FLAG.NEED_REPLY);
    const reply = await this.next();
    if (reply?.request !== REQUEST[request]) throw new Error(`${request} was answered by ${reply?.request}`);
    return reply.view.getBigUint64(0, true);
  }

  async u64(request: RequestName): Promise<bigint> {
    return (await this.ask(request)).view.getBigUint64(0, true);
  }

  close(): void {
    closeDescriptor(this.fd);
  }
}

/** What outlives a connection of a front end: its guest. */
export class Guest {
  readonly file = memfd(RAM_BYTES);
  readonly bytes = mapShared(this.file, 0, RAM_BYTES).window(0, RAM_BYTES);
  /** Guest address of its memory. */
  readonly base: number;
  ram: GuestRam;
  /** The list of chains in flight, once a back end has made one. */
  inFlight: { readonly descriptor: number; readonly payload: Uint8Array } | undefined;

  constructor(base = 0) {
    this.base = base;
    this.ram = this.renew();
  }

  /** All of the memory is unused again. */
  renew(): GuestRam {
    this.ram = new GuestRam(this.bytes, this.base);
    return this.ram;
  }

  close(): void {
    closeDescriptor(this.file);
    if (this.inFlight !== undefined) closeDescriptor(this.inFlight.descriptor);
  }
}

/** A front end that has got to know its back end: the transport of a driver. */
export class FrontEnd implements DriverTransport {
  readonly name = 'vhost-user';
  readonly modern = true;
  readonly legacyLittleEndian = true;
  readonly wire: Wire;
  readonly guest: Guest;
  readonly protocol: bigint;
  readonly #features: bigint;
  readonly #config: Uint8Array;
  readonly #deviceId: number;
  readonly #queueCount: number;
  readonly #calls = new Map<number, number>();
  readonly #kicks = new Map<number, number>();
  /** Where rings lie and go on; a front end that connects again sets them up again. */
  readonly rings = new Map<number, RingAddresses>();
  /** What it says of a packed ring that is new. */
  freshPacked = 0x80008000;
  accepted = 0n;
  #status = 0;

  private constructor(
    wire: Wire,
    guest: Guest,
    about: { protocol: bigint; features: bigint; config: Uint8Array; deviceId: number; queues: number },
  ) {
    this.wire = wire;
    this.guest = guest;
    this.protocol = about.protocol;
    this.#features = about.features;
    this.#config = about.config;
    this.#deviceId = about.deviceId;
    this.#queueCount = about.queues;
  }

  static async connect(
    path: string,
    guest: Guest,
    { deviceId = 2, configBytes = 60, protocol = PROTOCOL_ALL, slots = false, map = true } = {},
  ): Promise<FrontEnd> {
    const wire = new Wire(path);
    const features = await wire.u64('GET_FEATURES');
    const taken = (await wire.u64('GET_PROTOCOL_FEATURES')) & protocol;
    wire.send('SET_PROTOCOL_FEATURES', fields(taken));
    wire.send('SET_OWNER');
    const queues = Number(await wire.u64('GET_QUEUE_NUM'));
    const config =
      configBytes === 0
        ? new Uint8Array(0)
        : (
            await wire.ask(
              'GET_CONFIG',
              new Uint8Array([...fields(0, configBytes, 0), ...new Uint8Array(configBytes)]),
            )
          ).payload.slice(12);
    const region = fields(BigInt(guest.base), BigInt(RAM_BYTES), USER, 0n);
    if (slots) {
      wire.send('ADD_MEM_REG', new Uint8Array([...fields(0n), ...region]), [guest.file]);
    } else if (map) wire.send('SET_MEM_TABLE', new Uint8Array([...fields(1, 0), ...region]), [guest.file]);
    return new FrontEnd(wire, guest, { protocol: taken, features, config, deviceId, queues });
  }

  /** Has the back end keep the list of chains in flight with the guest. */
  async keepInFlight(queues: number, queueSize: number): Promise<void> {
    const sizes = queues | (queueSize << 16);
    if (this.guest.inFlight === undefined) {
      const { payload, descriptors } = await this.wire.ask('GET_INFLIGHT_FD', fields(0n, 0n, sizes, 0));
      const [descriptor] = descriptors;
      if (descriptor === undefined) throw new Error('no file for chains in flight');
      this.guest.inFlight = { descriptor, payload };
    }
    const { descriptor, payload } = this.guest.inFlight;
    this.wire.send('SET_INFLIGHT_FD', payload, [descriptor]);
  }

  probe(): number {
    return this.#deviceId;
  }

  reset(): void {
    this.setStatus(0);
  }

  status(): number {
    return this.#status;
  }

  setStatus(status: number): void {
    this.#status = status;
    this.wire.send('SET_STATUS', fields(BigInt(status)));
  }

  offered(): bigint {
    return this.#features;
  }

  accept(features: bigint): void {
    this.accepted = features;
    this.wire.send('SET_FEATURES', fields(features | (1n << 30n)));
  }

  queueSize(queue: number): number {
    return queue < this.#queueCount ? 128 : 0;
  }

  enableQueue(queue: number, ring: RingAddresses): void {
    this.rings.set(queue, ring);
    const packed = (this.accepted >> 34n) & 1n;
    this.startRing(queue, packed === 1n ? this.freshPacked : 0);
  }

  /** Says where the parts of a ring are. */
  placeRing(queue: number, { desc, driver, device }: Omit<RingAddresses, 'size'>): void {
    const user = (address: number): bigint => USER + BigInt(address - this.guest.base);
    this.wire.send(
      'SET_VRING_ADDR',
      fields(queue, 0, user(desc), user(device), user(driver), BigInt(device)),
    );
  }

  startRing(queue: number, base: number): void {
    const ring = this.rings.get(queue);
    if (ring === undefined) throw new Error(`queue ${queue} was never set up`);
    const { wire } = this;
    wire.send('SET_VRING_NUM', fields(queue, ring.size));
    wire.send('SET_VRING_BASE', fields(queue, base));
    this.placeRing(queue, ring);
    const call = this.#calls.get(queue) ?? eventfd();
    const kick = this.#kicks.get(queue) ?? eventfd();
    this.#calls.set(queue, call);
    this.#kicks.set(queue, kick);
    wire.send('SET_VRING_CALL', fields(BigInt(queue)), [call]);
    wire.send('SET_VRING_KICK', fields(BigInt(queue)), [kick]);
    wire.send('SET_VRING_ENABLE', fields(queue, 1));
  }

  /** Stops a ring; answers where it stands. */
  async stopRing(queue: number): Promise<number> {
    return (await this.wire.ask('GET_VRING_BASE', fields(queue, 0))).view.getUint32(4, true);
  }

  notify(queue: number): void {
    const kick = this.#kicks.get(queue);
    if (kick !== undefined) signal(kick);
  }

  config(offset: number, length: number): Uint8Array {
    return this.#config.slice(offset, offset + length);
  }

  setConfig(offset: number, bytes: Uint8Array): void {
    this.wire.send('SET_CONFIG', new Uint8Array([...fields(offset, bytes.length, 0), ...bytes]));
  }

  generation(): number {
    return 0;
  }

  interrupts(): Interrupts {
    return { config: false, queues: [...this.#calls].filter(([, fd]) => clear(fd)).map(([queue]) => queue) };
  }

  close(): void {
    this.wire.close();
    for (const fd of [...this.#calls.values(), ...this.#kicks.values()]) closeDescriptor(fd);
  }
}

/** A disk driver behind a front end, started. */
export function diskOf(frontEnd: FrontEnd, rings: RingWishes = {}, queues = 1): BlkDriver {
  const driver = new BlkDriver({ transport: frontEnd, ram: frontEnd.guest.ram, rings }, { queues });
  driver.probe();
  driver.start();
  return driver;
}

/** Works until everything that was asked for is done. */
export async function finish(driver: BlkDriver): Promise<void> {
  while (driver.pending > 0) {
    driver.service();
    await turn();
  }
}
