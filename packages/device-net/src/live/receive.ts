import type { Chain, Virtqueue } from '@virtkit/core/live';
import { ETH_IPV4, PROTO_UDP, UDP_BYTES } from '../protocols.ts';
import { GSO, HDR_FLAG, type PacketMeta } from './backend.ts';
import type { Card } from './card.ts';
import type { Notifier } from './coalescing.ts';
import { u16 } from './flow.ts';
import { checksum, checksumFits, HDR, HDR_BYTES, HDR_BYTES_MAX, neededOffloads } from './header.ts';
import { OFFLOAD } from './offload.ts';
import { PACKET_MAX } from './transmit.ts';

/** Largest number of chains that one packet can take. QEMU: `VIRTQUEUE_MAX_SIZE`. */
const CHAINS_MAX = 1024;
const DHCP_SERVER_PORT = 67;
/** Number of bytes from which on frames are taken for no DHCP answer. QEMU: `work_around_broken_dhclient` */
const DHCP_FRAME_LIMIT = 1500;
/** Offsets in an Ethernet frame with an IPv4 header without options: of the type, and of what follows. */
const TYPE_AT = 12;
const PROTOCOL_AT = 23;
const PORTS_AT = 34;
/** Flags that this card can set in a received packet's header. */
const RX_FLAGS = HDR_FLAG.NEEDS_CSUM | HDR_FLAG.DATA_VALID | HDR_FLAG.UDP_TUNNEL_CSUM;

/** Receiver of frames on their way into the guest's buffers. Virtio 1.3 §5.1.6.4; QEMU: `virtio_net_receive_rcu`. */
export class Receiver {
  readonly #card: Card;
  readonly #notifiers: readonly Notifier[];
  /** Header of the packet under way. */
  readonly #header = new Uint8Array(HDR_BYTES_MAX);
  readonly #view = new DataView(this.#header.buffer);
  /** True if all of the header but num_buffers is 0. */
  #blank = true;
  /** Chains of the packet under way; {@link #written} are the bytes written to each. */
  readonly #chains: (Chain | undefined)[] = [];
  readonly #written = new Uint32Array(CHAINS_MAX);
  /** Flags of the pairs whose back end was refused, and is to be told when that may be over. */
  readonly #starved: Uint8Array;

  constructor(card: Card, notifiers: readonly Notifier[]) {
    this.#card = card;
    this.#notifiers = notifiers;
    this.#starved = new Uint8Array(card.settings.pairs);
  }

  /** Has a pair's receive queue a buffer for the back end? QEMU: `virtio_net_can_receive`. */
  canReceive(pair: number): boolean {
    const queue = this.#queue(pair);
    if (queue !== undefined) {
      if (!queue.isEmpty()) return true;
      queue.setNotification(true);
      // one may have come just before the driver could see that
      if (!queue.isEmpty()) return true;
    }
    this.#starved[pair] = 1;
    return false;
  }

  /** Handles a kick of the driver: there may be buffers. */
  kick(pair: number): void {
    if (this.#starved[pair] === 0) return;
    this.start(pair);
  }

  /** Lets the back end deliver what it holds. QEMU: `qemu_flush_queued_packets`. */
  start(pair: number): void {
    this.#starved[pair] = 0;
    this.#card.settings.backend.rxReady?.(pair);
  }

  receive(frame: Uint8Array, meta: PacketMeta | undefined, wanted: number): boolean {
    const card = this.#card;
    const { counters, rss } = card;
    const size = frame.length;
    const { headerLength } = card;
    if (!card.linkUp || size === 0 || size + headerLength > PACKET_MAX) {
      counters.rxDropped++;
      return true;
    }
    let pair = wanted;
    if (rss.enabled) {
      const chosen = rss.process(frame);
      if (chosen >= 0) pair = chosen % card.currPairs;
    } else {
      rss.hash = 0;
      rss.report = 0;
    }
    const queue = this.#queue(pair);
    if (queue === undefined || !this.#hasBuffers(queue, size + headerLength)) {
      this.#starved[pair] = 1;
      counters.rxRefused++;
      return false;
    }
    if (!card.filter.accepts(frame)) {
      counters.rxFiltered++;
      return true;
    }
    // Virtio 1.3 §5.1.4.1 MUST NOT: complete frames that are longer than the MTU
    if (size > card.frameMax && (meta === undefined || (meta.gsoType & ~GSO.ECN) === GSO.NONE)) {
      counters.rxDropped++;
      return true;
    }
    const complete = this.#prepare(meta, frame);
    if (complete < 0 || !this.#deliver(queue, frame, complete > 0 ? meta : undefined)) {
      counters.rxDropped++;
      return true;
    }
    counters.rxPackets++;
    counters.rxBytes += size;
    this.#notifiers[pair]?.notify(queue);
    return true;
  }

  /** Finds the receive queue of a pair, if the driver may get something there. QEMU: `virtio_net_can_receive`. */
  #queue(pair: number): Virtqueue | undefined {
    const { host, paused, currPairs, driverOk } = this.#card;
    // Virtio 1.3 §2.1.2 MUST NOT: nothing is used before DRIVER_OK
    // Virtio 1.3 §5.1.6.5.6.2 MUST NOT: nothing goes to pairs that the driver does not use
    return paused || pair >= currPairs || !driverOk ? undefined : host.queue(2 * pair);
  }

