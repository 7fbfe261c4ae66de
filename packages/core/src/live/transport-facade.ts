import type { Facts } from '@virtkit/vmstate';
import type { Endian } from '../contract/device.ts';
import type { QueuePosition } from '../contract/live-device.ts';
import type { TransportParts } from '../contract/state.ts';
import type { ConfigRegisters, QueueRegisters, TransportHost } from '../contract/transport-host.ts';
import { FEATURE } from '../spec.ts';
import type { DeviceCore } from './device-core.ts';
import { HostError } from './errors.ts';
import type { QueueSlot } from './queue-slot.ts';
import type { QueueTable } from './queue-table.ts';

/** Features of no device type that mean something to legacy drivers only. QEMU: `VIRTIO_LEGACY_FEATURES`. */
const LEGACY_ONLY =
  (1n << BigInt(FEATURE.NOTIFY_ON_EMPTY)) |
  (1n << BigInt(FEATURE.ANY_LAYOUT)) |
  (1n << BigInt(FEATURE.BAD_FEATURE));

/** View of core that a transport is handed. */
export class TransportFacade<T extends TransportParts, D> implements TransportHost {
  readonly config: ConfigRegisters;
  readonly #core: DeviceCore<T, D>;
  /** Registers of the queues, each made when it is first asked for. */
  readonly #queues: SlotRegisters[] = [];

  constructor(core: DeviceCore<T, D>) {
    this.#core = core;
    this.config = core.config;
  }

  get status(): number {
    return this.#core.status;
  }

  setStatus(value: number): boolean {
    return this.#core.setStatus(value);
  }

  reset(endian?: Endian): void {
    this.#core.reset(endian);
  }

  get isr(): number {
    return this.#core.isr;
  }

  acknowledge(bits: number): void {
    this.#core.isr &= ~bits;
  }

  offeredFeatures(legacy: boolean): bigint {
    const { offered, model } = this.#core;
    return legacy ? offered : offered & ~(model.legacyFeatures | LEGACY_ONLY);
  }

  get driverFeatures(): bigint {
    return this.#core.features;
  }

  setDriverFeatures(features: bigint): boolean {
    return this.#core.setFeatures(features);
  }

  has(bit: number): boolean {
    return this.#core.has(bit);
  }

  get queueCount(): number {
    return this.#core.queues.count;
  }

  queue(index: number): QueueRegisters | undefined {
    return this.#queues[index] ?? this.#make(index);
  }

  get selectedQueue(): QueueRegisters {
    const queue = this.queue(this.#core.queueSel);
    if (queue === undefined)
      throw new HostError(`queue ${this.#core.queueSel} is selected, and there is none`);
    return queue;
  }

  #make(index: number): SlotRegisters | undefined {
    const { queues } = this.#core;
    const slot = queues.slots[index];
    if (slot === undefined) return undefined;
    const registers = new SlotRegisters(queues, slot);
    this.#queues[index] = registers;
    return registers;
  }

  selectQueue(index: number): void {
    this.#core.selectQueue(index);
  }

  kick(queue: number): void {
    this.#core.kick(queue);
  }

  setDisabled(disabled: boolean): void {
    this.#core.disabled = disabled;
  }

  fault(reason: string, facts?: Facts): void {
    this.#core.fault(reason, facts);
  }

  event(name: string, facts?: Facts): void {
    this.#core.event(name, facts);
  }
}

/** The registers of one queue. */
class SlotRegisters implements QueueRegisters {
  readonly #table: QueueTable;
  readonly #slot: QueueSlot;

  constructor(table: QueueTable, slot: QueueSlot) {
    this.#table = table;
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

  setSize(entries: number): void {
    this.#table.setSize(this.#slot, entries);
  }

  setAlign(bytes: number): void {
    this.#slot.align = bytes;
  }

  setAddress(desc: bigint): void {
    this.#table.setAddress(this.#slot, desc);
  }

  setAddresses(desc: bigint, avail: bigint, used: bigint): void {
    this.#table.setAddresses(this.#slot, desc, avail, used);
  }

  setPosition(position: QueuePosition, again: readonly number[] = []): void {
    this.#table.setPosition(this.#slot, { ...position, again });
  }

  setEnabled(enabled: boolean): void {
    this.#table.setEnabled(this.#slot, enabled);
  }

  reset(): void {
    this.#table.reset(this.#slot);
  }
}
