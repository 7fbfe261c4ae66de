import {
  type Chain,
  type DeviceHost,
  type DeviceIdentity,
  type DeviceModel,
  FEATURE,
  type Gpa,
  HostError,
  hasFeature,
  type Report,
  type RequestInFlight,
  reportError,
  STATUS,
  type TransportParts,
  type VirtioState,
  type Virtqueue,
} from '@virtkit/core/live';
import { BLK_FEATURE } from '../features.ts';
import { blkIdentity } from '../identity.ts';
import type { BlkRequest, BlkState } from '../state.ts';
import { configLength, fillConfig, offeredFeatures, WRITEBACK_OFFSET } from './config.ts';
import { Engine } from './engine.ts';
import { type BlkOptions, settle } from './options.ts';
import type { ParkedRequest } from './request.ts';
import { SECTOR_BYTES } from './wire.ts';

/**
 * virtio-blk, live: Virtio 1.3 §5.2; QEMU `hw/block/virtio-blk.c`.
 *
 * ```ts
 * const disk = new BlkDevice({ backend: memoryDisk(64 * 1024 * 1024), serial: 'disk-0' });
 * const { device } = new PciFunction(disk, { memory }); // of @virtkit/transport-pci
 * ```
 *
 * A save needs no drain: what is in flight is in the state, and is done from the start where the state is restored. Before
 * another program opens the same disk, wait for {@link idle}.
 */
export class BlkDevice implements DeviceModel<BlkState> {
  readonly layer: DeviceIdentity<BlkState> = blkIdentity;
  readonly features: bigint;
  readonly legacyFeatures: bigint = 1n << BigInt(BLK_FEATURE.SCSI);
  readonly configLength: number;
  readonly queueSizes: readonly number[];
  readonly #engine: Engine;

  /** @throws HostError that names the option */
  constructor(options: BlkOptions) {
    const settings = settle(options);
    this.features = offeredFeatures(settings);
    this.configLength = configLength(settings);
    this.queueSizes = Array.from({ length: settings.queues }, () => settings.queueSize);
    this.#engine = new Engine(settings);
  }

  /** Size that the driver sees, in sectors of 512 bytes. */
  get capacity(): number {
    return this.#engine.capacity;
  }

  /** Is the write cache on? The driver may switch it (CONFIG_WCE). */
  get writeCache(): boolean {
    return this.#engine.writeCache;
  }

  /** Number of requests in flight, with those that wait to be tried again. */
  get inFlight(): number {
    return this.#engine.requests.all().length + this.#engine.parked.length;
  }

  /** Waits until the back end has nothing to do any more, whatever became of the requests. */
  idle(): Promise<void> {
    return this.#engine.idle();
  }

  /**
   * Tells the driver that the disk has another size. Default: what the back end says now.
   *
   * @param sectors of 512 bytes, not more than the back end has
   */
  resize(sectors?: number): void {
    const engine = this.#engine;
    const most = Math.ceil(engine.settings.backend.size / SECTOR_BYTES);
    const capacity = sectors ?? most;
    if (!Number.isInteger(capacity) || capacity < 0 || capacity > most)
      throw new HostError(`resize: ${capacity} is not a number of sectors; the back end has ${most}`);
    if (capacity === engine.capacity) return;
    engine.capacity = capacity;
    // Virtio 1.3 §5.2.6.2 SHOULD: a configuration change notification when the capacity changes
    engine.host.notifyConfig();
  }

  attach(host: DeviceHost): void {
    this.#engine.attach(host);
  }

  /**
   * Adds the legacy features: a device without VERSION_1 has SCSI, and does not say that it takes any layout. QEMU:
   * `virtio_blk_get_features`.
   */
  getFeatures(features: bigint): bigint {
    if (hasFeature(features, FEATURE.VERSION_1)) return features;
    return (features & ~(1n << BigInt(FEATURE.ANY_LAYOUT))) | this.legacyFeatures;
  }

  getConfig(config: DataView, littleEndian: boolean): void {
    const { settings, capacity, writeCache } = this.#engine;
    fillConfig(config, littleEndian, settings, capacity, writeCache);
  }

  /** Takes the write cache from the configuration space: nothing else is the driver's to set. */
  setConfig(config: DataView, _littleEndian: boolean): void {
    this.#engine.writeCache = config.getUint8(WRITEBACK_OFFSET) !== 0;
  }

