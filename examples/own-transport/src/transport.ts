import {
  type ConfigChange,
  createDevice,
  type DeviceModel,
  type LiveDevice,
  type LiveOptions,
  type Report,
  type TransportHost,
  type TransportModel,
  type VirtioState,
} from '@virtkit/core';
import { type MessageParts, messages } from './layer.ts';
import type { Answer, Event, Message } from './messages.ts';

const DONE: Answer = { type: 'DONE' };
const REFUSED: Answer = { type: 'REFUSED' };

/** How a device is put behind messages. */
export interface MessageOptions extends Omit<LiveOptions, 'version1' | 'align' | 'targetEndian'> {
  /** The device's number on the bus; a state is restored at the number that it was saved at. */
  readonly address: number;
  /** Sends an interrupt. It must not call the driver before it returns. */
  sendEvent(event: Event): void;
}

/**
 * A virtio device behind messages, written with the contract alone: {@link TransportModel} is what core asks of it, and
 * `TransportHost` everything that it asks of core.
 */
export class MessageDevice<D = unknown> implements TransportModel<MessageParts> {
  readonly layer = messages;
  /** A transport of its own adds no feature bits. */
  readonly features = 0n;
  /** For the host program: what saves, restores, stops and goes on. */
  readonly device: LiveDevice<MessageParts, D>;
  readonly #host: TransportHost;
  readonly #deviceId: number;
  readonly #options: MessageOptions;

  constructor(model: DeviceModel<D>, options: MessageOptions) {
    this.#options = options;
    this.#deviceId = model.layer.virtioId ?? 0;
    const { device, host } = createDevice<MessageParts, D>(model, this, options);
    this.device = device;
    this.#host = host;
  }

  /** Does what a message says. It comes from the guest: whatever it holds, this throws nothing and changes nothing it should not. */
  receive(message: Message): Answer {
    const host = this.#host;
    switch (message.type) {
      case 'GET_DEVICE_INFO':
        return { type: 'INFO', deviceId: this.#deviceId, configLength: host.config.length };
      case 'GET_DEVICE_FEATURES':
        return { type: 'FEATURES', features: host.offeredFeatures(false) };
      case 'SET_DRIVER_FEATURES':
        if (typeof message.features !== 'bigint') return REFUSED;
        // after FEATURES_OK nothing changes any more, as with registers
        host.setDriverFeatures(message.features);
        return DONE;
      case 'GET_DEVICE_STATUS':
        return { type: 'STATUS', status: host.status };
      case 'SET_DEVICE_STATUS':
        return this.#setStatus(message.status);
      case 'GET_CONFIG':
        return this.#config(message.offset, message.length);
      case 'SET_CONFIG':
        return this.#setConfig(message.offset, message.bytes);
      default:
        return this.#queueMessage(message);
    }
  }

  #queueMessage(message: Message & { readonly queue?: number }): Answer {
    const queue = isWord(message.queue) ? this.#host.queue(message.queue) : undefined;
    if (queue === undefined) return REFUSED;
    switch (message.type) {
      case 'GET_VQUEUE':
        return { type: 'VQUEUE', size: queue.defaultSize };
      case 'SET_VQUEUE': {
        const { ring } = message;
        if (!isWord(ring?.size) || [ring.desc, ring.driver, ring.device].some((at) => !isAddress(at)))
          return REFUSED;
        queue.setSize(ring.size);
        queue.setAddresses(ring.desc, ring.driver, ring.device);
        return DONE;
      }
      case 'RESET_VQUEUE':
        queue.reset();
        return DONE;
      case 'EVENT_AVAIL':
        this.#host.kick(queue.index);
        return DONE;
      default:
        return REFUSED;
    }
  }

  #setStatus(status: number): Answer {
    if (!isWord(status) || status > 0xff) return REFUSED;
    if (status === 0) this.#host.reset();
    // Virtio 1.3 §3.1.1: the driver reads FEATURES_OK back, and sees there if its features were refused
    else this.#host.setStatus(status);
    return DONE;
  }

  #config(offset: number, length: number): Answer {
    const { config } = this.#host;
    if (!isWord(offset) || !isWord(length) || offset + length > config.length) return REFUSED;
    // one message: all of its bytes are of one generation
    const bytes = Uint8Array.from({ length }, (_, i) => config.read(offset + i, 1));
    return { type: 'CONFIG', generation: config.generation, bytes };
  }

  #setConfig(offset: number, bytes: Uint8Array): Answer {
    const { config } = this.#host;
    if (!isWord(offset) || !(bytes instanceof Uint8Array) || offset + bytes.length > config.length)
      return REFUSED;
    for (const [i, byte] of bytes.entries()) config.write(offset + i, 1, byte);
    return DONE;
  }

  // What core calls

  notify(queue: number | ConfigChange): void {
    // a message says what has happened; there is no register of it that the driver would read
    this.#host.acknowledge(this.#host.isr);
    this.#options.sendEvent(queue === -1 ? { type: 'EVENT_CONFIG' } : { type: 'EVENT_USED', queue });
  }

  captureConfig(): MessageParts['config'] {
    return { address: this.#options.address };
  }

  captureQueue(): MessageParts['queue'] {
    return {};
  }

  captureExtra(): undefined {
    return undefined;
  }

  check(state: VirtioState<MessageParts>, report: Report): void {
    const { address } = state.transport;
    if (address === this.#options.address) return;
    report({
      code: 'address',
      severity: 'error',
      path: 'transport.address',
      reason: `a device at address ${address} of its bus, and this one is at ${this.#options.address}`,
      facts: { address, here: this.#options.address },
    });
  }

  apply(): void {
    // the address is the same, and there is nothing else
  }

  resetQueue(): void {
    // queues have nothing of the transport's
  }
}

function isWord(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}

function isAddress(value: unknown): value is bigint {
  return typeof value === 'bigint' && value >= 0n && value < 1n << 64n;
}
