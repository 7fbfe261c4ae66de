import type { Facts } from '@virtkit/vmstate';
import type { DeviceHost } from '../contract/device-host.ts';
import type { GuestMemory } from '../contract/memory.ts';
import type { Virtqueue } from '../contract/queue.ts';
import type { TransportParts } from '../contract/state.ts';
import type { DeviceCore } from './device-core.ts';

/** View of core that a device type is handed. */
export class ModelFacade<T extends TransportParts, D> implements DeviceHost {
  readonly memory: GuestMemory;
  readonly #core: DeviceCore<T, D>;

  constructor(core: DeviceCore<T, D>) {
    this.#core = core;
    this.memory = core.memory;
  }

  get features(): bigint {
    return this.#core.features;
  }

  has(bit: number): boolean {
    return this.#core.has(bit);
  }

  offers(bit: number): boolean {
    return this.#core.offers(bit);
  }

  get littleEndian(): boolean {
    return this.#core.littleEndian;
  }

  get status(): number {
    return this.#core.status;
  }

  get running(): boolean {
    return this.#core.running;
  }

  queue(index: number): Virtqueue | undefined {
    return this.#core.queues.ring(index);
  }

  notifyConfig(): void {
    this.#core.notifyConfig();
  }

  fault(reason: string, facts?: Facts): void {
    this.#core.fault(reason, facts);
  }

  event(name: string, facts?: Facts): void {
    this.#core.event(name, facts);
  }

  queuesChanged(): void {
    this.#core.queuesChanged();
  }
}