  setStatus(status: number): void {
    const { host } = this.#engine;
    // Virtio 1.3 §5.2.5.3 MUST NOT: change the cache mode, unless with DRIVER_OK and without CONFIG_WCE
    if ((status & STATUS.DRIVER_OK) === 0 || host.has(BLK_FEATURE.CONFIG_WCE)) return;
    // Virtio 1.3 §5.2.6.2 MUST: writes are stable at once for a driver that knows neither CONFIG_WCE nor FLUSH
    this.#engine.writeCache = host.has(BLK_FEATURE.FLUSH);
  }

  reset(): void {
    this.#engine.forget();
    this.#engine.writeCache = this.#engine.settings.writeCache;
  }

  resetQueue(index: number): void {
    this.#engine.forget(index);
  }

  handleQueue(queue: Virtqueue): void {
    this.#engine.handleQueue(queue);
  }

  beforeFault(): void {
    this.#engine.notifyBatch();
  }

  pause(): void {
    this.#engine.pause();
  }

  resume(): void {
    this.#engine.resume();
  }

  capture(): BlkState {
    const { requests, parked, settings, host } = this.#engine;
    const many = settings.queues > 1;
    const packed = host.offers(FEATURE.RING_PACKED);
    const state = ({ queue, ndescs, element }: ParkedRequest): BlkRequest => ({
      ...(many && { queue }),
      ...(packed && { ndescs }),
      element,
    });
    const saved = (chain: Chain): BlkRequest =>
      state({ queue: chain.queue.index, ndescs: chain.ndescs, element: chain.element() });
    const list = [...parked].map(state);
    for (const { chain } of requests.all()) if (chain !== undefined) list.push(saved(chain));
    // done, but the driver does not know yet (IN_ORDER): done once more where the state is restored
    for (let queue = 0; queue < settings.queues; queue++)
      list.push(...(host.queue(queue)?.held() ?? []).map(saved));
    if (list.length === 0) return { requests: [] };
    const layout = {
      queue: many,
      ndescs: packed ? settings.ndescs : 'none',
      byteOrder: settings.hostEndian,
    } as const;
    // the last comes first, as in QEMU
    return { requests: list.reverse(), layout };
  }

  check(state: VirtioState<TransportParts, BlkState>, report: Report): void {
    const { settings, host } = this.#engine;
    state.device.requests.forEach(({ queue = 0, element }, index) => {
      const path = `device.requests[${index}]`;
      if (queue >= settings.queues) {
        reportError(
          report,
          'request-queue',
          `${path}.queue`,
          `Invalid virtqueue index in request list: 0x${queue.toString(16)}; this device has ${settings.queues}`,
          { queue, queues: settings.queues },
        );
      }
      if (state.queues[queue]?.desc === 0n) {
        reportError(
          report,
          'request-queue-idle',
          `${path}.queue`,
          `a request of queue ${queue}, which is not set up`,
          { queue },
        );
      }
      for (const direction of ['out', 'in'] as const) {
        element[direction].forEach(({ addr, len }, segment) => {
          const known = addr + len <= BigInt(Number.MAX_SAFE_INTEGER) && len > 0n;
          if (known && host.memory.covers(Number(addr) as Gpa, Number(len), direction === 'in')) return;
          // QEMU exits here
          reportError(
            report,
            'request-memory',
            `${path}.element.${direction}[${segment}]`,
            `${len} bytes at 0x${addr.toString(16)} are not ${direction === 'in' ? 'writable ' : ''}guest memory`,
            { addr, len },
          );
        });
      }
    });
  }

  requestsInFlight(state: VirtioState<TransportParts, BlkState>): RequestInFlight[] {
    return state.device.requests.map(({ queue = 0, ndescs, element }, index) => ({
      queue,
      element,
      ...(ndescs !== undefined && { ndescs }),
      path: `device.requests[${index}].element.index`,
    }));
  }

  apply(state: VirtioState<TransportParts, BlkState>): void {
    const engine = this.#engine;
    const { host, requests } = engine;
    engine.pause();
    const parked: ParkedRequest[] = [];
    for (const { queue = 0, ndescs = 1, element } of [...state.device.requests].reverse()) {
      const chain = host.queue(queue)?.adopt(element, ndescs);
      if (chain === undefined) parked.push({ queue, ndescs, element });
      else requests.add(chain);
    }
    engine.parked = parked;
    this.setStatus(state.status);
    // The driver's choice is not in the stream, but the bytes are that it read last, or wrote. (QEMU forgets it.)
    const seen = state.config.some((byte) => byte !== 0);
    if (seen && host.has(BLK_FEATURE.CONFIG_WCE) && state.config.length > WRITEBACK_OFFSET)
      engine.writeCache = state.config[WRITEBACK_OFFSET] !== 0;
  }
}
