import { type Ended, endOf, type Guest } from './guest.ts';

const DESC = 0x20000;
const AVAIL = 0x21000;
const USED = 0x22000;
const BUFFER = 0x30000;
const SIZE = 16;
const NEXT = 1;
const WRITE = 2;
const CCW_NOTIFY = 3;

/** As much of a disk driver as it takes to read sectors of a {@link Guest}'s disk through a modern split ring. */
export class DiskDriver {
  readonly guest: Guest;
  readonly queue: number;
  #avail = 0;
  #used = 0;

  /** Takes over a device whose indicators are set. */
  constructor(guest: Guest, queue = 0) {
    this.guest = guest;
    this.queue = queue;
  }

  /** Features, ring, DRIVER_OK. */
  start(): Ended {
    const { guest } = this;
    guest.command(0x31, [3]);
    guest.command(0x11, [0, 0, 0, 0, 0]);
    guest.command(0x11, [1, 0, 0, 0, 1]);
    guest.command(0x31, [0x0b]);
    const block = new Uint8Array(32);
    const view = new DataView(block.buffer);
    view.setBigUint64(0, BigInt(DESC));
    view.setUint16(12, this.queue);
    view.setUint16(14, SIZE);
    view.setBigUint64(16, BigInt(AVAIL));
    view.setBigUint64(24, BigInt(USED));
    guest.command(0x13, block);
    return endOf(guest.command(0x31, [0x0f]));
  }

  /** Puts a read of sector 0 into the ring. */
  put(): void {
    const { view } = this.guest;
    const head = (this.#avail % (SIZE / 4)) * 3;
    const buffer = BUFFER + (this.#avail % (SIZE / 4)) * 0x1000;
    this.guest.ram.fill(0, buffer, buffer + 16);
    const chain: [number, number, number][] = [
      [buffer, 16, NEXT],
      [buffer + 0x200, 512, NEXT | WRITE],
      [buffer + 0x100, 1, WRITE],
    ];
    chain.forEach(([address, length, flags], i) => {
      const at = DESC + 16 * (head + i);
      view.setBigUint64(at, BigInt(address), true);
      view.setUint32(at + 8, length, true);
      view.setUint16(at + 12, flags, true);
      view.setUint16(at + 14, head + i + 1, true);
    });
    view.setUint16(AVAIL + 4 + 2 * (this.#avail % SIZE), head, true);
    this.#avail = (this.#avail + 1) & 0xffff;
    view.setUint16(AVAIL + 2, this.#avail, true);
  }

  kick(): number | string {
    return this.guest.css.diagnose500(CCW_NOTIFY, 0x10000, this.queue);
  }

  /** Requests that came back since the last call. */
  done(): number {
    const used = this.guest.view.getUint16(USED + 2, true);
    const count = (used - this.#used) & 0xffff;
    this.#used = used;
    return count;
  }
}
