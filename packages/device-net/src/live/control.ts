import { hasFeature, later, type Spans, type Virtqueue } from '@virtkit/core/live';
import { NET_FEATURE } from '../features.ts';
import { MAC_TABLE_ENTRIES } from '../limits.ts';
import { type Card, NET_STATUS, supportedOffloads } from './card.ts';
import type { Notifier } from './coalescing.ts';
import { configureRss } from './rss-config.ts';

/** Classes of commands. Virtio 1.3 §5.1.6.5 */
export const CTRL_CLASS = {
  RX: 0,
  MAC: 1,
  VLAN: 2,
  ANNOUNCE: 3,
  MQ: 4,
  GUEST_OFFLOADS: 5,
  NOTF_COAL: 6,
} as const;

const RX_MODES = ['promisc', 'allmulti', 'alluni', 'nomulti', 'nouni', 'nobcast'] as const;
const MAC = { TABLE_SET: 0, ADDR_SET: 1 } as const;
const VLAN = { ADD: 0, DEL: 1 } as const;
const MQ = { VQ_PAIRS_SET: 0, RSS_CONFIG: 1, HASH_CONFIG: 2 } as const;
const COAL = { TX_SET: 0, RX_SET: 1, VQ_SET: 2, VQ_GET: 3 } as const;
const VLANS = 4096;
const PAIRS_MAX = 0x8000;
const MAC_BYTES = 6;
/** Length in bytes of a command's class and number. */
const HEADER_BYTES = 2;
const RSC_EXT = 61;
/** Number of rings full of commands that are executed in one go: a driver on another thread could go on for ever. */
const RUN_RINGS = 2;

const OK = 0;
const ERR = 1;
type Ack = typeof OK | typeof ERR;

/** Effects of commands on the rest of the card. */
export interface CtrlEffects {
  /** Is told that the driver uses another number of queue pairs. */
  pairsChanged(pairs: number): void;
  /** Is this the control queue? Its number depends on what was negotiated. */
  isControl(queue: number): boolean;
  /** Finds the notifier of a queue that is set up. */
  notifier(queue: number): Notifier | undefined;
  /** Sets coalescing for all queues of a direction: 0 receive, 1 transmit. */
  coalesce(direction: 0 | 1, maxPackets: number, maxUsecs: number): void;
}

/**
 * Control queue of a network card. Virtio 1.3 §5.1.6.5; QEMU: `virtio_net_handle_ctrl`. As there, whether a command's
 * feature was negotiated is looked at only for MQ, RSS, hash reports, offloads (and coalescing).
 */
export class Control {
  readonly #card: Card;
  readonly #effects: CtrlEffects;
  #deferred = false;

  constructor(card: Card, effects: CtrlEffects) {
    this.#card = card;
    this.#effects = effects;
  }

  handle(queue: Virtqueue): void {
    try {
      for (let left = RUN_RINGS * queue.size; left > 0; left--) if (!this.#next(queue)) break;
    } finally {
      // also when the back end or an interrupt has thrown
      if (!queue.isEmpty()) this.#defer(queue.index);
    }
  }

  /** Executes the next command. Answers false if there is none, or the driver broke the device. */
  #next(queue: Virtqueue): boolean {
    const { host, counters } = this.#card;
    const chain = queue.pop();
    if (chain === undefined) return false;
    const { out, in: reply } = chain;
    if (reply.total < 1 || out.total < HEADER_BYTES) {
      host.fault('virtio-net ctrl missing headers', { out: out.total, in: reply.total });
      queue.detach(chain);
      return false;
    }
    counters.ctrlCommands++;
    let written = -1;
    try {
      written = this.#answer(out, reply);
    } finally {
      // the back end threw: the driver waits for an answer all the same
      if (written < 0) written = reply.fill(0, 1, ERR);
      queue.push(chain, written);
      queue.notify();
    }
    return true;
  }

  /** Goes on later with what the driver has added meanwhile: its kick may be over. */
  #defer(index: number): void {
    if (this.#deferred) return;
    this.#deferred = true;
    const { defer = later } = this.#card.settings;
    defer(() => {
      this.#deferred = false;
      const { host } = this.#card;
      const queue = host.running ? host.queue(index) : undefined;
      if (queue === undefined || !this.#effects.isControl(index)) return;
      host.memory.sync();
      this.handle(queue);
    });
  }

  /** Answers a command, and says how many bytes were written. */
  #answer(out: Spans, reply: Spans): number {
    const command = out.u8(1);
    if (out.u8(0) === CTRL_CLASS.NOTF_COAL && command === COAL.VQ_GET) return this.#getCoalescing(out, reply);
    const ack = this.#execute(out.u8(0), command, out, out.total - HEADER_BYTES);
    reply.fill(0, 1, ack);
    return 1;
  }