  /** Has a queue buffers for so many bytes? QEMU: `virtio_net_has_buffers`. */
  #hasBuffers(queue: Virtqueue, bytes: number): boolean {
    const { mergeable } = this.#card;
    if (queue.isEmpty() || (mergeable && !queue.availBytes(bytes, 0))) {
      queue.setNotification(true);
      // one may have come just before the driver could see that
      if (queue.isEmpty() || (mergeable && !queue.availBytes(bytes, 0))) return false;
    }
    queue.setNotification(false);
    return true;
  }

  /**
   * Fills in the header. Answers 0: the frame goes as it is; 1: it goes, and the card computes its checksum, since the guest
   * does not; -1: the guest cannot take this packet.
   */
  #prepare(meta: PacketMeta | undefined, frame: Uint8Array): -1 | 0 | 1 {
    const view = this.#view;
    const { littleEndian, rxAllowed, tunnel, rss } = this.#card;
    if (!this.#blank) this.#header.fill(0);
    this.#blank = true;
    if (rss.populateHash) {
      this.#blank = false;
      view.setUint32(HDR.HASH_VALUE, rss.hash, true);
      view.setUint16(HDR.HASH_REPORT, rss.report, true);
    }
    if (meta === undefined || (meta.flags | meta.gsoType) === 0) return 0;
    // Virtio 1.3 §5.1.6.4.1 MUST: segmentation comes with NEEDS_CSUM and a segment's size
    if (meta.gsoType !== GSO.NONE && ((meta.flags & HDR_FLAG.NEEDS_CSUM) === 0 || meta.gsoSize === 0))
      return -1;
    const needed = neededOffloads(meta);
    if (needed < 0) return -1;
    // Virtio 1.3 §5.1.6.4.1 MUST NOT: segmentation that the driver did not negotiate
    if ((needed & ~rxAllowed & ~OFFLOAD.CSUM) !== 0) return -1;
    // Virtio 1.3 §5.1.6.4.1 MUST: csum_start and csum_offset as the back end has them, if they lie in the frame
    if ((needed & OFFLOAD.CSUM) !== 0 && !checksumFits(meta, frame.length)) return -1;
    // Virtio 1.3 §5.1.6.4.1 MUST: without GUEST_CSUM flags are 0, and the checksum is complete
    if ((rxAllowed & OFFLOAD.CSUM) === 0) {
      if (meta.gsoType !== GSO.NONE) return -1;
      return (needed & OFFLOAD.CSUM) !== 0 ? 1 : 0;
    }
    this.#blank = false;
    const dhcp = isDhcpAnswer(meta, frame);
    // Virtio 1.3 §5.1.6.4.1 MUST NOT: RSC_INFO, since RSC_EXT is never offered
    const flags = meta.flags & RX_FLAGS;
    view.setUint8(HDR.FLAGS, dhcp ? flags & ~HDR_FLAG.NEEDS_CSUM : flags);
    view.setUint8(HDR.GSO_TYPE, meta.gsoType);
    view.setUint16(HDR.HDR_LEN, meta.hdrLen, littleEndian);
    view.setUint16(HDR.GSO_SIZE, meta.gsoSize, littleEndian);
    view.setUint16(HDR.CSUM_START, meta.csumStart, littleEndian);
    view.setUint16(HDR.CSUM_OFFSET, meta.csumOffset, littleEndian);
    if (tunnel) {
      view.setUint16(HDR.OUTER_TH_OFFSET, meta.outerThOffset ?? 0, true);
      view.setUint16(HDR.INNER_NH_OFFSET, meta.innerNhOffset ?? 0, true);
    }
    return dhcp ? 1 : 0;
  }

  /** Copies a frame into chains, and makes them visible together. Answers false if the frame is lost. */
  #deliver(queue: Virtqueue, frame: Uint8Array, unsummed: PacketMeta | undefined): boolean {
    const { host, headerLength, mergeable } = this.#card;
    const chains = this.#chains;
    const written = this.#written;
    const size = frame.length;
    let count = 0;
    for (let offset = 0; offset < size; ) {
      const chain = queue.pop();
      if (chain === undefined) {
        if (count > 0) host.fault('virtio-net unexpected empty queue', { buffers: count, offset, size });
        return this.#forget(queue, count);
      }
      const { in: target } = chain;
      const { total } = target;
      const header = count === 0 ? headerLength : 0;
      if (target.count < 1 || total < header) {
        // QEMU aborts where the first chain does not even hold the header
        const reason =
          target.count < 1
            ? 'virtio-net receive queue contains no in buffers'
            : 'virtio-net receive buffer is shorter than the header';
        host.fault(reason, { length: total });
        queue.detach(chain);
        return this.#forget(queue, count);
      }
      // Virtio 1.3 §5.1.6.4.1 MUST: all buffers but the last are used completely
      const length = Math.min(size - offset, total - header);
      if (length === size && target.length(0) >= header + size) {
        // no view is made for the usual case: all of the frame in one piece
        target.bytes(0).set(frame, target.offset(0) + header);
      } else {
        target.copyFrom(header, frame, offset, length);
      }
      offset += length;
      // Virtio 1.3 §5.1.6.3.2 MUST: one buffer only without MRG_RXBUF
      if (!mergeable && offset < size) {
        // QEMU has written the part that fits, and so do we
        target.copyFrom(0, this.#header, 0, HDR_BYTES);
        queue.unpop(chain);
        return false;
      }
      chains[count] = chain;
      written[count] = header + length;
      count++;
    }
    this.#writeHeader(chains[0], count);
    if (unsummed !== undefined) this.#sum(frame, unsummed);
    this.#publish(queue, count);
    return true;
  }

  #publish(queue: Virtqueue, count: number): void {
    const chains = this.#chains;
    if (count === 1 && chains[0] !== undefined) {
      queue.push(chains[0], this.#written[0] as number);
      return;
    }
    for (let i = 0; i < count; i++) {
      const chain = chains[i];
      if (chain !== undefined) queue.fill(chain, this.#written[i] as number, i);
    }
    // Virtio 1.3 §5.1.6.4.1 MUST: all buffers of a packet become used together
    queue.flush(count);
  }

  /** Drops a packet that is lost with the device: its chains are nobody's. */
  #forget(queue: Virtqueue, count: number): false {
    for (let i = 0; i < count; i++) {
      const chain = this.#chains[i];
      if (chain !== undefined) queue.detach(chain);
    }
    return false;
  }

  /** Writes the header, field by field as QEMU does: bytes that no field is for stay as they are. */
  #writeHeader(chain: Chain | undefined, buffers: number): void {
    if (chain === undefined) return;
    const { headerLength, mergeable, littleEndian, rss, settings, tunnel } = this.#card;
    const { in: target } = chain;
    const header = this.#header;
    let length = HDR_BYTES;
    // Virtio 1.3 §5.1.6.4.1 MUST: num_buffers says how many; 1 without MRG_RXBUF
    if (mergeable || (headerLength > HDR_BYTES && settings.alwaysNumBuffers)) {
      this.#view.setUint16(HDR.NUM_BUFFERS, buffers, littleEndian);
      length = HDR.NUM_BUFFERS + 2;
    }
    if (target.length(0) >= length) {
      const bytes = target.bytes(0);
      const at = target.offset(0);
      for (let i = 0; i < length; i++) bytes[at + i] = header[i] as number;
    } else {
      target.copyFrom(0, header, 0, length);
    }
    if (rss.populateHash) target.copyFrom(HDR.HASH_VALUE, header, HDR.HASH_VALUE, 6);
    if (tunnel) target.copyFrom(HDR.OUTER_TH_OFFSET, header, HDR.OUTER_TH_OFFSET, 4);
  }

  /** Completes the checksum in the guest's copy of a frame. */
  #sum(frame: Uint8Array, { csumStart, csumOffset }: PacketMeta): void {
    const sum = checksum(frame, csumStart);
    for (let i = 0; i < 2; i++) {
      let at = csumStart + csumOffset + i + this.#card.headerLength;
      for (let chain = 0; ; chain++) {
        const length = this.#written[chain] as number;
        if (at < length) {
          this.#chains[chain]?.in.fill(at, 1, i === 0 ? sum >> 8 : sum & 0xff);
          break;
        }
        at -= length;
      }
    }
  }
}

/** Is this a DHCP answer, whose checksum old DHCP clients look at themselves? QEMU: `work_around_broken_dhclient`. */
function isDhcpAnswer(meta: PacketMeta, frame: Uint8Array): boolean {
  return (
    (meta.flags & HDR_FLAG.NEEDS_CSUM) !== 0 &&
    frame.length >= PORTS_AT + UDP_BYTES &&
    frame.length < DHCP_FRAME_LIMIT &&
    u16(frame, TYPE_AT) === ETH_IPV4 &&
    frame[PROTOCOL_AT] === PROTO_UDP &&
    u16(frame, PORTS_AT) === DHCP_SERVER_PORT
  );
}
