import { STATUS } from '@virtkit/core';
import { PeerError, type Platform } from '@virtkit/linux';
import type { VhostUserDevice } from '../device.ts';
import { FrontEndError } from '../errors.ts';
import { SLOTS_MAX } from '../memory/guest-memory.ts';
import type { InflightArea, Message } from '../wire/message.ts';
import { backendRequest, reply, replyU64 } from '../wire/reply.ts';
import { BACKEND_REQUEST, PROTOCOL, REQUEST } from '../wire/requests.ts';

/** Protocol features that are offered; CONFIG only by a device that has a configuration. */
const OFFERED = [
  PROTOCOL.MQ,
  PROTOCOL.LOG_SHMFD,
  PROTOCOL.REPLY_ACK,
  PROTOCOL.BACKEND_REQ,
  PROTOCOL.CONFIG,
  PROTOCOL.INFLIGHT_SHMFD,
  PROTOCOL.RESET_DEVICE,
  PROTOCOL.CONFIGURE_MEM_SLOTS,
  PROTOCOL.STATUS,
].reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);

/** Way to the front end. */
export interface FrontEnd {
  /** @param descriptors go with the message, and stay open. @throws FrontEndError if the front end does not take it */
  send(message: Uint8Array, descriptors?: readonly number[]): void;
  /** Sends over another socket of the front end. Answers false if the message was not taken. */
  sendTo(fd: number, message: Uint8Array): boolean;
}

/** Session of one front end, from its connection to its end: what each of its messages does, and is answered. */
export class Session {
  readonly #device: VhostUserDevice;
  readonly #platform: Platform;
  readonly #frontEnd: FrontEnd;
  #protocol = 0n;
  #status = 0;
  /** Descriptor of the socket for requests of the back end. */
  #backend: number | undefined;
  #closed = false;

  constructor(device: VhostUserDevice, platform: Platform, frontEnd: FrontEnd) {
    this.#device = device;
    this.#platform = platform;
    this.#frontEnd = frontEnd;
    device.onConfigChange = () => this.#configChanged();
  }

  /** Protocol features that the front end has taken. */
  get protocolFeatures(): bigint {
    return this.#protocol;
  }

  /**
   * Does what a message asks for, and answers it.
   *
   * @param descriptors those that came with the message; all are taken, or closed
   * @returns a promise if it takes time; no other message may be handled meanwhile
   * @throws FrontEndError for a message that makes no sense; one that waits for an answer has heard of it then
   */
  handle(message: Message, descriptors: number[]): void | Promise<void> {
    try {
      const pending = this.#dispatch(message, descriptors);
      if (pending !== undefined) return pending;
      this.#acknowledge(message, 0n);
    } catch (error) {
      if (error instanceof PeerError) this.#acknowledge(message, 1n);
      throw error;
    } finally {
      for (const descriptor of descriptors.splice(0)) this.#platform.close(descriptor);
    }
  }

  /** Ends the session, since the front end has gone. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#device.onConfigChange = undefined;
    if (this.#backend !== undefined) this.#platform.close(this.#backend);
    this.#backend = undefined;
    this.#device.leave();
  }

  get #offered(): bigint {
    return this.#device.configLength === 0 ? OFFERED & ~(1n << BigInt(PROTOCOL.CONFIG)) : OFFERED;
  }

  #has(bit: number): boolean {
    return ((this.#protocol >> BigInt(bit)) & 1n) !== 0n;
  }

  /** Answers a request that has no answer of its own, if the front end waits for one. */
  #acknowledge(message: Message, value: bigint): void {
    if (message.needReply && this.#has(PROTOCOL.REPLY_ACK) && !ANSWERED.has(message.request))
      this.#frontEnd.send(replyU64(REQUEST[message.request], value));
  }

