import type { DeviceModel } from '../contract/device-model.ts';
import type { Finding } from '../contract/finding.ts';
import type {
  LiveDevice,
  QueueInfo,
  QueuePosition,
  RestoreOptions,
  RestorePlan,
} from '../contract/live-device.ts';
import type { GuestMemory } from '../contract/memory.ts';
import type { TransportParts, VirtioState } from '../contract/state.ts';
import { errorOf } from '../report.ts';
import { captureState } from './capture.ts';
import type { DeviceCore } from './device-core.ts';
import type { QueueSlot } from './queue-slot.ts';
import { planRestore } from './restore.ts';

/** A live device, as its host program sees it. */
export class LiveFacade<T extends TransportParts, D> implements LiveDevice<T, D> {
  readonly model: DeviceModel<D>;
  readonly layers: LiveDevice<T, D>['layers'];
  readonly memory: GuestMemory;
  readonly #core: DeviceCore<T, D>;

  constructor(core: DeviceCore<T, D>, model: DeviceModel<D>) {
    this.#core = core;
    this.model = model;
    this.layers = { transport: core.transport.layer, device: model.layer };
    this.memory = core.memory;
  }

  get status(): number {
    return this.#core.status;
  }

  get offeredFeatures(): bigint {
    return this.#core.offered;
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

  get broken(): boolean {
    return this.#core.broken;
  }

  get disabled(): boolean {
    return this.#core.disabled;
  }

  get paused(): boolean {
    return this.#core.paused;
  }

  get running(): boolean {
    return this.#core.running;
  }

  get queueCount(): number {
    return this.#core.queues.count;
  }

  queue(index: number): QueueInfo | undefined {
    const slot = this.#core.queues.slots[index];
    return slot === undefined ? undefined : new SlotInfo(slot);
  }

  readConfig(): Uint8Array {
    return this.#core.config.readAll();
  }

  pause(): void {
    this.#core.pause();
  }

  resume({ rings = true }: { readonly rings?: boolean } = {}): void {
    this.#core.resume(rings);
  }

  idle(): Promise<void> {
    return this.#core.model.idle();
  }

  reset(): void {
    this.#core.reset();
  }

  capture(): VirtioState<T, D> {
    this.memory.sync();
    return captureState(this.#core);
  }

  planRestore(state: VirtioState<T, D>, options: RestoreOptions = {}): RestorePlan {
    this.memory.sync();
    return planRestore(this.#core, state, options);
  }

  check(state: VirtioState<T, D>, options?: RestoreOptions): readonly Finding[] {
    return this.planRestore(state, options).findings;
  }

  restore(state: VirtioState<T, D>, options?: RestoreOptions): void {
    const { findings, apply } = this.planRestore(state, options);
    const error = errorOf(findings);
    if (error !== undefined) throw error;
    apply?.();
  }
}

/** View of a queue for the host program. */
class SlotInfo implements QueueInfo {
  readonly #slot: QueueSlot;

  constructor(slot: QueueSlot) {
    this.#slot = slot;
  }

  get index(): number {
    return this.#slot.index;
  }

  get size(): number {
    return this.#slot.num;
  }

  get defaultSize(): number {
    return this.#slot.numDefault;
  }

  get desc(): bigint {
    return this.#slot.desc;
  }

  get avail(): bigint {
    return this.#slot.avail;
  }

  get used(): bigint {
    return this.#slot.used;
  }

  get format(): QueueInfo['format'] {
    return this.#slot.ring?.format;
  }

  get position(): QueuePosition {
    return this.#slot.indices;
  }

  get inFlight(): number {
    return this.#slot.ring?.inFlight ?? 0;
  }

  get setups(): number {
    return this.#slot.setups;
  }

  get kicks(): number {
    return this.#slot.kicks;
  }

  get interrupts(): number {
    return this.#slot.interrupts;
  }
}
