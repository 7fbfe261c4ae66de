// A client in the test's own process: a real socket, a file in memory and eventfds, and the drivers of @virtkit/testing behind them.
import {
  clear,
  closeDescriptor,
  connectTo,
  createEventfd,
  mapShared,
  receive,
  send,
  sharedFile,
} from '@virtkit/linux';
import { BlkDriver, GuestRam, type RingWishes } from '@virtkit/testing';
import type { RingAddresses } from '@virtkit/testing/rings';
import type { DriverTransport, Interrupts } from '@virtkit/testing/transports';
import {
  COMMAND,
  type CommandName,
  FLAG,
  HEADER_BYTES,
  IRQ,
  REGION,
  SET_IRQS,
} from '../src/wire/commands.ts';

/** Guest memory of a test, in bytes. */
export const RAM_BYTES = 4 << 20;

/** Lets the event loop turn once, with what is ready in it. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Turns until something is so; the test's own time-out ends what never comes. */
export async function until(what: () => boolean): Promise<void> {
  while (!what()) await turn();
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

export const concat = (...parts: readonly Uint8Array[]): Uint8Array =>
  new Uint8Array(parts.flatMap((part) => [...part]));

/** A message of any shape. */
export function message(
  command: number,
  payload: Uint8Array,
  { id = 1, size = HEADER_BYTES + payload.length, flags = 0 } = {},
): Uint8Array {
  return concat(fields(id | (command << 16), size, flags, 0), payload);
}

export const command = (name: CommandName, ...values: readonly (number | bigint)[]): Uint8Array =>
  message(COMMAND[name], fields(...values));

/** VERSION as QEMU says it. */
export const version = (
  capabilities: Readonly<Record<string, unknown>> = { max_msg_fds: 8, write_multiple: true },
): Uint8Array =>
  message(
    COMMAND.VERSION,
    concat(fields(0), new TextEncoder().encode(`${JSON.stringify({ capabilities })}\0`)),
  );

/** A message that came. */
export interface Reply {
  readonly id: number;
  readonly command: number;
  readonly flags: number;
  readonly error: number;
  readonly payload: Uint8Array;
  readonly view: DataView;
}

/** A connection to a server, message by message. */
export class Wire {
  readonly fd: number;
  #id = 100;

  constructor(path: string) {
    this.fd = connectTo(path);
  }

  raw(bytes: Uint8Array, descriptors: readonly number[] = []): boolean {
    return send(this.fd, bytes, descriptors);
  }

  /** The next message; undefined: the connection was closed. */
  async next(): Promise<Reply | undefined> {
    let bytes = new Uint8Array(0);
    const more = new Uint8Array(65_536);
    for (let wanted = HEADER_BYTES; bytes.length < wanted; ) {
      const { count } = receive(this.fd, more.subarray(0, wanted - bytes.length));
      if (count === 0) return undefined;
      if (count < 0) await turn();
      else bytes = new Uint8Array([...bytes, ...more.subarray(0, count)]);
      if (bytes.length >= HEADER_BYTES) wanted = new DataView(bytes.buffer).getUint32(4, true);
    }
    const header = new DataView(bytes.buffer);
    const payload = bytes.slice(HEADER_BYTES);
    return {
      id: header.getUint16(0, true),
      command: header.getUint16(2, true),
      flags: header.getUint32(8, true),
      error: header.getUint32(12, true),
      payload,
      view: new DataView(payload.buffer),
    };
  }

  /** Sends a command and waits for its reply, which may be an error. */
  async ask(name: CommandName, payload: Uint8Array, descriptors: readonly number[] = []): Promise<Reply> {
    const id = this.#id++ & 0xffff;
    if (!this.raw(message(COMMAND[name], payload, { id }), descriptors))
      throw new Error(`${name} was not taken`);
    const reply = await this.next();
    if (reply?.id !== id || reply.command !== COMMAND[name] || (reply.flags & FLAG.REPLY) === 0)
      throw new Error(`${name} was answered by ${JSON.stringify(reply)}`);
    return reply;
  }

  /** The same for one that has to succeed. */
  async done(name: CommandName, payload: Uint8Array, descriptors: readonly number[] = []): Promise<DataView> {
    const { flags, error, view } = await this.ask(name, payload, descriptors);
    if (flags !== FLAG.REPLY) throw new Error(`${name}: error ${error}`);
    return view;
  }

  async read(region: number, offset: number, count: number): Promise<DataView> {
    const view = await this.done('REGION_READ', fields(BigInt(offset), region, count));
    return new DataView(view.buffer, view.byteOffset + 16);
  }

  /** A write that nobody waits for: QEMU's way with memory BARs. */
  post(region: number, offset: number, bytes: Uint8Array): void {
    const payload = concat(fields(BigInt(offset), region, bytes.length), bytes);
    if (!this.raw(message(COMMAND.REGION_WRITE, payload, { flags: FLAG.NO_REPLY })))
      throw new Error('a write was not taken');
  }

  close(): void {
    closeDescriptor(this.fd);
  }
}

/** What outlives a connection of a client: its guest. */
export class Guest {
  readonly file = sharedFile('guest', RAM_BYTES, false);
  readonly bytes = mapShared(this.file, 0, RAM_BYTES).window(0, RAM_BYTES);
  readonly base: number;
  ram: GuestRam;

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
  }
}

