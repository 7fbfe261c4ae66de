import { QUEUE_MAX } from '@virtkit/core/live';
import type { PciExtraState } from '../state.ts';

/** Indices of a queue's address words: descriptor area, driver area, device area, each low and high. */
export const WORD = { DESC: 0, AVAIL: 2, USED: 4 } as const;
const WORDS = 6;

type SavedRegisters = NonNullable<PciExtraState['modernState']>;

/** Registers of the modern interface that core does not have: as the driver wrote them. QEMU: `VirtIOPCIProxy`. */
export class ModernState {
  deviceFeatureSelect = 0;
  driverFeatureSelect = 0;
  /** Number of words of features: 2, or 4 for a device that has any above bit 63. */
  readonly featureWords: number;
  readonly #driverFeatures: Uint32Array;
  readonly #sizes = new Uint16Array(QUEUE_MAX);
  readonly #enabled = new Uint8Array(QUEUE_MAX);
  readonly #words = new Uint32Array(QUEUE_MAX * WORDS);

  constructor(featureWords: 2 | 4) {
    this.featureWords = featureWords;
    this.#driverFeatures = new Uint32Array(featureWords);
  }

  // Features

  /** Selected word of the driver's features; 0 where there is none. */
  get driverFeature(): number {
    return this.#driverFeatures[this.driverFeatureSelect] ?? 0;
  }

  /** Stores the selected word of the driver's features. Answers false if there is no such word. */
  setDriverFeature(value: number): boolean {
    if (this.driverFeatureSelect >= this.featureWords) return false;
    this.#driverFeatures[this.driverFeatureSelect] = value;
    return true;
  }

  get driverFeatures(): bigint {
    return this.#driverFeatures.reduceRight((features, word) => (features << 32n) | BigInt(word), 0n);
  }

  // Queues

  size(queue: number): number {
    return this.#sizes[queue] ?? 0;
  }

  setSize(queue: number, size: number): void {
    this.#sizes[queue] = size;
  }

  isEnabled(queue: number): boolean {
    return this.#enabled[queue] === 1;
  }

  setEnabled(queue: number, enabled: boolean): void {
    this.#enabled[queue] = enabled ? 1 : 0;
  }

  word(queue: number, word: number): number {
    return this.#words[queue * WORDS + word] ?? 0;
  }

  setWord(queue: number, word: number, value: number): void {
    this.#words[queue * WORDS + word] = value;
  }

  address(queue: number, word: number): bigint {
    return (BigInt(this.word(queue, word + 1)) << 32n) | BigInt(this.word(queue, word));
  }

  /**
   * Resets the registers: the selectors stay, and the driver's features as well, as in QEMU up to 10.1; devices with
   * features above bit 63 came with 10.2, which clears them.
   */
  reset(): void {
    if (this.featureWords > 2) this.#driverFeatures.fill(0);
    this.#sizes.fill(0);
    this.#enabled.fill(0);
    this.#words.fill(0);
  }

  // Saved state

  capture(): SavedRegisters {
    let count = QUEUE_MAX;
    while (count > 0 && this.#isUntouched(count - 1)) count--;
    const features = this.driverFeatures;
    const high = features >> 64n;
    return {
      dfselect: this.deviceFeatureSelect,
      gfselect: this.driverFeatureSelect,
      guestFeatures: features & 0xffffffffffffffffn,
      vqs: Array.from({ length: count }, (_, queue) => ({
        num: this.size(queue),
        enabled: this.isEnabled(queue),
        desc: this.address(queue, WORD.DESC),
        avail: this.address(queue, WORD.AVAIL),
        used: this.address(queue, WORD.USED),
      })),
      ...(high !== 0n && { features128: high }),
    };
  }

  #isUntouched(queue: number): boolean {
    if (this.size(queue) !== 0 || this.isEnabled(queue)) return false;
    for (let word = 0; word < WORDS; word++) if (this.word(queue, word) !== 0) return false;
    return true;
  }

  /** Takes over saved registers; without any, those of a fresh function. */
  restore(saved: SavedRegisters | undefined): void {
    this.reset();
    this.deviceFeatureSelect = saved?.dfselect ?? 0;
    this.driverFeatureSelect = saved?.gfselect ?? 0;
    const features = (saved?.guestFeatures ?? 0n) | ((saved?.features128 ?? 0n) << 64n);
    for (let word = 0; word < this.featureWords; word++)
      this.#driverFeatures[word] = Number((features >> BigInt(32 * word)) & 0xffffffffn);
    (saved?.vqs ?? []).forEach((vq, queue) => {
      this.setSize(queue, vq.num);
      this.setEnabled(queue, vq.enabled);
      this.#setAddress(queue, WORD.DESC, vq.desc);
      this.#setAddress(queue, WORD.AVAIL, vq.avail);
      this.#setAddress(queue, WORD.USED, vq.used);
    });
  }

  #setAddress(queue: number, word: number, address: bigint): void {
    this.setWord(queue, word, Number(address & 0xffffffffn));
    this.setWord(queue, word + 1, Number((address >> 32n) & 0xffffffffn));
  }
}
