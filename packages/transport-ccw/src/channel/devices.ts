import { HostError } from '@virtkit/core/live';
import type { SubchannelAddress } from './address.ts';
import type { Subchannel } from './subchannel.ts';

/** Device as the channel subsystem has it; `CcwDevice` is one. */
export interface ChannelDevice {
  /** Subchannel through which channel programs reach the device. */
  readonly subchannel: Subchannel;
  /** Is there a queue of this number? */
  queueExists(queue: number): boolean;
  /** Handles a notification of a queue by the guest. */
  kick(queue: number): void;
  /** Lists the indicators in guest memory that are set. */
  indicatorAreas(): Iterable<{ readonly len: number; readonly addr: bigint }>;
  /** Resets the device with the machine. */
  reset(): void;
  /** Is told that the device is in the channel subsystem now. */
  plug?(): void;
  /**
   * Is told that the device is no longer in the channel subsystem: nothing of it may reach guest memory from now on.
   * Default: {@link reset}.
   */
  unplug?(): void;
}

/** Bits of a subchannel id word's parts. */
const ID = { ONE: 0x10000, SSID: 0x60000, M: 0x80000 } as const;
const SSID_SHIFT = 17;
const CSSID_SHIFT = 24;
/** Number of the channel subsystem of virtual devices. */
export const VIRTUAL_CSSID = 0xfe;
const SCHID_MAX = 0xffff;
export const SSID_MAX = 3;
export const CSSID_MAX = 0xff;

/** Result of a search for the device of a subchannel id word. */
export type Found<T> =
  /** Result for a word that is no subchannel id. */
  | 'operand'
  /** Result where no subchannel is here, and none behind; or the guest cannot see it. */
  | 'none'
  /** Result where no subchannel is here, but there is one with a higher number. */
  | 'gap'
  | T;

/** Table of devices by subchannel. */
export class DeviceMap {
  readonly #devices = new Map<number, ChannelDevice>();
  /** Devices by their subchannels, all of them: while states are restored, one may be in the way of another. */
  readonly #attached = new Map<SubchannelAddress, ChannelDevice>();
  /**
   * Number of the highest channel subsystem that the guest sees, and {@link maxSsid} of the highest subchannel set: 0
   * before it enables MCSS-E and MSS.
   */
  maxCssid = 0;
  maxSsid = 0;

  /**
   * Puts a device into its subchannel, or the first free one behind it.
   *
   * @throws HostError if the device number is taken, or the set is full
   */
  add(device: ChannelDevice): void {
    const { subchannel } = device;
    for (const { cssid, ssid, devno } of this.#attached.keys()) {
      if (cssid === subchannel.cssid && ssid === subchannel.ssid && devno === subchannel.devno) {
        throw new HostError(`device ${nameOf(subchannel)} already exists`);
      }
    }
    while (this.#devices.has(keyOf(subchannel, subchannel.schid))) {
      if (subchannel.schid === SCHID_MAX) throw new HostError(`no free subchannel for ${nameOf(subchannel)}`);
      subchannel.schid++;
    }
    this.#devices.set(keyOf(subchannel, subchannel.schid), device);
    this.#attached.set(subchannel, device);
  }

  /** Takes a device out. Answers false if it was not here. */
  remove({ subchannel }: ChannelDevice): boolean {
    if (!this.#attached.delete(subchannel)) return false;
    const key = keyOf(subchannel, subchannel.schid);
    if (this.#devices.get(key)?.subchannel === subchannel) this.#devices.delete(key);
    return true;
  }

  all(): Iterable<ChannelDevice> {
    return this.#attached.values();
  }

  /** Moves a device, since a restored state has moved its subchannel. QEMU: `subch_dev_post_load`. */
  move(subchannel: SubchannelAddress, from: number): void {
    const before = keyOf(subchannel, from);
    const device = this.#attached.get(subchannel);
    if (device === undefined) return;
    // another one may have been moved here before
    if (this.#devices.get(before) === device) this.#devices.delete(before);
    this.#devices.set(keyOf(subchannel, subchannel.schid), device);
  }

  /** Finds the device that general register 1 names. QEMU: `ioinst_disassemble_sch_ident`, `css_find_subch`. */
  find(id: number): Found<ChannelDevice> {
    if ((id & ID.ONE) === 0) return 'operand';
    let cssid = id >>> CSSID_SHIFT;
    if ((id & ID.M) === 0) {
      if (cssid !== 0) return 'operand';
      cssid = VIRTUAL_CSSID;
    }
    const ssid = (id & ID.SSID) >>> SSID_SHIFT;
    const schid = id & SCHID_MAX;
    const device = this.#devices.get(((cssid << 2) | ssid) * 0x10000 + schid);
    if (device === undefined) return this.#isLast(cssid, ssid, schid) ? 'none' : 'gap';
    return this.#visible(cssid, ssid) ? device : 'none';
  }

  #visible(cssid: number, ssid: number): boolean {
    return ssid <= this.maxSsid && (cssid === VIRTUAL_CSSID || this.maxCssid > 0);
  }

  /** Is there nothing behind this subchannel? QEMU: `css_schid_final`. */
  #isLast(cssid: number, ssid: number, schid: number): boolean {
    for (const { subchannel } of this.#devices.values()) {
      if (subchannel.cssid === cssid && subchannel.ssid === ssid && subchannel.schid >= schid) return false;
    }
    return true;
  }
}

function keyOf({ cssid, ssid }: SubchannelAddress, schid: number): number {
  return ((cssid << 2) | ssid) * 0x10000 + schid;
}

function nameOf({ cssid, ssid, devno }: SubchannelAddress): string {
  return `${cssid.toString(16)}.${ssid}.${devno.toString(16).padStart(4, '0')}`;
}
