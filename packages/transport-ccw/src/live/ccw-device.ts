import {
  createDevice,
  type DeviceModel,
  guestMemory,
  HostError,
  type LiveDevice,
  type LiveOptions,
  type Report,
  reportError,
  reportWarning,
  type TransportHost,
  type TransportIdentity,
  type TransportModel,
  type VirtioState,
} from '@virtkit/core/live';
import { hex } from '@virtkit/vmstate';
import type { CommandEnding, ControlUnit } from '../channel/control-unit.ts';
import type { DataStream } from '../channel/data-stream.ts';
import { type ChannelDevice, SSID_MAX, VIRTUAL_CSSID } from '../channel/devices.ts';
import type { ChannelHost } from '../channel/host.ts';
import type { Ccw } from '../channel/structures.ts';
import { Subchannel } from '../channel/subchannel.ts';
import { ccwIdentity } from '../identity.ts';
import type { CcwParts } from '../subchannel.ts';
import { executeVirtio } from '../virtio/commands.ts';
import { type IndicatorAddress, Indicators, NO_VECTOR } from '../virtio/indicators.ts';
import { VirtioProxy } from '../virtio/proxy.ts';

/** Control unit type of virtio devices. Virtio 1.3 §4.3.1 */
const VIRTIO_CU_TYPE = 0x3832;

/** Options of a virtio device on channel I/O. */
export interface CcwOptions extends Omit<LiveOptions, 'targetEndian' | 'align'> {
  /** Machine that takes the device's interrupts: a `ChannelSubsystem`, or an emulator's own. */
  readonly host: ChannelHost;
  /** Device number, 0 to 0xffff. */
  readonly devno: number;
  /** Number of the subchannel set, 0 to 3; default 0. */
  readonly ssid?: number;
  /**
   * Number of the subchannel; default 0. A `ChannelSubsystem` that the device is attached to gives it one that is free.
   */
  readonly schid?: number;
  /** Number of the channel subsystem; default 0xfe. */
  readonly cssid?: number;
  /**
   * Highest revision that is offered; default 2, and 0 without VERSION_1. QEMU: `max_revision`, 0 for machines up to
   * 2.4.
   */
  readonly maxRevision?: number;
  /** True if there is no legacy interface: revision 0 is rejected. QEMU: `force_revision_1`. Default false. */
  readonly modernOnly?: boolean;
  /** True to save what machines since 2.10 save: the ORB and the summary offset. Default true. */
  readonly saveOrb?: boolean;
}

/**
 * A virtio device on channel I/O: the subchannel that a guest's instructions reach, the virtio commands of channel
 * programs, and notifications. Virtio 1.3 §4.3; QEMU `VirtioCcwDevice`.
 *
 * An emulator with a channel subsystem of its own calls {@link CcwDevice.subchannel}'s instructions and
 * {@link CcwDevice.kick}; one without makes a `ChannelSubsystem`, which is also the `host` here.
 */
export class CcwDevice<D = unknown> implements TransportModel<CcwParts>, ControlUnit, ChannelDevice {
  /** Name and rules of the transport. */
  readonly layer: TransportIdentity<CcwParts>;
  /** Features that channel I/O adds: none. */
  readonly features = 0n;
  /** The device, as its host program sees it. */
  readonly device: LiveDevice<CcwParts, D>;
  /** Subchannel through which channel programs reach the device. */
  readonly subchannel: Subchannel;
  /** Indicators, by which the device tells the driver of queues and configuration changes. */
  readonly indicators: Indicators;
  readonly #host: TransportHost;
  readonly #proxy: VirtioProxy;
  readonly #saveOrb: boolean;
  #unplugged = false;