  /** @param length bytes behind class and command */
  #execute(group: number, command: number, out: Spans, length: number): Ack {
    switch (group) {
      case CTRL_CLASS.RX:
        return this.#rxMode(command, out, length);
      case CTRL_CLASS.MAC:
        return command === MAC.ADDR_SET
          ? this.#setMac(out, length)
          : command === MAC.TABLE_SET
            ? this.#setMacTable(out)
            : ERR;
      case CTRL_CLASS.VLAN:
        return this.#vlan(command, out, length);
      case CTRL_CLASS.ANNOUNCE:
        return this.#announced(command);
      case CTRL_CLASS.MQ:
        return this.#queuePairs(command, out, length);
      case CTRL_CLASS.GUEST_OFFLOADS:
        return this.#guestOffloads(command, out, length);
      case CTRL_CLASS.NOTF_COAL:
        return this.#setCoalescing(command, out, length);
      default:
        return ERR;
    }
  }

  /** Sets a mode of the receive filter; its byte is kept as it is. Virtio 1.3 §5.1.6.5.1 */
  #rxMode(command: number, out: Spans, length: number): Ack {
    // Virtio 1.3 §5.1.6.5.1.1 MUST: PROMISC and ALLMULTI, and ALLUNI, NOMULTI, NOUNI, NOBCAST
    const mode = RX_MODES[command];
    if (length < 1 || mode === undefined) return ERR;
    this.#card.filter[mode] = out.u8(HEADER_BYTES);
    return OK;
  }

  #setMac(out: Spans, length: number): Ack {
    if (length !== MAC_BYTES) return ERR;
    // Virtio 1.3 §5.1.6.5.2.1 MUST: the configuration space has it before the command is used
    out.copyTo(HEADER_BYTES, this.#card.filter.mac, 0, MAC_BYTES);
    return OK;
  }

  /**
   * Sets the filter table: unicast and multicast addresses, and either list may be too long for the table. Virtio 1.3
   * §5.1.6.5.2
   */
  #setMacTable(out: Spans): Ack {
    const { filter, littleEndian } = this.#card;
    const { total } = out;
    const unicast = out.u32(HEADER_BYTES, littleEndian);
    const first = HEADER_BYTES + 4;
    // QEMU's product has 32 bits
    const unicastBytes = Math.imul(Math.max(unicast, 0), MAC_BYTES) >>> 0;
    if (unicast < 0 || unicastBytes > total - first) return ERR;
    const multicast = out.u32(first + unicastBytes, littleEndian);
    const second = first + unicastBytes + 4;
    const multicastBytes = Math.imul(Math.max(multicast, 0), MAC_BYTES) >>> 0;
    if (multicast < 0 || multicastBytes !== total - second) return ERR;
    const stored = unicast <= MAC_TABLE_ENTRIES ? unicast : 0;
    const room = MAC_TABLE_ENTRIES - stored;
    const more = multicast <= room ? multicast : 0;
    // Virtio 1.3 §5.1.6.5.2.1 MUST: the table is there before the command is used
    filter.table.fill(0);
    out.copyTo(first, filter.table, 0, stored * MAC_BYTES);
    out.copyTo(second, filter.table, stored * MAC_BYTES, more * MAC_BYTES);
    filter.inUse = stored + more;
    filter.firstMulti = stored;
    filter.uniOverflow = unicast <= MAC_TABLE_ENTRIES ? 0 : 1;
    filter.multiOverflow = multicast <= room ? 0 : 1;
    return OK;
  }

  /** Adds a VLAN to the filter, or removes it. Virtio 1.3 §5.1.6.5.3 */
  #vlan(command: number, out: Spans, length: number): Ack {
    if (length < 2) return ERR;
    const vid = out.u16(HEADER_BYTES, this.#card.littleEndian);
    if (vid >= VLANS || (command !== VLAN.ADD && command !== VLAN.DEL)) return ERR;
    this.#card.filter.setVlan(vid, command === VLAN.ADD);
    return OK;
  }

  /** Notes that the driver has announced the guest's place. Virtio 1.3 §5.1.6.5.4 */
  #announced(command: number): Ack {
    const card = this.#card;
    if (command !== 0 || (card.status & NET_STATUS.ANNOUNCE) === 0) return ERR;
    // Virtio 1.3 §5.1.6.5.4.2 MUST: ANNOUNCE is cleared when the driver has acknowledged it
    card.status &= ~NET_STATUS.ANNOUNCE;
    return OK;
  }

  /** Takes a command that says how many queue pairs are used, or how received packets are spread over them. Virtio 1.3 §5.1.6.5.6, §5.1.6.5.7 */
  #queuePairs(command: number, out: Spans, length: number): Ack {
    const card = this.#card;
    const { host, rss, settings } = card;
    rss.enabled = false;
    let pairs: number;
    if (command === MQ.HASH_CONFIG) {
      return configureRss(card, out, HEADER_BYTES, false) > 0 ? OK : ERR;
    }
    if (command === MQ.RSS_CONFIG) {
      pairs = configureRss(card, out, HEADER_BYTES, true);
    } else {
      if (command !== MQ.VQ_PAIRS_SET || !host.has(NET_FEATURE.MQ) || length < 2) return ERR;
      pairs = out.u16(HEADER_BYTES, card.littleEndian);
    }
    // Virtio 1.3 §5.1.6.5.6.1: 1 to max_virtqueue_pairs
    if (pairs < 1 || pairs > PAIRS_MAX || pairs > settings.pairs || !card.multiqueue) return ERR;
    this.#effects.pairsChanged(pairs);
    return OK;
  }

  /** Switches the packets that the driver receives incomplete. Virtio 1.3 §5.1.6.5.8 */
  #guestOffloads(command: number, out: Spans, length: number): Ack {
    const card = this.#card;
    const { host, littleEndian } = card;
    if (!host.has(NET_FEATURE.CTRL_GUEST_OFFLOADS) || length < 8 || command !== 0) return ERR;
    if (!card.settings.vnet) return ERR;
    const words = [
      BigInt(out.u32(HEADER_BYTES, littleEndian)),
      BigInt(out.u32(HEADER_BYTES + 4, littleEndian)),
    ];
    const [low = 0n, high = 0n] = littleEndian ? words : words.reverse();
    const wanted = (low | (high << 32n)) & ~(1n << BigInt(RSC_EXT));
    if ((wanted & ~supportedOffloads(host.features)) !== 0n) return ERR;
    card.setGuestOffloads(wanted);
    return OK;
  }

  /** Sets limits of notifications. Virtio 1.3 §5.1.6.5.9 */
  #setCoalescing(command: number, out: Spans, length: number): Ack {
    const { host } = this.#card;
    if (command === COAL.VQ_SET) {
      if (!host.has(NET_FEATURE.VQ_NOTF_COAL) || length < 12) return ERR;
      const notifier = this.#effects.notifier(out.u16(HEADER_BYTES, true));
      // Virtio 1.3 §5.1.6.5.9.6 MUST: an error for what is no enabled receive or transmit queue
      if (notifier === undefined) return ERR;
      // Virtio 1.3 §5.1.6.5.9.6 MUST: reserved is ignored
      notifier.set(out.u32(HEADER_BYTES + 4, true), out.u32(HEADER_BYTES + 8, true));
      return OK;
    }
    const direction = command === COAL.RX_SET ? 0 : command === COAL.TX_SET ? 1 : undefined;
    if (direction === undefined || !hasFeature(host.features, NET_FEATURE.NOTF_COAL) || length < 8)
      return ERR;
    this.#effects.coalesce(direction, out.u32(HEADER_BYTES, true), out.u32(HEADER_BYTES + 4, true));
    return OK;
  }

  /** Answers the command that asks for a queue's limits of notifications. Virtio 1.3 §5.1.6.5.9 */
  #getCoalescing(out: Spans, reply: Spans): number {
    const { host } = this.#card;
    const notifier = out.total < 4 ? undefined : this.#effects.notifier(out.u16(HEADER_BYTES, true));
    if (notifier === undefined || !host.has(NET_FEATURE.VQ_NOTF_COAL) || reply.total < 9) {
      reply.fill(reply.total - 1, 1, ERR);
      return reply.total;
    }
    const { maxPackets, maxUsecs } = notifier.limits;
    const bytes = new Uint8Array(9);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, maxPackets, true);
    view.setUint32(4, maxUsecs, true);
    reply.copyFrom(0, bytes, 0, 8);
    reply.fill(reply.total - 1, 1, OK);
    return reply.total;
  }
}