/** `struct virtio_pci_common_cfg`, Virtio 1.3 §4.1.4.3 */
const COMMON = {
  deviceFeatureSelect: 0,
  deviceFeature: 4,
  driverFeatureSelect: 8,
  driverFeature: 12,
  configVector: 16,
  queues: 18,
  status: 20,
  queueSelect: 22,
  queueSize: 24,
  queueVector: 26,
  queueEnable: 28,
  queueDesc: 32,
  queueDriver: 40,
  queueDevice: 48,
} as const;
const STRUCTURE = { COMMON: 1, NOTIFY: 2, ISR: 3, DEVICE: 4 } as const;
const CAPABILITY = { VENDOR: 0x09, MSIX: 0x11 } as const;

interface Place {
  readonly bar: number;
  readonly offset: number;
}

/** A client that has got to know its function: the transport of a driver. */
export class VfioClient implements DriverTransport {
  readonly name = 'vfio-user';
  readonly modern = true;
  readonly legacyLittleEndian = true;
  readonly wire: Wire;
  readonly guest: Guest;
  readonly vectors: readonly number[];
  readonly intx: number | undefined;
  /** MSI-X capability's offset. */
  readonly msixAt: number;
  readonly #structures: ReadonlyMap<number, Place>;
  readonly #multiplier: number;
  readonly #features: bigint;
  readonly #config: Uint8Array;
  readonly #queueSizes: readonly number[];
  #status = 0;
  #isrTaken = false;

  private constructor(about: {
    wire: Wire;
    guest: Guest;
    vectors: readonly number[];
    intx: number | undefined;
    msixAt: number;
    structures: ReadonlyMap<number, Place>;
    multiplier: number;
    features: bigint;
    config: Uint8Array;
    queueSizes: readonly number[];
  }) {
    this.wire = about.wire;
    this.guest = about.guest;
    this.vectors = about.vectors;
    this.intx = about.intx;
    this.msixAt = about.msixAt;
    this.#structures = about.structures;
    this.#multiplier = about.multiplier;
    this.#features = about.features;
    this.#config = about.config;
    this.#queueSizes = about.queueSizes;
  }

  /** Does what QEMU does when a function is plugged in, and a driver's looks at it. */
  static async connect(
    path: string,
    guest: Guest,
    { interrupts = 'msix' as 'msix' | 'intx', configBytes = 60 } = {},
  ): Promise<VfioClient> {
    const wire = new Wire(path);
    wire.raw(version());
    await wire.next();
    await wire.done('DEVICE_GET_INFO', fields(16, 0, 0, 0));
    await wire.done('DMA_MAP', fields(32, 3, 0n, BigInt(guest.base), BigInt(RAM_BYTES)), [guest.file]);
    const space = await wire.read(REGION.CONFIG, 0, 256);
    const structures = new Map<number, Place>();
    let [multiplier, msixAt] = [0, 0];
    for (let at = space.getUint8(0x34); at !== 0; at = space.getUint8(at + 1)) {
      const id = space.getUint8(at);
      if (id === CAPABILITY.MSIX) msixAt = at;
      if (id !== CAPABILITY.VENDOR) continue;
      const type = space.getUint8(at + 3);
      structures.set(type, { bar: space.getUint8(at + 4), offset: space.getUint32(at + 8, true) });
      if (type === STRUCTURE.NOTIFY) multiplier = space.getUint32(at + 16, true);
    }
    const place = (type: number): Place => {
      const found = structures.get(type);
      if (found === undefined) throw new Error(`no structure ${type}`);
      return found;
    };
    const eventfd = SET_IRQS.DATA_EVENTFD | SET_IRQS.TRIGGER;
    let vectors: number[] = [];
    let intx: number | undefined;
    // memory and bus mastering
    wire.post(REGION.CONFIG, 4, Uint8Array.of(6, 0));
    if (interrupts === 'msix') {
      const info = await wire.done('DEVICE_GET_IRQ_INFO', fields(16, 0, IRQ.MSIX, 0));
      vectors = Array.from({ length: info.getUint32(12, true) }, () => createEventfd());
      wire.post(REGION.CONFIG, msixAt + 2, Uint8Array.of(0, 0x80));
      for (let start = 0; start < vectors.length; start += 8) {
        const some = vectors.slice(start, start + 8);
        await wire.done('DEVICE_SET_IRQS', fields(20, eventfd, IRQ.MSIX, start, some.length), some);
      }
    } else {
      intx = createEventfd();
      await wire.done('DEVICE_SET_IRQS', fields(20, eventfd, IRQ.INTX, 0, 1), [intx]);
    }
    const common = place(STRUCTURE.COMMON);
    const set = (at: number, ...bytes: number[]): void =>
      wire.post(common.bar, common.offset + at, Uint8Array.from(bytes));
    const get = (at: number, bytes: number): Promise<DataView> =>
      wire.read(common.bar, common.offset + at, bytes);
    let features = 0n;
    for (const word of [0, 1]) {
      set(COMMON.deviceFeatureSelect, word, 0, 0, 0);
      features |= BigInt((await get(COMMON.deviceFeature, 4)).getUint32(0, true)) << BigInt(32 * word);
    }
    const queueSizes: number[] = [];
    const queues = (await get(COMMON.queues, 2)).getUint16(0, true);
    for (let queue = 0; queue < queues; queue++) {
      set(COMMON.queueSelect, queue, 0);
      queueSizes.push((await get(COMMON.queueSize, 2)).getUint16(0, true));
    }
    const device = place(STRUCTURE.DEVICE);
    const { buffer, byteOffset } = await wire.read(device.bar, device.offset, configBytes);
    const config = new Uint8Array(buffer, byteOffset, configBytes);
    return new VfioClient({
      wire,
      guest,
      vectors,
      intx,
      msixAt,
      structures,
      multiplier,
      features,
      config,
      queueSizes,
    });
  }