  /**
   * @param layer what makes bytes of the state; default: nothing does
   * @throws HostError that names the option
   */
  constructor(model: DeviceModel<D>, options: CcwOptions, layer: TransportIdentity<CcwParts> = ccwIdentity) {
    this.layer = layer;
    const { host, cssid = VIRTUAL_CSSID, ssid = 0, schid = 0, devno } = options;
    const memory = guestMemory(options.memory);
    const { maxRevision = 2, version1 = true } = options;
    inRange('cssid', cssid, 0xff);
    inRange('ssid', ssid, SSID_MAX);
    inRange('schid', schid, 0xffff);
    inRange('devno', devno, 0xffff);
    inRange('maxRevision', maxRevision, 2);
    this.#saveOrb = options.saveOrb ?? true;
    const id = {
      reserved: 0xff,
      cuType: VIRTIO_CU_TYPE,
      cuModel: model.layer.virtioId ?? 0,
      devType: 0,
      devModel: 0,
      unused: 0,
      ciw: [],
    };
    this.subchannel = new Subchannel({ cssid, ssid, schid, devno }, id, this, memory, host);
    this.indicators = new Indicators(memory, this.subchannel, host);
    const newest = version1 ? maxRevision : 0;
    const live: LiveOptions = { ...options, version1: newest > 0, targetEndian: 'big' };
    const created = createDevice<CcwParts, D>(model, this, live);
    this.device = created.device;
    this.#host = created.host;
    this.#proxy = new VirtioProxy(
      created.host,
      this.subchannel,
      this.indicators,
      newest,
      options.modernOnly ?? false,
    );
  }

  /** Highest revision that a driver may choose. */
  get maxRevision(): number {
    return this.#proxy.maxRevision;
  }

  /** Revision that the driver chose; -1 before it did. */
  get revision(): number {
    return this.#proxy.revision;
  }

  queueExists(queue: number): boolean {
    return (this.#host.queue(queue)?.size ?? 0) > 0;
  }

  /** Handles a notification of a queue by the guest. Virtio 1.3 §4.3.3.2 */
  kick(queue: number): void {
    this.#host.kick(queue);
  }

  indicatorAreas(): Iterable<IndicatorAddress> {
    return this.indicators.areas();
  }

  /** Resets the device with the machine. */
  reset(): void {
    this.#proxy.resetVirtio();
    this.subchannel.reset();
  }

  /** Puts the device in again after it was taken out: it is a new device for the guest. */
  plug(): void {
    if (!this.#unplugged) return;
    this.#unplugged = false;
    this.device.resume();
  }

  /**
   * Takes the device out of the machine: requests under way are forgotten, and nothing reaches guest memory any more.
   */
  unplug(): void {
    this.reset();
    if (this.device.paused) return;
    this.device.pause();
    this.#unplugged = true;
  }

  execute(command: Ccw, data: DataStream): CommandEnding {
    return executeVirtio(this.#proxy, command, data);
  }

  disabled(): void {
    // Virtio 1.3 §4.3.2.1.1 MUST: the revision is unset from the time the subchannel is enabled
    this.#proxy.revision = -1;
  }

  notify(queue: number): void {
    const { indicators } = this;
    const vector = queue < 0 ? indicators.configVector : (indicators.vectors[queue] ?? NO_VECTOR);
    if (!indicators.notify(vector)) this.#host.event('indicator', { queue, vector });
  }

  captureConfig(): CcwParts['config'] {
    return {
      sch: this.subchannel.capture(this.#saveOrb),
      ...this.indicators.capture(this.#saveOrb),
      revision: this.revision,
    };
  }

  captureQueue(index: number): CcwParts['queue'] {
    return { vector: this.indicators.vectors[index] ?? NO_VECTOR };
  }

  captureExtra(): undefined {
    return undefined;
  }

  check(state: VirtioState<CcwParts, unknown>, report: Report): void {
    const { sch, revision } = state.transport;
    for (const key of ['cssid', 'ssid', 'devno'] as const) {
      const [found, expected] = [sch[key], this.subchannel[key]];
      if (found === expected) continue;
      const reason = `${hex(found)} != ${hex(expected)}: the state of another device`;
      reportError(report, key, `transport.sch.${key}`, reason, { found, expected });
    }
    if (sch.id.cuModel !== this.subchannel.id.cuModel) {
      const [found, expected] = [sch.id.cuModel, this.subchannel.id.cuModel];
      const reason = `control unit model ${found}, and this device has ${expected}`;
      reportWarning(report, 'control-unit-model', 'transport.sch.id.cuModel', reason, { found, expected });
    }
    if (revision > this.maxRevision) {
      const reason = `revision ${revision}, at most ${this.maxRevision} here`;
      reportError(report, 'revision', 'transport.revision', reason, { revision, limit: this.maxRevision });
    }
  }

  apply(state: VirtioState<CcwParts, unknown>): void {
    this.subchannel.restore(state.transport.sch);
    this.indicators.restore(state.transport);
    this.indicators.vectors.fill(NO_VECTOR);
    state.queues.forEach(({ transport }, index) => {
      this.indicators.vectors[index] = transport.vector;
    });
    this.#proxy.revision = state.transport.revision;
  }

  resetQueue(index: number): void {
    this.indicators.vectors[index] = NO_VECTOR;
  }
}

function inRange(name: string, value: number, limit: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= limit) return;
  throw new HostError(`${name}: ${value}, 0 to ${limit} expected`);
}
