import { type Chain, later, type Virtqueue } from '@virtkit/core/live';
import type { Card } from './card.ts';
import type { Notifier } from './coalescing.ts';
import { checksumFits, HDR_BYTES, neededOffloads } from './header.ts';
import { OFFLOAD } from './offload.ts';
import { TxPacket } from './packet.ts';

/** Length in bytes of the largest packet with its header: what QEMU's net layer takes (`NET_BUFSIZE`). */
export const PACKET_MAX = 4096 + 65536;
/** Number of packets after which a flush looks whether to go on. QEMU: `TX_BURST`. */
const BURST = 256;
/**
 * Number of packets without a pause, after which the rest is sent later: two guests in one program could go on for
 * ever.
 */
const RUN_MAX = 16 * BURST;

/** Results of a flush that did not end with a number of packets. QEMU: `-EBUSY`, `-EINVAL`. */
const BUSY = -1;
const INVALID = -2;

/** Transmit queue of one pair. Virtio 1.3 §5.1.6.2; QEMU: `virtio_net_tx_bh`, `virtio_net_flush_tx`. */
export class Transmitter {
  /** True if transmission is due: saved, and gone on with where the state is restored. QEMU: `tx_waiting`. */
  waiting = false;
  /** True if the back end said no, and has not said yes since. */
  blocked = false;
  readonly #card: Card;
  readonly #notifier: Notifier;
  readonly #index: number;
  readonly #packet: TxPacket;
  /** True while a run is under way; {@link #again} tells whether there was a kick meanwhile. */
  #running = false;
  #again = false;
  /** Number of resets: a chain that was taken before the last one is not given back any more. */
  #life = 0;
  /** True if {@link waiting} is set and something will come back to it. */
  #deferred = false;
  /** True if {@link waiting} is set because the back end threw, or an interrupt: whatever comes next tries again. */
  #threw = false;

  constructor(card: Card, pair: number, notifier: Notifier) {
    this.#card = card;
    this.#notifier = notifier;
    this.#index = 2 * pair + 1;
    this.#packet = new TxPacket(pair);
  }

  /** Is a packet with the back end right now? */
  get sending(): boolean {
    return this.#running;
  }

