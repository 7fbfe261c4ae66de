import {
  type Chain,
  type ConfigChange,
  createDevice,
  type DeviceEvent,
  type DeviceModel,
  FEATURE,
  type Gpa,
  type InFlightLog,
  type LiveDevice,
  type LiveOptions,
  QUEUE_MAX,
  type QueuePosition,
  type QueueRegisters,
  STATUS,
  type TransportHost,
  type TransportModel,
} from '@virtkit/core';
import type { Platform } from '@virtkit/linux';
import { FrontEndError } from './errors.ts';
import { type VhostUserParts, vhostUser } from './layer.ts';
import { DirtyPages } from './memory/dirty-pages.ts';
import { FrontEndMemory } from './memory/guest-memory.ts';
import { InFlightTable, tableBytes } from './session/in-flight.ts';
import { Vring } from './session/vring.ts';
import type { InflightArea, SharedArea, VringAddress, WireRegion } from './wire/message.ts';
import { VHOST_FEATURE } from './wire/requests.ts';

/** Options of a device behind vhost-user. */
export interface VhostUserDeviceOptions extends Pick<LiveOptions, 'onEvent'> {
  /**
   * Ring features that the front end may choose from. All that core has but IN_ORDER and NOTIFICATION_DATA are offered by default, RING_PACKED
   * among them: QEMU's disks and cards take what its own properties (`packed=on`) say, its other front ends whatever is offered.
   */
  readonly rings?: LiveOptions['rings'];
}

/** Milliseconds that a queue has to finish what it has taken, when the front end stops it. */
export const DRAIN_MS = 30_000;

/** Value of SET_VRING_BASE for a packed ring that is used for the first time: both wrap counters are 1. */
const FRESH_PACKED = 0x80008000;
/**
 * Value of SET_VRING_BASE for a fresh packed ring from front ends that tell only where the driver stands (DPDK's
 * virtio-user). Read as it is written, all of the ring would be in flight: no ring is stopped there, since what it has
 * taken is finished first.
 */
const FRESH_PACKED_AVAIL = 0x8000;
/** Status bits that a running driver has set. */
const DRIVER_RUNS = STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK | STATUS.DRIVER_OK;
/** Features that are vhost-user's, and mean nothing to core. */
const VHOST_ONLY = (1n << BigInt(VHOST_FEATURE.LOG_ALL)) | (1n << BigInt(VHOST_FEATURE.PROTOCOL_FEATURES));

/**
 * Makes the number by which GET_VRING_BASE tells a position. Chains that are still in flight are to be taken again,
 * from the first one on.
 */
function baseOf(position: QueuePosition, whole: boolean, packed: boolean): number {
  const { lastAvailIdx, lastAvailWrap, usedIdx, usedWrap } = position;
  if (!packed) return whole ? lastAvailIdx : usedIdx;
  const used = usedIdx | (usedWrap ? 0x8000 : 0);
  const avail = whole ? lastAvailIdx | (lastAvailWrap ? 0x8000 : 0) : used;
  return ((used << 16) | avail) >>> 0;
}

/**
 * Virtio device behind vhost-user: what the front end has set up, and core behind it. The session knows which messages
 * have what effect; here are their effects.
 */
export class VhostUserDevice<D = unknown> implements TransportModel<VhostUserParts>, InFlightLog {
  readonly layer = vhostUser;
  readonly features = 0n;
  /** Device as the host program sees it. */
  readonly device: LiveDevice<VhostUserParts, D>;
  readonly memory: FrontEndMemory;
  readonly inFlightLog: InFlightLog = this;
  /**
   * Function that tells the front end that the configuration has changed, while there is one that wants to hear of it.
   */
  onConfigChange: (() => void) | undefined;
  readonly #host: TransportHost;
  readonly #platform: Platform;
  readonly #vrings: readonly Vring[];
  #frontFeatures = 0n;
  #table: InFlightTable | undefined;
  #log: DirtyPages | undefined;
  /** True if the driver has reset its device, and rings that ran are still to be stopped or set up anew. */
  #ending = false;
  /** Queue that is being stopped, with the function that waits for its last chain. */
  #draining: { readonly queue: number; readonly done: () => void } | undefined;

