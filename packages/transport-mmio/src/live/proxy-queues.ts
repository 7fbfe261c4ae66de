import { QUEUE_MAX } from '@virtkit/core/live';
import type { ValueOf } from '@virtkit/vmstate';
import type { mmioQueue } from '../state.ts';
import { REGISTER } from './registers.ts';

type QueueRegisters = ValueOf<typeof mmioQueue>;

/** Index of each address register among a queue's six words. */
const ADDRESS_WORD: Readonly<Record<number, number>> = {
  [REGISTER.QUEUE_DESC_LOW]: 0,
  [REGISTER.QUEUE_DESC_HIGH]: 1,
  [REGISTER.QUEUE_DRIVER_LOW]: 2,
  [REGISTER.QUEUE_DRIVER_HIGH]: 3,
  [REGISTER.QUEUE_DEVICE_LOW]: 4,
  [REGISTER.QUEUE_DEVICE_HIGH]: 5,
};

/** Queue registers of the modern interface, as written; core gets them with QueueReady. QEMU: `VirtIOMMIOQueue`. */
export class ProxyQueues {
  readonly #num = new Uint16Array(QUEUE_MAX);
  readonly #enabled = new Uint8Array(QUEUE_MAX);
  readonly #words = new Uint32Array(QUEUE_MAX * 6);

  enabled(queue: number): boolean {
    return this.#enabled[queue] === 1;
  }

  setNum(queue: number, num: number): void {
    this.#num[queue] = num;
  }

  setAddress(queue: number, register: number, word: number): void {
    const at = ADDRESS_WORD[register];
    if (at !== undefined) this.#words[6 * queue + at] = word;
  }

  /** Sets QueueReady to 1; answers what core takes over. */
  enable(queue: number): Omit<QueueRegisters, 'enabled'> {
    this.#enabled[queue] = 1;
    return this.#registers(queue);
  }

  disable(queue: number): void {
    this.#enabled[queue] = 0;
  }

  disableAll(): void {
    this.#enabled.fill(0);
  }

  clear(): void {
    this.disableAll();
    this.#num.fill(0);
    this.#words.fill(0);
  }

  #registers(queue: number): QueueRegisters {
    return {
      num: this.#num[queue] ?? 0,
      enabled: this.enabled(queue),
      desc: this.#address(queue, 0),
      avail: this.#address(queue, 2),
      used: this.#address(queue, 4),
    };
  }

  #address(queue: number, word: number): bigint {
    const at = 6 * queue + word;
    return (BigInt(this.#words[at + 1] ?? 0) << 32n) | BigInt(this.#words[at] ?? 0);
  }

  /** Takes the registers of queues up to the last one with anything but zeros. */
  capture(): QueueRegisters[] {
    let count = QUEUE_MAX;
    while (count > 0 && this.#isZero(count - 1)) count--;
    return Array.from({ length: count }, (_, queue) => this.#registers(queue));
  }

  #isZero(queue: number): boolean {
    if (this.#num[queue] !== 0 || this.#enabled[queue] !== 0) return false;
    for (let at = 6 * queue; at < 6 * queue + 6; at++) if (this.#words[at] !== 0) return false;
    return true;
  }

  apply(queues: readonly QueueRegisters[]): void {
    this.clear();
    queues.forEach(({ num, enabled, desc, avail, used }, queue) => {
      this.#num[queue] = num;
      this.#enabled[queue] = enabled ? 1 : 0;
      [desc, avail, used].forEach((address, part) => {
        this.#words[6 * queue + 2 * part] = Number(address & 0xffffffffn);
        this.#words[6 * queue + 2 * part + 1] = Number(address >> 32n);
      });
    });
  }
}
