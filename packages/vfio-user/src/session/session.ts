import { PeerError, type Platform } from '@virtkit/linux';
import type { VfioUserDevice } from '../device.ts';
import { ClientError, ERRNO, Refusal } from '../errors.ts';
import {
  DEVICE_FLAG,
  DMA_FLAG,
  FLAG,
  HEADER_BYTES,
  IRQ_TYPES,
  REGIONS,
  SET_IRQS,
  TRANSFER_MAX,
  UNMAP_FLAG,
} from '../wire/commands.ts';
import type { Message } from '../wire/reader.ts';
import { readVersion, versionReply } from '../wire/version.ts';
import { MAPS_MAX } from './dma.ts';
import type { IrqRequest } from './interrupts.ts';

/** Length in bytes of a REGION_READ's or -WRITE's head: offset, region, count. */
const ACCESS_BYTES = 16;
/** Length in bytes of each write of REGION_WRITE_MULTI: its head, and 8 for data. */
const WRITE_BYTES = 24;

/** Way to the client. */
export interface Client {
  /** Sends a message. @throws ClientError if the client does not take it */
  send(message: Uint8Array): void;
  /** Is told that a command was not carried out, and that the client knows. */
  refused(refusal: Refusal): void;
}

/** Session of one client, from its connection to its end: what each of its messages does, and is answered. */
export class Session {
  readonly #device: VfioUserDevice;
  readonly #platform: Platform;
  readonly #client: Client;
  /** True if VERSION has come. */
  #begun = false;
  #writeMultiple = false;
  #closed = false;
  /** Buffer for the reply that is being made: what was sent is the socket's. */
  readonly #reply = new Uint8Array(HEADER_BYTES + ACCESS_BYTES + TRANSFER_MAX);
  readonly #view = new DataView(this.#reply.buffer);
  #answered = false;

  constructor(device: VfioUserDevice, platform: Platform, client: Client) {
    this.#device = device;
    this.#platform = platform;
    this.#client = client;
  }

  /**
   * Does what a message asks for, and answers it.
   *
   * @param descriptors those that came with the message; all are taken, or closed
   * @throws ClientError for a message that makes no sense
   */
  handle(message: Message, descriptors: number[]): void {
    this.#answered = false;
    try {
      this.#dispatch(message, descriptors);
    } catch (error) {
      if (!(error instanceof Refusal) || this.#answered) throw error;
      this.#answer(message, 0, ERRNO[error.errno]);
      this.#client.refused(error);
    } finally {
      for (const descriptor of descriptors.splice(0)) this.#platform.close(descriptor);
    }
  }

  /** Ends the session, since the client has gone. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#device.leave();
  }

  /** Answers, unless the client wants no answer. @param length bytes of the payload, which is in {@link #reply} already */
  #answer({ id, command, noReply }: Message, length: number, error = 0): void {
    this.#answered = true;
    if (noReply) return;
    const view = this.#view;
    view.setUint16(0, id, true);
    view.setUint16(2, command, true);
    view.setUint32(4, HEADER_BYTES + length, true);
    view.setUint32(8, FLAG.REPLY | (error === 0 ? 0 : FLAG.ERROR), true);
    view.setUint32(12, error, true);
    this.#client.send(this.#reply.subarray(0, HEADER_BYTES + length));
  }

  #dispatch(message: Message, descriptors: number[]): void {
    const { name } = message;
    if (message.isReply) throw new ClientError('a reply to nothing', { command: message.command });
    if (!this.#begun && name !== 'VERSION')
      throw new ClientError(`command ${message.command} before VERSION`, { command: message.command });
    if (descriptors.length > 0 && name !== 'DMA_MAP' && name !== 'DEVICE_SET_IRQS')
      throw new ClientError(
        `${name ?? message.command}: ${descriptors.length} file descriptors, none expected`,
      );
    switch (name) {
      case 'REGION_WRITE':
        this.#write(message);
        break;
      case 'REGION_READ':
        this.#read(message);
        break;
      case 'REGION_WRITE_MULTI':
        this.#writeMulti(message);
        break;
      case 'VERSION':
        this.#version(message);
        break;
      case 'DMA_MAP':
        this.#map(message, descriptors);
        break;
      case 'DMA_UNMAP':
        this.#unmap(message);
        break;
      case 'DEVICE_GET_INFO':
        this.#deviceInfo(message);
        break;
      case 'DEVICE_GET_REGION_INFO':
        this.#regionInfo(message);
        break;
      case 'DEVICE_GET_IRQ_INFO':
        this.#irqInfo(message);
        break;
      case 'DEVICE_SET_IRQS':
        this.#setIrqs(message, descriptors);
        break;
      case 'DEVICE_RESET':
        this.#expect(message, 0);
        this.#device.pci.reset();
        this.#answer(message, 0);
        break;
      default:
        throw new Refusal('ENOTSUP', `command ${name ?? message.command} is not offered`, {
          command: message.command,
        });
    }
  }