  /** Handles a kick of the driver. QEMU: `virtio_net_handle_tx_bh`. */
  kick(queue: Virtqueue): void {
    if (!this.#card.linkUp) {
      this.dropAll(queue);
      return;
    }
    if (this.waiting && !this.#threw) return;
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.waiting = true;
    queue.setNotification(false);
    if (this.#card.settings.defer === undefined) this.run();
    else this.#defer();
  }

  /** Sends what waits, if anything does. */
  start(): void {
    if (this.waiting && !this.#running) this.run();
  }

  /** Goes on, since the back end takes packets again. */
  ready(): void {
    if (!this.blocked && !this.#threw) return;
    this.blocked = false;
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.waiting = true;
    this.run();
  }

  /** Forgets what was due, for a reset of the queue or of the device. */
  forget(): void {
    this.waiting = false;
    this.blocked = false;
    this.#threw = false;
    this.#life++;
  }

  /** Drops all packets, since the link is down; the driver gets its buffers back. QEMU: `virtqueue_drop_all`. */
  dropAll(queue: Virtqueue): void {
    let dropped = 0;
    while (dropped < queue.size) {
      const chain = queue.pop();
      if (chain === undefined) break;
      queue.push(chain, 0);
      dropped++;
    }
    this.#card.counters.txDropped += dropped;
    if (dropped > 0) queue.notify();
    // a driver on another thread adds as fast as this drops, and its kick may be over: the rest is looked at later
    if (dropped < queue.size || queue.isEmpty()) return;
    this.waiting = true;
    this.#defer();
  }

  run(): void {
    const { host, paused, driverOk } = this.#card;
    if (paused || this.#running) return;
    this.waiting = false;
    this.#threw = false;
    if (!driverOk) return;
    this.#running = true;
    let life = this.#life;
    let finished = false;
    try {
      do {
        life = this.#life;
        const queue = host.queue(this.#index);
        if (queue !== undefined) this.#work(queue);
        // a guest that runs inside of send() may have reset the card, started it, and kicked
      } while (life !== this.#life && this.#again);
      finished = true;
    } finally {
      this.#running = false;
      this.#again = false;
      if (!finished && life === this.#life) this.#failed();
    }
    // the machine was stopped inside of send(): what is left goes on with it, here or elsewhere
    if (this.#card.paused) this.waiting = true;
    else if (this.waiting && !this.blocked) this.#defer();
  }

  /**
   * Notes that the back end threw, or an interrupt: what is in the ring is due, and the driver's next kick, with
   * anything new, tries again.
   */
  #failed(): void {
    this.waiting = true;
    this.#threw = true;
    const queue = this.#card.host.queue(this.#index);
    queue?.setNotification(true);
    // what is counted was there already: the driver kicks for what is behind that
    queue?.availBytes(0, Number.POSITIVE_INFINITY);
  }

  /** Flushes, and looks again with notifications on, until nothing is left. */
  #work(queue: Virtqueue): void {
    const life = this.#life;
    const later = this.#card.settings.defer !== undefined;
    for (let total = 0; ; ) {
      this.#again = false;
      let count = this.#flush(queue);
      if (count < 0 || life !== this.#life) return;
      total += count;
      if (count < BURST) {
        queue.setNotification(true);
        count = this.#flush(queue);
        if (count < 0 || life !== this.#life) return;
        total += count;
        if (count > 0) queue.setNotification(false);
        else if (!this.#again) return;
      }
      if (later || total >= RUN_MAX) {
        this.waiting = true;
        return;
      }
    }
  }

  /** Sends up to a burst of packets; answers how many, or why it ended. */
  #flush(queue: Virtqueue): number {
    const card = this.#card;
    const life = this.#life;
    if (!card.driverOk) return 0;
    if (this.blocked) {
      queue.setNotification(false);
      return BUSY;
    }
    for (let count = 0; ; ) {
      const chain = queue.pop();
      if (chain === undefined) return count;
      if (!this.#open(chain)) {
        queue.detach(chain);
        return INVALID;
      }
      if (!this.#send(queue, chain, life)) return BUSY;
      if (++count >= BURST || life !== this.#life) return count;
    }
  }

  /** Looks at the header of a packet. Answers false if the driver broke the device. */
  #open(chain: Chain): boolean {
    const { host, headerLength, tunnel, settings, littleEndian } = this.#card;
    const { out } = chain;
    const packet = this.#packet;
    if (out.count < 1) {
      host.fault('virtio-net header not in first element');
      return false;
    }
    const { total } = out;
    // Virtio 1.3 §5.1.4.1 MUST: frames up to the MTU are forwarded, and in one piece: there is no other limit here
    // Virtio 1.3 §5.1.6.2.2 MUST NOT: hdr_len is a hint for the back end, and nothing here relies on it, or on a checksum
    if (total > headerLength) {
      packet.place(out, headerLength);
      if (settings.vnet) packet.read(out, tunnel, littleEndian);
      return true;
    }
    packet.close();
    if (settings.vnet) {
      // a back end drops what has no frame; but bytes can be swapped only where there are any
      if (littleEndian || total >= HDR_BYTES) return true;
      host.fault('virtio-net header incorrect', { length: total });
      return false;
    }
    host.fault(total < headerLength ? 'virtio-net header is invalid' : 'virtio-net nothing to send', {
      length: total,
      headerLength,
    });
    return false;
  }

  /**
   * Gives the packet to the back end, and the chain back. Answers false if the back end does not take it now, and the
   * chain is in the ring again.
   */
  #send(queue: Virtqueue, chain: Chain, life: number): boolean {
    const { counters } = this.#card;
    const packet = this.#packet;
    const { length } = packet;
    if (this.#fits()) {
      let taken: boolean | undefined;
      try {
        taken = this.#card.settings.backend.send(packet);
      } finally {
        packet.close();
        // the back end threw: the packet stays the driver's
        if (taken === undefined && life === this.#life) queue.unpop(chain);
      }
      // a guest that runs inside of send() has reset the queue: this chain is not ours any more
      if (life !== this.#life) return true;
      if (!taken) {
        queue.unpop(chain);
        queue.setNotification(false);
        this.blocked = true;
        counters.txRefused++;
        return false;
      }
      counters.txPackets++;
      counters.txBytes += length;
    } else {
      packet.close();
      counters.txDropped++;
    }
    queue.push(chain, 0);
    this.#notifier.notify(queue);
    return true;
  }

  /** Is this packet one that the back end was promised? */
  #fits(): boolean {
    const { linkUp, settings, headerLength, txAllowed } = this.#card;
    const packet = this.#packet;
    if (!linkUp || packet.length === 0) return false;
    if (!settings.vnet) return packet.length <= PACKET_MAX;
    if (packet.length + headerLength > PACKET_MAX) return false;
    if ((packet.flags | packet.gsoType) === 0) return true;
    // Virtio 1.3 §5.1.6.2.1 MUST NOT: the driver asks for nothing that was not negotiated
    const needed = neededOffloads(packet);
    if (needed < 0 || (needed & ~txAllowed) !== 0) return false;
    // Virtio 1.3 §5.1.6.2.2 MUST NOT: csum_start and csum_offset mean nothing without NEEDS_CSUM
    return (needed & OFFLOAD.CSUM) === 0 || checksumFits(packet, packet.length);
  }

  #defer(): void {
    if (this.#deferred) return;
    this.#deferred = true;
    const proceed = (): void => {
      this.#deferred = false;
      if (!this.waiting) return;
      this.#card.host.memory.sync();
      this.run();
    };
    const { defer = later } = this.#card.settings;
    defer(proceed);
  }
}
