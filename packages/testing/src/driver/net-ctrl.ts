import type { Used } from '../ring/ring.ts';
import { DriverError } from '../spec.ts';
import type { VirtioDriver } from './virtio.ts';

/** Classes and commands of the control queue. Virtio 1.3 §5.1.6.5 */
export const CTRL = {
  rx: 0,
  rxPromisc: 0,
  rxAllMulti: 1,
  rxAllUni: 2,
  rxNoMulti: 3,
  rxNoUni: 4,
  rxNoBcast: 5,
  mac: 1,
  macTableSet: 0,
  macAddrSet: 1,
  vlan: 2,
  vlanAdd: 0,
  vlanDel: 1,
  announce: 3,
  announceAck: 0,
  mq: 4,
  mqPairsSet: 0,
  mqRssConfig: 1,
  mqHashConfig: 2,
  offloads: 5,
  offloadsSet: 0,
} as const;

/** Command on the control queue. */
export interface CtrlRequest {
  /** Answer of the device: 0 OK, 1 error; undefined while it has the command. */
  ack: number | undefined;
}

interface Pending {
  readonly request: CtrlRequest;
  readonly at: number;
  readonly length: number;
}

const NO_ACK = 0xff;

/** Control queue of a network card. */
export class CtrlQueue {
  readonly #virtio: VirtioDriver;
  readonly #queue: number;
  readonly #free = new Map<number, number[]>();
  /** Commands for which the ring has no room yet. */
  readonly #waiting: Pending[] = [];
  #pending = 0;

  constructor(virtio: VirtioDriver, queue: number) {
    this.#virtio = virtio;
    this.#queue = queue;
  }

  get pending(): number {
    return this.#pending;
  }

  send(type: number, command: number, data: Uint8Array): CtrlRequest {
    const { ram, memory } = this.#virtio;
    const length = 2 + data.length + 1;
    const at = this.#free.get(length)?.pop() ?? memory.alloc(length);
    const ackAt = at + length - 1;
    ram.setU8(at, type);
    ram.setU8(at + 1, command);
    ram.write(at + 2, data);
    ram.setU8(ackAt, NO_ACK);
    const request: CtrlRequest = { ack: undefined };
    this.#pending++;
    this.#waiting.push({ request, at, length });
    this.#submit();
    return request;
  }

  /** Puts into the ring what there is room for. */
  #submit(): void {
    let added = false;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const { at, length } = next;
      const data = length - 3;
      const buffers = [
        { address: at, length: 2, writable: false },
        ...(data === 0 ? [] : [{ address: at + 2, length: data, writable: false }]),
        { address: at + length - 1, length: 1, writable: true },
      ];
      if (!this.#virtio.add(this.#queue, buffers, next)) break;
      this.#waiting.shift();
      added = true;
    }
    if (added) this.#virtio.kick(this.#queue);
  }

  finish({ token }: Used<unknown>): void {
    const { request, at, length } = token as Pending;
    const ack = this.#virtio.ram.u8(at + length - 1);
    if (ack === NO_ACK || request.ack !== undefined) throw new DriverError('a command without an answer');
    request.ack = ack;
    this.#pending--;
    const free = this.#free.get(length) ?? [];
    free.push(at);
    this.#free.set(length, free);
    this.#submit();
  }
}
