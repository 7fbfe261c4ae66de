import type { DeviceModel } from '@virtkit/core';
import type { World } from './bench.ts';
import { Random } from './case.ts';

/** Packet that the card sends: that of `@virtkit/device-net`, as far as the suites need it. */
export interface TestPacket {
  /** Number of the queue pair that the packet came from. */
  readonly pair: number;
  /** Length of the frame in bytes. */
  readonly length: number;
  /** Bits of `HDR_FLAG`. Virtio 1.3 §5.1.6 */
  readonly flags: number;
  /** Kind of segmentation: a number of `GSO`. */
  readonly gsoType: number;
  /** Offset in the frame from which on bytes go into the checksum. */
  readonly csumStart: number;
  /** Copies the frame; answers how many bytes there were. */
  copyTo(target: Uint8Array): number;
}

/** Card as its back end sees it. */
export interface TestNetPort {
  /** Brings a frame to the guest. Answers false if it has no buffer now. */
  receive(frame: Uint8Array, meta?: undefined, pair?: number): boolean;
  /** Tells that the cable takes packets again. */
  txReady(): void;
}

/** Back end that a network card is given: that of `@virtkit/device-net`, as far as the suites need it. */
export interface TestNetBackend {
  /** Takes its port, before anything else. */
  attach(port: TestNetPort): void;
  /** Takes a packet of the guest. Answers false if it cannot now; {@link TestNetPort.txReady} tells when. */
  send(packet: TestPacket): boolean;
  /** Is told that the guest has buffers again in this queue pair. */
  rxReady(pair: number): void;
}

interface Waiting {
  readonly frame: Uint8Array;
  readonly pair: number;
}

/** Timing of a cable: it always has room, or is busy now and then. */
export type CableTiming = 'sync' | 'busy';

/** World at the other end of a cable: it outlives the cards. No frame is lost in it, and none sent twice. */
export class CableWorld<D> implements World<D> {
  readonly #make: (backend: TestNetBackend) => DeviceModel<D>;
  readonly #timing: CableTiming;
  readonly #random: Random;
  /** Frames from the guest. */
  readonly sent: Waiting[] = [];
  /** Frames for the guest. */
  readonly #arriving: Waiting[] = [];
  #port: TestNetPort | undefined;
  #full = new Set<number>();
  #refused = false;
  /** Number of times that the guest had no buffer for a frame. */
  stalls = 0;

  constructor(make: (backend: TestNetBackend) => DeviceModel<D>, timing: CableTiming, seed: number) {
    this.#make = make;
    this.#timing = timing;
    this.#random = new Random(seed);
  }

  connect(): DeviceModel<D> {
    this.#port = undefined;
    this.#full = new Set();
    this.#refused = false;
    const backend: TestNetBackend = {
      attach: (port) => {
        this.#port = port;
      },
      send: (packet) => this.#send(packet),
      rxReady: (pair) => {
        this.#full.delete(pair);
      },
    };
    return this.#make(backend);
  }

  /** Sends a frame to the guest. */
  deliver(frame: Uint8Array, pair = 0): void {
    this.#arriving.push({ frame, pair });
  }

  /** Gives up what has not reached the guest. */
  drop(): void {
    this.#arriving.length = 0;
  }

  tick(): void {
    if (this.#refused) {
      this.#refused = false;
      this.#port?.txReady();
    }
    for (let count = 0; count < 4; count++) {
      const index = this.#arriving.findIndex(({ pair }) => !this.#full.has(pair));
      const next = this.#arriving[index];
      if (next === undefined || this.#port === undefined) return;
      // until the card says otherwise, it has buffers
      this.#full.add(next.pair);
      if (!this.#port.receive(next.frame, undefined, next.pair)) {
        this.stalls++;
        return;
      }
      this.#full.delete(next.pair);
      this.#arriving.splice(index, 1);
    }
  }

  forget(): void {
    this.sent.length = 0;
  }

  seen(): unknown {
    return this.sent.map(({ frame, pair }) => [pair, frame]).sort(([a], [b]) => Number(a) - Number(b));
  }

  #send(packet: TestPacket): boolean {
    if (this.#timing === 'busy' && this.#random.chance(3)) {
      this.#refused = true;
      return false;
    }
    const frame = new Uint8Array(packet.length);
    packet.copyTo(frame);
    this.sent.push({ frame, pair: packet.pair });
    return true;
  }
}
