import type { DeviceModel } from '@virtkit/core';
import type { World } from './bench.ts';
import { Random } from './case.ts';

/** A packet that the card sends, as far as this needs it: that of `@virtkit/device-net`. */
export interface TestPacket {
  /** Queue pair that it came from. */
  readonly pair: number;
  /** Bytes of the frame. */
  readonly length: number;
  /** Bits of `HDR_FLAG`. Virtio 1.3 §5.1.6 */
  readonly flags: number;
  /** How it is to be segmented: a number of `GSO`. */
  readonly gsoType: number;
  /** From here to the end goes into the checksum. */
  readonly csumStart: number;
  /** Copies the frame; answers how many bytes there were. */
  copyTo(target: Uint8Array): number;
}

/** The card, as its back end sees it. */
export interface TestNetPort {
  /** Brings a frame to the guest. False: it has no buffer now. */
  receive(frame: Uint8Array, meta?: undefined, pair?: number): boolean;
  /** The cable takes packets again. */
  txReady(): void;
}

/** What a network card is given: the back end of `@virtkit/device-net`, as far as this needs it. */
export interface TestNetBackend {
  /** Is given its port, before anything else. */
  attach(port: TestNetPort): void;
  /** Takes a packet of the guest. False: not now; {@link TestNetPort.txReady} tells when. */
  send(packet: TestPacket): boolean;
  /** The guest has buffers again in this queue pair. */
  rxReady(pair: number): void;
}

interface Waiting {
  readonly frame: Uint8Array;
  readonly pair: number;
}

/** Whether the cable always has room, or is busy now and then. */
export type CableTiming = 'sync' | 'busy';

/** The other end of a cable: it outlives the cards. No frame is lost in it, and none sent twice. */
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
  /** Times that the guest had no buffer for a frame. */
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

  /** A frame sets out for the guest. */
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