  constructor(model: DeviceModel<D>, platform: Platform, options: VhostUserDeviceOptions) {
    this.#platform = platform;
    this.memory = new FrontEndMemory(platform);
    const onEvent = (event: DeviceEvent): void => {
      if (event.name === 'fault') for (const vring of this.#vrings) vring.tellError();
      options.onEvent?.(event);
    };
    const rings = { packed: true, ...options.rings };
    const { device, host } = createDevice<VhostUserParts, D>(model, this, {
      memory: this.memory,
      rings,
      onEvent,
    });
    this.device = device;
    this.#host = host;
    this.#vrings = Array.from({ length: host.queueCount }, (_, index) => new Vring(index, platform));
  }

  // What the front end asks

  /** Features that SET_FEATURES may choose from. */
  get offeredFeatures(): bigint {
    return this.#host.offeredFeatures(false) | VHOST_ONLY;
  }

  /** Length of the configuration space in bytes. */
  get configLength(): number {
    return this.#host.config.length;
  }

  get queueCount(): number {
    return this.#vrings.length;
  }

  /** True if the device needs a reset: the driver broke a rule. */
  get broken(): boolean {
    return this.device.broken && !this.#ending;
  }

  readConfig(offset: number, size: number): Uint8Array {
    const { config } = this.#host;
    // front ends ask for the structure that they know: what this device does not have is zeros
    return Uint8Array.from({ length: size }, (_, i) =>
      offset + i < config.length ? config.read(offset + i, 1) : 0,
    );
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    for (const [i, byte] of bytes.entries()) this.#host.config.write(offset + i, 1, byte);
  }

  /**
   * Takes over features of the driver. @throws FrontEndError for features that were not offered, and other ones while a
   * ring runs
   */
  setFeatures(features: bigint): void {
    this.#beginAnew();
    if ((features & ~this.offeredFeatures) !== 0n)
      throw new FrontEndError(
        `features 0x${features.toString(16)}, offered are 0x${this.offeredFeatures.toString(16)}`,
        { features },
      );
    if (
      ((features ^ this.#frontFeatures) & ~VHOST_ONLY) !== 0n &&
      this.#vrings.some(({ started }) => started)
    )
      throw new FrontEndError('SET_FEATURES: other features while a ring runs', { features });
    this.#frontFeatures = features;
    this.#followLog();
  }

  get #packed(): boolean {
    return ((this.#frontFeatures >> BigInt(FEATURE.RING_PACKED)) & 1n) !== 0n;
  }

  /** Are rings enabled by a message of their own? */
  get hasProtocolFeatures(): boolean {
    return ((this.#frontFeatures >> BigInt(VHOST_FEATURE.PROTOCOL_FEATURES)) & 1n) !== 0n;
  }

  // Memory

  setMemory(regions: readonly WireRegion[], descriptors: readonly number[]): void {
    this.memory.replace(regions, descriptors);
    this.#followMemory();
  }

  addMemory(region: WireRegion, descriptor: number | undefined): void {
    this.memory.add(region, descriptor);
    this.#followMemory();
  }

  removeMemory(region: WireRegion): void {
    this.memory.removeRegion(region);
    this.#followMemory();
  }

  /**
   * Moves rings that run to where their front end's addresses lead now. One that is in no region reads zeros until it
   * is again.
   */
  #followMemory(): void {
    this.device.memory.sync();
    for (const vring of this.#vrings) {
      if (!vring.started || vring.address === undefined) continue;
      const place = this.#placeOf(vring.address);
      const now = this.device.queue(vring.index);
      const isThere = place?.desc === now?.desc && place?.avail === now?.avail && place?.used === now?.used;
      if (place !== undefined && !isThere)
        this.#queue(vring.index).setAddresses(place.desc, place.avail, place.used);
    }
  }

  #placeOf({ desc, avail, used }: VringAddress): { desc: bigint; avail: bigint; used: bigint } | undefined {
    const places = [desc, avail, used].map((address) => this.memory.translate(address));
    const [first, second, third] = places;
    if (first === undefined || second === undefined || third === undefined) return undefined;
    return { desc: first, avail: second, used: third };
  }

  setLog(area: SharedArea, descriptor: number | undefined): void {
    const log = new DirtyPages(this.#platform, descriptor, area);
    this.#log?.close();
    this.#log = log;
    if (log.shrinkable) this.memory.shrinkable = true;
    this.#followLog();
  }

  #followLog(): void {
    const on = ((this.#frontFeatures >> BigInt(VHOST_FEATURE.LOG_ALL)) & 1n) !== 0n;
    this.memory.log = on ? this.#log : undefined;
    this.device.memory.sync();
  }

  // Chains in flight

  /** Makes the memory of a new list of chains in flight; undefined: none is kept, for packed rings have another one. */
  makeInFlight({
    queues,
    queueSize,
  }: InflightArea): { readonly size: number; readonly descriptor: number } | undefined {
    if (this.#packed) return undefined;
    const size = tableBytes(queues, queueSize);
    return { size, descriptor: this.#platform.file('virtkit-inflight', size) };
  }

  setInFlight(area: InflightArea, descriptor: number | undefined): void {
    if (this.#vrings.some(({ started }) => started))
      throw new FrontEndError('SET_INFLIGHT_FD while a ring runs');
    const table = new InFlightTable(this.#platform, descriptor, area);
    this.#table?.close();
    this.#table = table;
    if (table.shrinkable) this.memory.shrinkable = true;
  }

  // Rings

  #vring(index: number): Vring {
    const vring = this.#vrings[index];
    if (vring !== undefined) return vring;
    throw new FrontEndError(`queue ${index} of ${this.#vrings.length}`, {
      queue: index,
      queues: this.#vrings.length,
    });
  }

  #queue(index: number): QueueRegisters {
    const queue = this.#host.queue(index);
    if (queue !== undefined) return queue;
    throw new FrontEndError(`queue ${index} of ${this.#vrings.length}`, {
      queue: index,
      queues: this.#vrings.length,
    });
  }

  setSize(index: number, entries: number): void {
    this.#beginAnew();
    const vring = this.#vring(index);
    if (vring.started) throw new FrontEndError(`SET_VRING_NUM: queue ${index} runs`, { queue: index });
    if (entries < 1 || entries > QUEUE_MAX)
      throw new FrontEndError(`SET_VRING_NUM: ${entries} entries, at most ${QUEUE_MAX} expected`, {
        queue: index,
        entries,
      });
    vring.size = entries;
  }

  setBase(index: number, base: number): void {
    this.#beginAnew();
    const vring = this.#vring(index);
    if (vring.started) throw new FrontEndError(`SET_VRING_BASE: queue ${index} runs`, { queue: index });
    vring.base = base;
  }

  setAddress(address: VringAddress): void {
    this.#beginAnew();
    const vring = this.#vring(address.queue);
    const place = this.#placeOf(address);
    if (place === undefined)
      throw new FrontEndError(`SET_VRING_ADDR: queue ${address.queue} is in none of the regions`, {
        ...address,
      });
    vring.address = address;
    if (vring.started) this.#followMemory();
  }

  setCall(index: number, descriptors: number[]): void {
    this.#vring(index).setCall(this.#takeEventfd(descriptors));
  }

  setError(index: number, descriptors: number[]): void {
    this.#vring(index).setError(this.#takeEventfd(descriptors));
  }

  /** Takes the descriptor out of the list: what is left in it is closed by whoever has it. */
  #takeEventfd(descriptors: number[]): number | undefined {
    const [fd] = descriptors;
    if (fd !== undefined) this.#platform.checkEventfd(fd);
    return descriptors.shift();
  }

  /** Starts a ring: its kicks come from this descriptor. */
  setKick(index: number, descriptors: number[]): void {
    const vring = this.#vring(index);
    if (descriptors.length === 0)
      throw new FrontEndError(`SET_VRING_KICK: queue ${index} would have to be polled`, { queue: index });
    vring.setKick(this.#takeEventfd(descriptors), () => this.#host.kick(index));
    if (!vring.started) this.#start(vring);
    this.#host.kick(index);
  }

  setEnabled(index: number, enabled: boolean): void {
    const vring = this.#vring(index);
    vring.enabled = enabled;
    if (!vring.started) return;
    this.#queue(index).setEnabled(enabled && !this.#ending);
    if (enabled) this.#host.kick(index);
  }

  #start(vring: Vring): void {
    const { index, address, size, base } = vring;
    if (this.#packed && base === FRESH_PACKED_AVAIL) vring.base = FRESH_PACKED;
    if (address === undefined || size === 0)
      throw new FrontEndError(`SET_VRING_KICK: queue ${index} has ${size === 0 ? 'no size' : 'no address'}`, {
        queue: index,
      });
    const place = this.#placeOf(address);
    if (place === undefined)
      throw new FrontEndError(`SET_VRING_KICK: queue ${index} is in none of the regions`, { queue: index });
    if (!this.#vrings.some(({ started }) => started)) this.#begin(vring.base);
    const queue = this.#queue(index);
    queue.setSize(size);
    if (queue.size !== size)
      throw new FrontEndError(`SET_VRING_KICK: ${size} entries of queue ${index}`, {
        queue: index,
        size,
        possible: queue.size,
      });
    const { position, again } = this.#positionOf(vring, place.used);
    queue.setPosition(position, again);
    queue.setEnabled(vring.enabled || !this.hasProtocolFeatures);
    vring.started = true;
    queue.setAddresses(place.desc, place.avail, place.used);
  }

  /**
   * Begins with the first ring. If it begins at 0 a driver has begun anew, and so does the device; else the machine
   * only goes on, or has moved here.
   */
  #begin(base: number): void {
    const features = this.#frontFeatures & ~VHOST_ONLY;
    const host = this.#host;
    const fresh = this.#packed ? FRESH_PACKED : 0;
    if (base === fresh || host.driverFeatures !== features || (host.status & STATUS.DRIVER_OK) === 0) {
      host.reset();
      host.setDriverFeatures(features);
      host.setStatus(DRIVER_RUNS);
    }
  }

  #positionOf(
    vring: Vring,
    used: bigint,
  ): { readonly position: QueuePosition; readonly again: readonly number[] } {
    const { base, size, index } = vring;
    if (this.#packed)
      return {
        position: {
          lastAvailIdx: base & 0x7fff,
          lastAvailWrap: (base & 0x8000) !== 0,
          usedIdx: (base >>> 16) & 0x7fff,
          usedWrap: base >>> 31 !== 0,
          inuse: 0,
        },
        again: [],
      };
    const usedIdx = Math.max(0, this.device.memory.readU16(Number(used + 2n) as Gpa, true));
    vring.flights = this.#table?.queue(index);
    const left = vring.flights?.begin(size, usedIdx);
    const again = left === undefined || this.#inOrder ? [] : left.heads;
    const lastAvailIdx = left === undefined ? base & 0xffff : (usedIdx + again.length) & 0xffff;
    return {
      position: { lastAvailIdx, lastAvailWrap: true, usedIdx, usedWrap: true, inuse: again.length },
      again,
    };
  }

  get #inOrder(): boolean {
    return ((this.#frontFeatures >> BigInt(FEATURE.IN_ORDER)) & 1n) !== 0n;
  }

  /**
   * Stops a ring: nothing is taken from it any more, and what was taken is given back. Answers its position then, as
   * GET_VRING_BASE does.
   */
  async stop(index: number): Promise<number> {
    const vring = this.#vring(index);
    if (!vring.started) return vring.base;
    vring.setKick(undefined, () => {});
    this.#queue(index).setEnabled(false);
    await this.#drained(index);
    // the front end may have gone meanwhile
    if (vring.started) this.#stopped(vring);
    return vring.base;
  }

  #stopped(vring: Vring): void {
    const info = this.device.queue(vring.index);
    if (info !== undefined) vring.base = baseOf(info.position, info.inFlight === 0, this.#packed);
    this.#queue(vring.index).reset();
    vring.started = false;
    vring.flights = undefined;
    if (!this.#vrings.some(({ started }) => started)) this.#ending = false;
  }

  /**
   * Waits until a queue has nothing in flight, until the device has nothing to do any more, or for {@link DRAIN_MS}.
   */
  #drained(queue: number): Promise<void> {
    const inFlight = (): number => this.device.queue(queue)?.inFlight ?? 0;
    if (inFlight() === 0) return Promise.resolve();
    return new Promise<void>((resolve) => {
      const late = (): void => {
        this.#host.event('drain-timeout', { queue, inFlight: inFlight() });
        done();
      };
      const timer = setTimeout(late, DRAIN_MS);
      const done = (): void => {
        clearTimeout(timer);
        this.#draining = undefined;
        resolve();
      };
      this.#draining = { queue, done };
      this.device.idle().then(done, done);
    });
  }

  #gaveBack(queue: number): void {
    if (this.#draining?.queue === queue && this.device.queue(queue)?.inFlight === 0) this.#draining.done();
  }

  /**
   * Ends the driver's use of the device, by status 0: the driver has reset its device. QEMU 7.2 says so in front of
   * GET_VRING_BASE, also when its machine only stops, and wants to know where the rings stand: they take nothing more,
   * and all is forgotten when something is set up anew, unless it goes on where it was.
   */
  endDriver(): void {
    for (const { index, started } of this.#vrings) {
      if (!started) continue;
      this.#ending = true;
      this.#queue(index).setEnabled(false);
    }
  }

  /** Drops the rings of a driver that is no more, and that nobody has stopped. */
  #beginAnew(): void {
    if (this.#ending) this.reset();
  }

  /** Resets the device, as RESET_DEVICE asks for. All rings stop. */
  reset(): void {
    this.#ending = false;
    this.#draining?.done();
    for (const vring of this.#vrings) {
      vring.setKick(undefined, () => {});
      vring.started = false;
      vring.enabled = false;
      vring.flights = undefined;
    }
    this.#host.reset();
  }

  /** Forgets the front end, which has gone. */
  leave(): void {
    this.reset();
    for (const vring of this.#vrings) vring.clear();
    this.#table?.close();
    this.#table = undefined;
    this.#log?.close();
    this.#log = undefined;
    this.#frontFeatures = 0n;
    this.memory.clear();
    // core forgets the regions when it looks next
    this.device.memory.sync();
  }

  // What core calls

  notify(queue: number | ConfigChange): void {
    // eventfds and messages say what has happened; there is no register of it
    this.#host.acknowledge(this.#host.isr);
    if (queue === -1) this.onConfigChange?.();
    else this.#vrings[queue]?.interrupt();
  }

  taken(chain: Chain): void {
    this.#vrings[chain.queue.index]?.flights?.taken(chain.index);
  }

  dropped(chain: Chain): void {
    const { index } = chain.queue;
    this.#vrings[index]?.flights?.dropped(chain.index);
    if (this.#draining !== undefined) queueMicrotask(() => this.#gaveBack(index));
  }

  filled(chain: Chain, ahead: number): void {
    this.#vrings[chain.queue.index]?.flights?.filled(chain.index, ahead);
  }

  showing(queue: number, count: number): void {
    this.#vrings[queue]?.flights?.showing(count);
  }

  shown(queue: number, count: number): void {
    this.#vrings[queue]?.flights?.shown(count);
    if (this.#draining !== undefined) queueMicrotask(() => this.#gaveBack(queue));
  }

  captureConfig(): VhostUserParts['config'] {
    return {};
  }

  captureQueue(): VhostUserParts['queue'] {
    return {};
  }

  captureExtra(): undefined {
    return undefined;
  }

  check(): void {
    // there is nothing that could not fit
  }

  apply(): void {
    // nor anything to take over
  }

  resetQueue(): void {
    // no vectors
  }
}