  #place(type: number): Place {
    const found = this.#structures.get(type);
    if (found === undefined) throw new Error(`no structure ${type}`);
    return found;
  }

  #set(at: number, bytes: Uint8Array): void {
    const { bar, offset } = this.#place(STRUCTURE.COMMON);
    this.wire.post(bar, offset + at, bytes);
  }

  /** The device status as the device has it. */
  async readStatus(): Promise<number> {
    const { bar, offset } = this.#place(STRUCTURE.COMMON);
    return (await this.wire.read(bar, offset + COMMON.status, 1)).getUint8(0);
  }

  probe(): number {
    return 2;
  }

  reset(): void {
    this.setStatus(0);
  }

  status(): number {
    return this.#status;
  }

  setStatus(status: number): void {
    this.#status = status;
    this.#set(COMMON.status, Uint8Array.of(status));
  }

  offered(): bigint {
    return this.#features;
  }

  accept(features: bigint): void {
    for (const word of [0, 1]) {
      this.#set(COMMON.driverFeatureSelect, fields(word));
      this.#set(COMMON.driverFeature, fields(Number((features >> BigInt(32 * word)) & 0xffff_ffffn)));
    }
  }

  queueSize(queue: number): number {
    return this.#queueSizes[queue] ?? 0;
  }

  enableQueue(queue: number, { size, desc, driver, device }: RingAddresses): void {
    const u16 = (value: number): Uint8Array => Uint8Array.of(value & 0xff, value >> 8);
    this.#set(COMMON.queueSelect, u16(queue));
    this.#set(COMMON.queueSize, u16(size));
    if (this.vectors.length > 0) this.#set(COMMON.queueVector, u16(queue + 1));
    this.#set(COMMON.queueDesc, fields(BigInt(desc)));
    this.#set(COMMON.queueDriver, fields(BigInt(driver)));
    this.#set(COMMON.queueDevice, fields(BigInt(device)));
    this.#set(COMMON.queueEnable, u16(1));
  }

  notify(queue: number): void {
    const { bar, offset } = this.#place(STRUCTURE.NOTIFY);
    this.wire.post(bar, offset + queue * this.#multiplier, Uint8Array.of(queue & 0xff, queue >> 8));
  }

  config(offset: number, length: number): Uint8Array {
    return this.#config.slice(offset, offset + length);
  }

  setConfig(at: number, bytes: Uint8Array): void {
    const { bar, offset } = this.#place(STRUCTURE.DEVICE);
    this.wire.post(bar, offset + at, bytes);
  }

  generation(): number {
    return 0;
  }

  interrupts(): Interrupts {
    if (this.intx !== undefined) {
      if (clear(this.intx)) void this.#takeIsr();
      if (!this.#isrTaken) return { config: false, queues: [] };
      this.#isrTaken = false;
      return { config: false, queues: 'any' };
    }
    const due = this.vectors.flatMap((fd, vector) => (clear(fd) ? [vector - 1] : []));
    return { config: due.includes(-1), queues: due.filter((queue) => queue >= 0) };
  }

  /** The guest reads what the interrupt was, QEMU unmasks the line when it hears of that, and then the guest looks into its rings. */
  async #takeIsr(): Promise<void> {
    const { bar, offset } = this.#place(STRUCTURE.ISR);
    await this.wire.read(bar, offset, 1);
    await this.wire.done('DEVICE_SET_IRQS', fields(20, SET_IRQS.DATA_NONE | SET_IRQS.UNMASK, IRQ.INTX, 0, 1));
    this.#isrTaken = true;
  }

  close(): void {
    this.wire.close();
    for (const fd of this.vectors) closeDescriptor(fd);
    if (this.intx !== undefined) closeDescriptor(this.intx);
  }
}

/** A disk driver behind a client, started. */
export function diskOf(client: VfioClient, rings: RingWishes = {}, queues = 1): BlkDriver {
  const driver = new BlkDriver({ transport: client, ram: client.guest.renew(), rings }, { queues });
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
