import { FEATURE, type TransportHost } from '@virtkit/core/live';
import type { Region } from './access.ts';
import type { Msix } from './msix.ts';
import type { Vectors } from './vectors.ts';

/** Offsets in the legacy I/O BAR. Virtio 1.3 §4.1.4.10; the vectors are there only while MSI-X is enabled. */
export const LEGACY = {
  HOST_FEATURES: 0,
  GUEST_FEATURES: 4,
  QUEUE_PFN: 8,
  QUEUE_SIZE: 12,
  QUEUE_SELECT: 14,
  QUEUE_NOTIFY: 16,
  STATUS: 18,
  ISR: 19,
  CONFIG_VECTOR: 20,
  QUEUE_VECTOR: 22,
} as const;

/** Offset of the device's configuration, without and with the two vectors in front of it. */
const CONFIG = { WITHOUT_MSIX: 20, WITH_MSIX: 24 } as const;

const PFN_SHIFT = 12n;
const ACKNOWLEDGE_AND_DRIVER = 0x03;
const ALL_ONES = 0xffffffff;

/**
 * Finds the length of the legacy BAR in bytes before it is rounded up: it has room for the vectors if there is MSI-X at
 * all.
 */
export function legacyBytes(hasMsix: boolean, configLength: number): number {
  return (hasMsix ? CONFIG.WITH_MSIX : CONFIG.WITHOUT_MSIX) + configLength;
}

/** Actions of the legacy registers outside of themselves. */
export interface LegacyActions {
  /** Resets the virtio device. */
  reset(): void;
  /** Switches bus mastering on, as if the driver had. */
  enableBusMaster(): void;
  /** Reads and clears the ISR, and lowers INTx. */
  readIsr(): number;
}

/**
 * Legacy registers. QEMU: `virtio_ioport_read`, `virtio_ioport_write`. A register answers at its own offset only,
 * whatever the width. Registers are little-endian; the configuration behind them has the byte order of the guest.
 */
export class LegacyRegisters implements Region {
  readonly #host: TransportHost;
  readonly #msix: Msix;
  readonly #vectors: Vectors;
  readonly #actions: LegacyActions;
  readonly #offered: number;
  /** Features for a driver that accepts BAD_FEATURE (bit 30), which shows that it has not looked at what was offered. QEMU: `bad_features` */
  readonly #badFeatures: bigint;

  constructor(
    host: TransportHost,
    msix: Msix,
    vectors: Vectors,
    badFeatures: bigint,
    actions: LegacyActions,
  ) {
    this.#host = host;
    this.#msix = msix;
    this.#vectors = vectors;
    this.#actions = actions;
    this.#offered = Number(host.offeredFeatures(true) & 0xffffffffn);
    this.#badFeatures = badFeatures & 0xffffffffn;
  }

  get #configStart(): number {
    return this.#msix.enabled ? CONFIG.WITH_MSIX : CONFIG.WITHOUT_MSIX;
  }

  read(offset: number, size: number): number {
    const start = this.#configStart;
    // the bytes stand in the guest's order already and pass as they are
    if (offset >= start) return this.#host.config.read(offset - start, size);
    return this.#readRegister(offset);
  }

  #readRegister(offset: number): number {
    const host = this.#host;
    switch (offset) {
      case LEGACY.HOST_FEATURES:
        return this.#offered;
      case LEGACY.GUEST_FEATURES:
        return Number(host.driverFeatures & 0xffffffffn);
      case LEGACY.QUEUE_PFN:
        return Number((host.selectedQueue.desc >> PFN_SHIFT) & 0xffffffffn);
      case LEGACY.QUEUE_SIZE:
        return host.selectedQueue.size;
      case LEGACY.QUEUE_SELECT:
        return host.selectedQueue.index;
      case LEGACY.STATUS:
        return host.status;
      case LEGACY.ISR:
        return this.#actions.readIsr();
      case LEGACY.CONFIG_VECTOR:
        return this.#vectors.config;
      case LEGACY.QUEUE_VECTOR:
        return this.#vectors.ofQueue(host.selectedQueue.index);
      default:
        return ALL_ONES;
    }
  }

  write(offset: number, size: number, value: number): void {
    const start = this.#configStart;
    if (offset >= start) this.#host.config.write(offset - start, size, value);
    else this.#writeRegister(offset, value);
  }

  #writeRegister(offset: number, value: number): void {
    const host = this.#host;
    switch (offset) {
      case LEGACY.GUEST_FEATURES:
        host.setDriverFeatures(this.#negotiable(value));
        break;
      case LEGACY.QUEUE_PFN:
        if (value === 0) this.#actions.reset();
        else host.selectedQueue.setAddress(BigInt(value) << PFN_SHIFT);
        break;
      case LEGACY.QUEUE_SELECT:
        host.selectQueue(value);
        break;
      case LEGACY.QUEUE_NOTIFY:
        this.#notify(value);
        break;
      case LEGACY.STATUS:
        this.#setStatus(value);
        break;
      case LEGACY.CONFIG_VECTOR:
        this.#vectors.mapConfig(value);
        break;
      case LEGACY.QUEUE_VECTOR:
        this.#vectors.mapQueue(host.selectedQueue.index, value);
        break;
    }
  }

  /**
   * Finds the features that a driver gets: one that takes every bit takes BAD_FEATURE too, and gets what such drivers
   * can do.
   */
  #negotiable(features: number): bigint {
    const bad = (features & (1 << FEATURE.BAD_FEATURE)) !== 0;
    return bad ? this.#badFeatures : BigInt(features);
  }

  #notify(value: number): void {
    const host = this.#host;
    // Virtio 1.3 §4.1.5.2, §2.9: with NOTIFICATION_DATA the upper half says where in the ring the driver is, as the ring does
    host.kick(host.has(FEATURE.NOTIFICATION_DATA) ? value & 0xffff : value);
  }

  #setStatus(value: number): void {
    const host = this.#host;
    const status = value & 0xff;
    if (status !== 0) host.setStatus(status);
    if (status === 0 || host.status === 0) this.#actions.reset();
    // Linux before 2.6.34 does not switch bus mastering on, and all drivers begin with this status
    if (value === ACKNOWLEDGE_AND_DRIVER) this.#actions.enableBusMaster();
  }
}