  #answer(message: Message, value: bigint): void {
    this.#frontEnd.send(replyU64(REQUEST[message.request], value));
  }

  #dispatch(message: Message, descriptors: number[]): Promise<void> | undefined {
    const device = this.#device;
    switch (message.request) {
      case 'GET_FEATURES':
        this.#answer(message, device.offeredFeatures);
        break;
      case 'SET_FEATURES':
        device.setFeatures(message.value);
        break;
      case 'GET_PROTOCOL_FEATURES':
        this.#answer(message, this.#offered);
        break;
      case 'SET_PROTOCOL_FEATURES':
        this.#setProtocol(message.value);
        break;
      case 'GET_QUEUE_NUM':
        this.#answer(message, BigInt(device.queueCount));
        break;
      case 'RESET_OWNER':
      case 'RESET_DEVICE':
        device.reset();
        break;
      case 'SET_STATUS':
        this.#setStatus(Number(message.value & 0xffn));
        break;
      case 'GET_STATUS':
        this.#answer(message, BigInt(this.#status | (device.broken ? STATUS.NEEDS_RESET : 0)));
        break;
      case 'SET_BACKEND_REQ_FD':
        if (this.#backend !== undefined) this.#platform.close(this.#backend);
        this.#backend = descriptors.pop();
        break;
      case 'GET_CONFIG':
      case 'SET_CONFIG':
        this.#config(message);
        break;
      case 'SET_OWNER':
      case 'SET_LOG_FD':
        break;
      default:
        return this.#dispatchMore(message, descriptors);
    }
    return undefined;
  }

  #dispatchMore(message: Message, descriptors: number[]): Promise<void> | undefined {
    const device = this.#device;
    switch (message.request) {
      case 'GET_MAX_MEM_SLOTS':
        this.#answer(message, BigInt(SLOTS_MAX));
        break;
      case 'SET_MEM_TABLE':
        device.setMemory(message.regions, descriptors);
        break;
      case 'ADD_MEM_REG':
        device.addMemory(message.region, descriptors[0]);
        break;
      case 'REM_MEM_REG':
        device.removeMemory(message.region);
        break;
      case 'SET_LOG_BASE':
        device.setLog(message.area, descriptors[0]);
        this.#answer(message, 0n);
        break;
      case 'GET_INFLIGHT_FD':
        this.#makeInFlight(message.area);
        break;
      case 'SET_INFLIGHT_FD':
        device.setInFlight(message.area, descriptors[0]);
        break;
      default:
        return this.#dispatchVring(message, descriptors);
    }
    return undefined;
  }

  #dispatchVring(message: Message, descriptors: number[]): Promise<void> | undefined {
    const device = this.#device;
    switch (message.request) {
      case 'SET_VRING_NUM':
        device.setSize(message.state.queue, message.state.value);
        break;
      case 'SET_VRING_BASE':
        device.setBase(message.state.queue, message.state.value);
        break;
      case 'SET_VRING_ADDR':
        device.setAddress(message.address);
        break;
      case 'SET_VRING_ENABLE':
        device.setEnabled(message.state.queue, message.state.value !== 0);
        break;
      case 'SET_VRING_KICK':
        device.setKick(message.queue, descriptors);
        break;
      case 'SET_VRING_CALL':
        device.setCall(message.queue, descriptors);
        break;
      case 'SET_VRING_ERR':
        device.setError(message.queue, descriptors);
        break;
      case 'GET_VRING_BASE':
        return this.#getBase(message.state.queue);
      default:
        throw new FrontEndError(`${message.request} has no place here`);
    }
    return undefined;
  }

  #setProtocol(features: bigint): void {
    const offered = this.#offered;
    if ((features & ~offered) !== 0n)
      throw new FrontEndError(
        `protocol features 0x${features.toString(16)}, offered are 0x${offered.toString(16)}`,
        { features },
      );
    this.#protocol = features;
  }

  #setStatus(status: number): void {
    this.#status = status;
    if (status === 0) this.#device.endDriver();
  }

  #config(message: Message & { readonly request: 'GET_CONFIG' | 'SET_CONFIG' }): void {
    const { offset, size, bytes } = message.piece;
    if (message.request === 'SET_CONFIG') {
      this.#device.writeConfig(offset, bytes);
      return;
    }
    const payload = new Uint8Array(12 + size);
    const view = new DataView(payload.buffer);
    view.setUint32(0, offset, true);
    view.setUint32(4, size, true);
    payload.set(this.#device.readConfig(offset, size), 12);
    this.#frontEnd.send(reply(REQUEST.GET_CONFIG, payload));
  }

  #makeInFlight(area: InflightArea): void {
    const made = this.#device.makeInFlight(area);
    const payload = new Uint8Array(area.payloadBytes);
    const view = new DataView(payload.buffer);
    view.setBigUint64(0, BigInt(made?.size ?? 0), true);
    view.setUint16(16, area.queues, true);
    view.setUint16(18, area.queueSize, true);
    try {
      this.#frontEnd.send(
        reply(REQUEST.GET_INFLIGHT_FD, payload),
        made === undefined ? [] : [made.descriptor],
      );
    } finally {
      if (made !== undefined) this.#platform.close(made.descriptor);
    }
  }

  async #getBase(queue: number): Promise<void> {
    const base = await this.#device.stop(queue);
    if (this.#closed) return;
    const payload = new Uint8Array(8);
    const view = new DataView(payload.buffer);
    view.setUint32(0, queue, true);
    view.setUint32(4, base, true);
    this.#frontEnd.send(reply(REQUEST.GET_VRING_BASE, payload));
  }

  /**
   * Tells the front end that the configuration has changed. A message that it does not take now is lost: it has others
   * to read, and reads the configuration when it comes to them.
   */
  #configChanged(): void {
    if (this.#backend === undefined || !this.#has(PROTOCOL.CONFIG)) return;
    this.#frontEnd.sendTo(this.#backend, backendRequest(BACKEND_REQUEST.CONFIG_CHANGE_MSG));
  }
}

/** Requests that have an answer of their own. */
const ANSWERED: ReadonlySet<string> = new Set([
  'GET_FEATURES',
  'GET_PROTOCOL_FEATURES',
  'GET_VRING_BASE',
  'GET_QUEUE_NUM',
  'GET_CONFIG',
  'GET_INFLIGHT_FD',
  'GET_MAX_MEM_SLOTS',
  'GET_STATUS',
  'SET_LOG_BASE',
]);
