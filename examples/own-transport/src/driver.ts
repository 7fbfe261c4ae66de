import { DriverError } from '@virtkit/testing';
import type { RingAddresses } from '@virtkit/testing/rings';
import type { DriverTransport, Interrupts, Reach } from '@virtkit/testing/transports';
import type { Answer, Event, Message } from './messages.ts';

/** The device as the driver reaches it, wherever that is. */
export interface MessageBus {
  /** Sends a message, and waits for the answer. */
  call(message: Message): Answer;
  /** Takes the events that have come since. */
  events(): readonly Event[];
}

/** The driver's side of the transport: the drivers of `@virtkit/testing` work through it as through PCI's registers. */
export class MessageDriver implements DriverTransport {
  readonly name = 'messages';
  readonly modern = true;
  readonly legacyLittleEndian = true;
  readonly #bus: Reach<MessageBus>;
  #configLength = 0;

  constructor(bus: Reach<MessageBus>) {
    this.#bus = bus;
  }

  probe(): number {
    const info = this.#ask({ type: 'GET_DEVICE_INFO' }, 'INFO');
    this.#configLength = info.configLength;
    return info.deviceId;
  }

  reset(): void {
    this.setStatus(0);
  }

  status(): number {
    return this.#ask({ type: 'GET_DEVICE_STATUS' }, 'STATUS').status;
  }

  setStatus(status: number): void {
    this.#ask({ type: 'SET_DEVICE_STATUS', status }, 'DONE');
  }

  offered(): bigint {
    return this.#ask({ type: 'GET_DEVICE_FEATURES' }, 'FEATURES').features;
  }

  accept(features: bigint): void {
    this.#ask({ type: 'SET_DRIVER_FEATURES', features }, 'DONE');
  }

  queueSize(queue: number): number {
    return this.#ask({ type: 'GET_VQUEUE', queue }, 'VQUEUE').size;
  }

  enableQueue(queue: number, { size, desc, driver, device }: RingAddresses): void {
    const ring = { size, desc: BigInt(desc), driver: BigInt(driver), device: BigInt(device) };
    this.#ask({ type: 'SET_VQUEUE', queue, ring }, 'DONE');
  }

  resetQueue(queue: number): void {
    this.#ask({ type: 'RESET_VQUEUE', queue }, 'DONE');
  }

  notify(queue: number): void {
    this.#ask({ type: 'EVENT_AVAIL', queue }, 'DONE');
  }

  config(offset: number, length: number): Uint8Array {
    return this.#ask({ type: 'GET_CONFIG', offset, length }, 'CONFIG').bytes;
  }

  setConfig(offset: number, bytes: Uint8Array): void {
    this.#ask({ type: 'SET_CONFIG', offset, bytes }, 'DONE');
  }

  generation(): number {
    return this.#ask({ type: 'GET_CONFIG', offset: 0, length: Math.min(1, this.#configLength) }, 'CONFIG')
      .generation;
  }

  interrupts(): Interrupts {
    const events = this.#bus().events();
    return {
      config: events.some(({ type }) => type === 'EVENT_CONFIG'),
      queues: events.flatMap((event) => (event.type === 'EVENT_USED' ? [event.queue] : [])),
    };
  }

  #ask<K extends Answer['type']>(message: Message, type: K): Extract<Answer, { type: K }> {
    const answer = this.#bus().call(message);
    if (isAnswer(answer, type)) return answer;
    throw new DriverError(`${message.type}: answered ${answer.type}`);
  }
}

function isAnswer<K extends Answer['type']>(answer: Answer, type: K): answer is Extract<Answer, { type: K }> {
  return answer.type === type;
}
