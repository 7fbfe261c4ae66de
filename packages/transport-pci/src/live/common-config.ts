import type { QueueRegisters, TransportHost } from '@virtkit/core/live';
import { hex } from '@virtkit/vmstate';
import type { Region } from './access.ts';
import { type ModernState, WORD } from './modern-state.ts';
import type { Vectors } from './vectors.ts';

/** Offsets in the common configuration structure. Virtio 1.3 §4.1.4.3 */
export const COMMON = {
  DEVICE_FEATURE_SELECT: 0,
  DEVICE_FEATURE: 4,
  DRIVER_FEATURE_SELECT: 8,
  DRIVER_FEATURE: 12,
  CONFIG_MSIX_VECTOR: 16,
  NUM_QUEUES: 18,
  DEVICE_STATUS: 20,
  CONFIG_GENERATION: 21,
  QUEUE_SELECT: 22,
  QUEUE_SIZE: 24,
  QUEUE_MSIX_VECTOR: 26,
  QUEUE_ENABLE: 28,
  QUEUE_NOTIFY_OFF: 30,
  QUEUE_DESC: 32,
  QUEUE_DRIVER: 40,
  QUEUE_DEVICE: 48,
  QUEUE_NOTIFY_DATA: 56,
  QUEUE_RESET: 58,
} as const;

/**
 * Common configuration structure. A register answers at its own offset only, whatever the width; everything else reads
 * as 0 and ignores writes. QEMU: `virtio_pci_common_read`, `virtio_pci_common_write`.
 */
export class CommonConfig implements Region {
  readonly #host: TransportHost;
  readonly #state: ModernState;
  readonly #vectors: Vectors;
  readonly #reset: () => void;
  readonly #offered: readonly number[];

  constructor(host: TransportHost, state: ModernState, vectors: Vectors, reset: () => void) {
    this.#host = host;
    this.#state = state;
    this.#vectors = vectors;
    this.#reset = reset;
    const offered = host.offeredFeatures(false);
    this.#offered = Array.from({ length: state.featureWords }, (_, word) =>
      Number((offered >> BigInt(32 * word)) & 0xffffffffn),
    );
  }

  read(offset: number): number {
    const host = this.#host;
    const queue = host.selectedQueue;
    const state = this.#state;
    switch (offset) {
      case COMMON.DEVICE_FEATURE_SELECT:
        return state.deviceFeatureSelect;
      case COMMON.DEVICE_FEATURE:
        // Virtio 1.3 §4.1.4.3.1 MUST: the offered bits from device_feature_select * 32, for any value of it
        return this.#offered[state.deviceFeatureSelect] ?? 0;
      case COMMON.DRIVER_FEATURE_SELECT:
        return state.driverFeatureSelect;
      case COMMON.DRIVER_FEATURE:
        // Virtio 1.3 §4.1.4.3.1 MUST: what the driver has written
        return state.driverFeature;
      case COMMON.CONFIG_MSIX_VECTOR:
        return this.#vectors.config;
      case COMMON.NUM_QUEUES:
        return host.queueCount;
      case COMMON.DEVICE_STATUS:
        return host.status;
      case COMMON.CONFIG_GENERATION:
        // Virtio 1.3 §4.1.4.3.1 MUST: another one after each change that the device makes
        return host.config.generation;
      case COMMON.QUEUE_SELECT:
        return queue.index;
      case COMMON.QUEUE_SIZE:
        // Virtio 1.3 §4.1.4.3.1 MUST: 0 if the queue is unavailable, else a power of 2, unless a driver has written another number
        return queue.size;
      case COMMON.QUEUE_MSIX_VECTOR:
        return this.#vectors.ofQueue(queue.index);
      case COMMON.QUEUE_ENABLE:
        // Virtio 1.3 §4.1.4.3.1 MUST: 0 on reset
        return state.isEnabled(queue.index) ? 1 : 0;
      case COMMON.QUEUE_NOTIFY_OFF:
        return queue.index;
      case COMMON.QUEUE_RESET:
        // Virtio 1.3 §4.1.4.3.1 MUST: 0 when the reset of the queue has completed, which it has within the write
        return 0;
      default:
        return this.#readAddress(offset);
    }
  }

  #readAddress(offset: number): number {
    const word = addressWord(offset);
    return word < 0 ? 0 : this.#state.word(this.#host.selectedQueue.index, word);
  }

  write(offset: number, _size: number, value: number): void {
    const host = this.#host;
    const queue = host.selectedQueue;
    const state = this.#state;
    switch (offset) {
      case COMMON.DEVICE_FEATURE_SELECT:
        state.deviceFeatureSelect = value;
        break;
      case COMMON.DRIVER_FEATURE_SELECT:
        state.driverFeatureSelect = value;
        break;
      case COMMON.DRIVER_FEATURE:
        if (state.setDriverFeature(value)) host.setDriverFeatures(state.driverFeatures);
        break;
      case COMMON.CONFIG_MSIX_VECTOR:
        this.#vectors.mapConfig(value);
        break;
      case COMMON.DEVICE_STATUS:
        this.#setStatus(value & 0xff);
        break;
      case COMMON.QUEUE_SELECT:
        host.selectQueue(value);
        break;
      case COMMON.QUEUE_SIZE:
        state.setSize(queue.index, value);
        queue.setSize(state.size(queue.index));
        break;
      case COMMON.QUEUE_MSIX_VECTOR:
        this.#vectors.mapQueue(queue.index, value);
        break;
      case COMMON.QUEUE_ENABLE:
        this.#enableQueue(queue, value);
        break;
      case COMMON.QUEUE_RESET:
        if (value === 1) this.#resetQueue(queue);
        break;
      default:
        this.#writeAddress(offset, value);
    }
  }

  #writeAddress(offset: number, value: number): void {
    const word = addressWord(offset);
    if (word >= 0) this.#state.setWord(this.#host.selectedQueue.index, word, value);
  }

  #setStatus(status: number): void {
    if (status !== 0) this.#host.setStatus(status);
    // Virtio 1.3 §4.1.4.3.1 MUST: reset when 0 is written, and show 0 when that is done. A first status that is
    // refused leaves 0, and QEMU resets then too
    if (this.#host.status === 0 || status === 0) this.#reset();
  }

  #enableQueue(queue: QueueRegisters, value: number): void {
    const { index } = queue;
    const state = this.#state;
    if (value !== 1) {
      // Virtio 1.3 §4.1.4.3.2 MUST NOT: the driver writes 0 to queue_enable
      this.#host.fault(`wrong value for queue_enable ${hex(value)}`, { queue: index, value });
      return;
    }
    queue.setSize(state.size(index));
    queue.setAddresses(
      state.address(index, WORD.DESC),
      state.address(index, WORD.AVAIL),
      state.address(index, WORD.USED),
    );
    state.setEnabled(index, true);
  }

  #resetQueue(queue: QueueRegisters): void {
    // Virtio 1.3 §4.1.4.3.1 MUST: reset the queue when 1 is written; queue_enable is 0 afterwards
    queue.reset();
    this.#state.setEnabled(queue.index, false);
  }
}

/**
 * Finds the word of a queue's addresses that stands at an offset, or -1: each half has its own access. Virtio 1.3
 * §4.1.3.2
 */
function addressWord(offset: number): number {
  if (offset < COMMON.QUEUE_DESC || offset >= COMMON.QUEUE_NOTIFY_DATA || offset % 4 !== 0) return -1;
  return (offset - COMMON.QUEUE_DESC) / 4;
}