  /** Demands a payload's length. @throws ClientError for another length */
  #expect({ name, length }: Message, bytes: number, exact = true): void {
    if (length === bytes || (!exact && length > bytes)) return;
    throw new ClientError(`${name}: ${length} bytes, ${exact ? '' : 'at least '}${bytes} expected`, {
      length,
    });
  }

  #version(message: Message): void {
    if (this.#begun) throw new ClientError('VERSION: a second time');
    const version = readVersion(message.payload, message.length);
    this.#begun = true;
    this.#writeMultiple = version.writeMultiple;
    const reply = versionReply(version, MAPS_MAX);
    this.#reply.set(reply, HEADER_BYTES);
    this.#answer(message, reply.length);
  }

  // Regions

  #read(message: Message): void {
    this.#expect(message, ACCESS_BYTES);
    const { payload } = message;
    const [offset, region, count] = accessOf(payload, 0);
    this.#checkAccess('REGION_READ', offset, region, count);
    this.#copyHead(payload);
    this.#device.regions.read(region, offset, count, this.#view, HEADER_BYTES + ACCESS_BYTES);
    this.#answer(message, ACCESS_BYTES + count);
  }

  /**
   * Carries out REGION_WRITE. The reply is sent before the write has its effect: a processor of the guest waits for it,
   * and the device may have much to do.
   */
  #write(message: Message): void {
    this.#expect(message, ACCESS_BYTES, false);
    const { payload } = message;
    const [offset, region, count] = accessOf(payload, 0);
    this.#expect(message, ACCESS_BYTES + count);
    this.#checkAccess('REGION_WRITE', offset, region, count);
    this.#copyHead(payload);
    this.#answer(message, ACCESS_BYTES);
    this.#device.regions.write(region, offset, count, payload, ACCESS_BYTES);
  }

  #writeMulti(message: Message): void {
    if (!this.#writeMultiple) throw new Refusal('ENOTSUP', 'REGION_WRITE_MULTI: not agreed upon');
    this.#expect(message, 8, false);
    const { payload, length } = message;
    const count = Math.floor((length - 8) / WRITE_BYTES);
    if (payload.getBigUint64(0, true) !== BigInt(count)) this.#expect(message, 8 + WRITE_BYTES * count + 1);
    this.#expect(message, 8 + WRITE_BYTES * count);
    for (let i = 0; i < count; i++) {
      const [offset, region, bytes] = accessOf(payload, 8 + WRITE_BYTES * i);
      if (bytes > WRITE_BYTES - ACCESS_BYTES)
        throw new Refusal('EINVAL', `REGION_WRITE_MULTI: ${bytes} bytes in a write`, { bytes });
      this.#checkAccess('REGION_WRITE_MULTI', offset, region, bytes);
    }
    this.#view.setBigUint64(HEADER_BYTES, BigInt(count), true);
    this.#answer(message, 8);
    for (let i = 0; i < count; i++) {
      const at = 8 + WRITE_BYTES * i;
      const [offset, region, bytes] = accessOf(payload, at);
      this.#device.regions.write(region, offset, bytes, payload, at + ACCESS_BYTES);
    }
  }

  #copyHead(payload: DataView): void {
    for (let at = 0; at < ACCESS_BYTES; at += 4)
      this.#view.setUint32(HEADER_BYTES + at, payload.getUint32(at, true), true);
  }

  #checkAccess(command: string, offset: number, region: number, count: number): void {
    if (count <= TRANSFER_MAX && this.#device.regions.holds(region, offset, count)) return;
    throw new Refusal('EINVAL', `${command}: ${count} bytes at ${offset} of region ${region}`, {
      offset,
      region,
      count,
    });
  }

  // Memory

  #map(message: Message, descriptors: readonly number[]): void {
    this.#expect(message, 32);
    const { payload } = message;
    const flags = payload.getUint32(4, true);
    if (descriptors.length > 1) throw new ClientError(`DMA_MAP: ${descriptors.length} file descriptors`);
    this.#checkArgsz(message, 32);
    if ((flags & DMA_FLAG.READ) === 0 || (flags & ~(DMA_FLAG.READ | DMA_FLAG.WRITE)) !== 0)
      throw new Refusal('EINVAL', `DMA_MAP: flags 0x${flags.toString(16)}`, { flags });
    const region = {
      fileOffset: payload.getBigUint64(8, true),
      guestAddress: payload.getBigUint64(16, true),
      size: payload.getBigUint64(24, true),
      readonly: (flags & DMA_FLAG.WRITE) === 0,
    };
    this.#device.memory.mapRegion(region, descriptors[0]);
    this.#answer(message, 0);
  }

  #unmap(message: Message): void {
    this.#expect(message, 24);
    const { payload } = message;
    const flags = payload.getUint32(4, true);
    const [address, size] = [payload.getBigUint64(8, true), payload.getBigUint64(16, true)];
    this.#checkArgsz(message, 24);
    if ((flags & ~UNMAP_FLAG.ALL) !== 0)
      throw new Refusal('ENOTSUP', `DMA_UNMAP: flags 0x${flags.toString(16)}`, { flags });
    if (flags === 0) this.#device.memory.unmapRegion(address, size);
    else if (address === 0n && size === 0n) this.#device.memory.unmapAll();
    else throw new Refusal('EINVAL', 'DMA_UNMAP: all, and a region', { address, size });
    for (let at = 0; at < 24; at += 4)
      this.#view.setUint32(HEADER_BYTES + at, payload.getUint32(at, true), true);
    this.#answer(message, 24);
  }

  // What there is

  /** Checks the room for a reply. @throws Refusal if the client has none, or names its own message wrongly */
  #checkArgsz({ name, payload }: Message, bytes: number): void {
    const argsz = payload.getUint32(0, true);
    if (argsz < bytes) throw new Refusal('EINVAL', `${name}: argsz ${argsz}, ${bytes} expected`, { argsz });
  }

  /** Writes numbers of 32 bits into the reply's payload. */
  #put(...words: readonly number[]): void {
    for (const [index, word] of words.entries()) this.#view.setUint32(HEADER_BYTES + 4 * index, word, true);
  }

  #deviceInfo(message: Message): void {
    this.#expect(message, 16, false);
    this.#checkArgsz(message, 16);
    this.#put(16, DEVICE_FLAG.RESET | DEVICE_FLAG.PCI, REGIONS, IRQ_TYPES);
    this.#answer(message, 16);
  }

  #regionInfo(message: Message): void {
    this.#expect(message, 32, false);
    this.#checkArgsz(message, 32);
    const index = message.payload.getUint32(8, true);
    const info = this.#device.regions.info(index);
    if (info === undefined) throw new Refusal('EINVAL', `DEVICE_GET_REGION_INFO: region ${index}`, { index });
    this.#put(32, info.flags, index, 0, info.size, 0, 0, 0);
    this.#answer(message, 32);
  }

  #irqInfo(message: Message): void {
    this.#expect(message, 16, false);
    this.#checkArgsz(message, 16);
    const index = message.payload.getUint32(8, true);
    const info = this.#device.interrupts.info(index);
    if (info === undefined)
      throw new Refusal('EINVAL', `DEVICE_GET_IRQ_INFO: interrupts of type ${index}`, { index });
    this.#put(16, info.flags, index, info.count);
    this.#answer(message, 16);
  }

  #setIrqs(message: Message, descriptors: number[]): void {
    const request = this.#irqRequest(message, descriptors);
    try {
      this.#device.interrupts.set(request);
    } catch (error) {
      if (error instanceof PeerError && !(error instanceof Refusal))
        throw new ClientError(`DEVICE_SET_IRQS: ${error.message}`, error.facts);
      throw error;
    }
    this.#answer(message, 0);
  }

  #irqRequest(message: Message, descriptors: number[]): IrqRequest {
    this.#expect(message, 20, false);
    const { payload, length } = message;
    const [flags, index, start, count] = [4, 8, 12, 16].map((at) => payload.getUint32(at, true)) as [
      number,
      number,
      number,
      number,
    ];
    const [data, action] = [flags & SET_IRQS.DATA, flags & SET_IRQS.ACTION];
    this.#expect(message, data === SET_IRQS.DATA_BOOL ? 20 + count : 20);
    if (descriptors.length > 0 && (data !== SET_IRQS.DATA_EVENTFD || descriptors.length !== count))
      throw new ClientError(
        `DEVICE_SET_IRQS: ${descriptors.length} file descriptors for ${count} interrupts`,
        {
          flags,
          count,
        },
      );
    this.#checkArgsz(message, length);
    const info = this.#device.interrupts.info(index);
    const none = count === 0 && (start !== 0 || flags !== (SET_IRQS.DATA_NONE | SET_IRQS.TRIGGER));
    if (
      info === undefined ||
      start + count > info.count ||
      none ||
      !isOne(data) ||
      !isOne(action) ||
      flags !== (data | action)
    )
      throw new Refusal(
        'EINVAL',
        `DEVICE_SET_IRQS: flags 0x${flags.toString(16)}, ${count} interrupts from ${start} on of type ${index}`,
        { flags, index, start, count },
      );
    return {
      index,
      start,
      count,
      action,
      chosen:
        data === SET_IRQS.DATA_BOOL
          ? new Uint8Array(payload.buffer, payload.byteOffset + 20, count)
          : undefined,
      eventfds: data === SET_IRQS.DATA_EVENTFD ? descriptors : undefined,
    };
  }
}

/** Is exactly one bit set? */
function isOne(bits: number): boolean {
  return bits !== 0 && (bits & (bits - 1)) === 0;
}

const access: [offset: number, region: number, count: number] = [0, 0, 0];

/** Reads the head of a read or write: offset, region, count. It answers the same array each time. */
function accessOf(payload: DataView, at: number): typeof access {
  access[0] = payload.getUint32(at, true) + 2 ** 32 * payload.getUint32(at + 4, true);
  access[1] = payload.getUint32(at + 8, true);
  access[2] = payload.getUint32(at + 12, true);
  return access;
}
