import type { DeviceIdentity } from '../contract/device.ts';
import type { DeviceHost } from '../contract/device-host.ts';
import type { DeviceModel, RequestInFlight } from '../contract/device-model.ts';
import type { Report } from '../contract/finding.ts';
import type { Virtqueue } from '../contract/queue.ts';
import type { TransportParts, VirtioState } from '../contract/state.ts';
import { HostError } from './errors.ts';

/**
 * A device type with all members of {@link DeviceModel}: the one place where those that it leaves out get their defaults.
 * Each is asked for at the call, not once, so that a program may put itself in front of one.
 */
export class AttachedModel<D> {
  readonly #model: DeviceModel<D>;

  constructor(model: DeviceModel<D>) {
    this.#model = model;
  }

  get configLength(): number {
    return this.#model.configLength ?? 0;
  }

  /** Name of the device type: `virtio-blk`. */
  get name(): string {
    return this.#model.layer.name;
  }

  get legacyFeatures(): bigint {
    return this.#model.legacyFeatures ?? 0n;
  }

  /** Does the device type make as many queues as a state has? */
  get makesQueues(): boolean {
    return this.#model.prepareQueues !== undefined;
  }

  get layer(): DeviceIdentity<D> {
    return this.#model.layer;
  }

  get features(): bigint {
    return this.#model.features;
  }

  get queueSizes(): readonly number[] {
    return this.#model.queueSizes;
  }

  attach(host: DeviceHost): void {
    this.#model.attach(host);
  }

  getFeatures(features: bigint): bigint {
    return this.#model.getFeatures?.(features) ?? features;
  }

  getConfig(config: DataView, littleEndian: boolean): void {
    this.#model.getConfig?.(config, littleEndian);
  }

  setConfig(config: DataView, littleEndian: boolean): void {
    this.#model.setConfig?.(config, littleEndian);
  }

  setFeatures(features: bigint): void {
    this.#model.setFeatures?.(features);
  }

  setStatus(status: number): void {
    this.#model.setStatus?.(status);
  }

  beforeFault(): void {
    this.#model.beforeFault?.();
  }

  reset(): void {
    this.#model.reset?.();
  }

  resetQueue(index: number): void {
    this.#model.resetQueue?.(index);
  }

  handleQueue(queue: Virtqueue): void {
    this.#model.handleQueue(queue);
  }

  capture(): D {
    return this.#model.capture();
  }

  missedKick(queue: Virtqueue): void {
    this.#model.missedKick?.(queue);
  }

  check(state: VirtioState<TransportParts, D>, report: Report): void {
    this.#model.check?.(state, report);
  }

  /** Requests in flight that the device type finds in a state; undefined if it keeps no chains. */
  requestsInFlight(state: VirtioState<TransportParts, D>): readonly RequestInFlight[] | undefined {
    return this.#model.requestsInFlight?.(state);
  }

  prepareQueues(count: number): void {
    this.#model.prepareQueues?.(count);
  }

  apply(state: VirtioState<TransportParts, D>): void {
    this.#model.apply?.(state);
  }

  pause(): void {
    this.#model.pause?.();
  }

  resume(): void {
    this.#model.resume?.();
  }

  idle(): Promise<void> {
    return this.#model.idle?.() ?? Promise.resolve();
  }

  /**
   * Refuses a device type that has state and cannot take it over: it would forget the state, and nobody would hear of
   * it.
   *
   * @throws HostError
   */
  checkApply(state: VirtioState<TransportParts, D>): void {
    if (this.#model.apply !== undefined || isEmpty(state.device)) return;
    throw new HostError(
      `${this.#model.layer.name}: its state is not empty, and there is no apply() that takes it over`,
    );
  }
}

/** Is there nothing in this state of a device type? */
function isEmpty(state: unknown): boolean {
  return typeof state !== 'object' || state === null
    ? state === undefined || state === null
    : Object.keys(state).length === 0;
}
