import { PROTO_TCP, PROTO_UDP } from '../protocols.ts';
import { Flow } from './flow.ts';
import { Toeplitz } from './toeplitz.ts';

/** Bits of hash types. Virtio 1.3 §5.1.6.4.3.1 */
export const HASH_TYPE = {
  IPv4: 1 << 0,
  TCPv4: 1 << 1,
  UDPv4: 1 << 2,
  IPv6: 1 << 3,
  TCPv6: 1 << 4,
  UDPv6: 1 << 5,
  IP_EX: 1 << 6,
  TCP_EX: 1 << 7,
  UDP_EX: 1 << 8,
} as const;

/** Values of `hash_report`. Virtio 1.3 §5.1.6.4.5 */
export const HASH_REPORT = {
  NONE: 0,
  IPv4: 1,
  TCPv4: 2,
  UDPv4: 3,
  IPv6: 4,
  TCPv6: 5,
  UDPv6: 6,
  IPv6_EX: 7,
  TCPv6_EX: 8,
  UDPv6_EX: 9,
} as const;

/** Mask of all hash types, {@link HASH_TYPE}. QEMU: `VIRTIO_NET_RSS_SUPPORTED_HASHES`. */
export const SUPPORTED_HASH_TYPES = 0x1ff;
/** Number of entries of the indirection table. QEMU: `VIRTIO_NET_RSS_MAX_TABLE_LEN`. */
export const RSS_TABLE_MAX = 128;

/** Receive-side scaling and hash report: settings of the driver, and the hash of a frame. */
export class Rss {
  enabled = false;
  /** True if the indirection table chooses the queue: RSS is negotiated. */
  redirect = false;
  /** True if the hash goes into the header: HASH_REPORT is negotiated. */
  populateHash = false;
  hashTypes = 0;
  supportedHashTypes: number = SUPPORTED_HASH_TYPES;
  /** Number of entries of the table in use, a power of two. */
  indirectionsLen = 1;
  defaultQueue = 0;
  readonly table: Uint16Array = new Uint16Array(RSS_TABLE_MAX);
  readonly toeplitz: Toeplitz = new Toeplitz();
  /** Hash of the frame that {@link process} saw last. */
  hash = 0;
  report = 0;
  readonly #flow = new Flow();

  /**
   * Hashes a frame. Answers the queue pair for it, or -1: the pair that it came for. QEMU: `virtio_net_process_rss`.
   */
  process(frame: Uint8Array): number {
    this.#flow.parse(frame);
    this.report = this.#choose();
    if (this.report === HASH_REPORT.NONE) {
      this.hash = 0;
      // Virtio 1.3 §5.1.6.5.7.3 MUST: what has no hash goes to the queue for it
      return this.redirect ? this.defaultQueue : -1;
    }
    this.hash = this.#compute(frame);
    // Virtio 1.3 §5.1.6.5.7.3 MUST: the hash, masked, is the place in the table
    return this.redirect ? (this.table[this.hash & (this.indirectionsLen - 1)] as number) : -1;
  }

  /** Chooses the most specific hash type that the driver enabled and the frame has. Virtio 1.3 §5.1.6.4.3.2, .3, .4 */
  #choose(): number {
    const { ip, l4 } = this.#flow;
    const on = (type: number): boolean => (this.hashTypes & type) !== 0;
    if (ip === 4) {
      if (l4 === PROTO_TCP && on(HASH_TYPE.TCPv4)) return HASH_REPORT.TCPv4;
      if (l4 === PROTO_UDP && on(HASH_TYPE.UDPv4)) return HASH_REPORT.UDPv4;
      return on(HASH_TYPE.IPv4) ? HASH_REPORT.IPv4 : HASH_REPORT.NONE;
    }
    if (ip !== 6) return HASH_REPORT.NONE;
    if (l4 === PROTO_TCP) {
      if (on(HASH_TYPE.TCP_EX)) return HASH_REPORT.TCPv6_EX;
      if (on(HASH_TYPE.TCPv6)) return HASH_REPORT.TCPv6;
    }
    if (l4 === PROTO_UDP) {
      if (on(HASH_TYPE.UDP_EX)) return HASH_REPORT.UDPv6_EX;
      if (on(HASH_TYPE.UDPv6)) return HASH_REPORT.UDPv6;
    }
    if (on(HASH_TYPE.IP_EX)) return HASH_REPORT.IPv6_EX;
    return on(HASH_TYPE.IPv6) ? HASH_REPORT.IPv6 : HASH_REPORT.NONE;
  }

  #compute(frame: Uint8Array): number {
    const { toeplitz, report } = this;
    const { ip, src, dst, exSrc, exDst, ports } = this.#flow;
    const bytes = ip === 4 ? 4 : 16;
    const extended = report >= HASH_REPORT.IPv6_EX;
    let hash = toeplitz.add(0, 0, frame, extended ? exSrc : src, bytes);
    hash = toeplitz.add(hash, bytes, frame, extended ? exDst : dst, bytes);
    const plain =
      report === HASH_REPORT.IPv4 || report === HASH_REPORT.IPv6 || report === HASH_REPORT.IPv6_EX;
    return plain ? hash : toeplitz.add(hash, 2 * bytes, frame, ports, 4);
  }
}
