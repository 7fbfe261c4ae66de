/**
 * Offloads of a back end: packets that a driver leaves incomplete, and the back end completes or may deliver
 * incomplete.
 */
export interface NetOffloads {
  /** True for packets whose checksum is not computed. */
  readonly csum?: boolean;
  /** True for TCP segmentation, IPv4 and IPv6, with ECN. Needs {@link csum}. */
  readonly tso?: boolean;
  /** True for UDP fragmentation. Needs {@link csum}. */
  readonly ufo?: boolean;
  /** True for UDP segmentation (QEMU 8.2 and later). Needs {@link csum}. */
  readonly uso?: boolean;
  /** True for segmentation in UDP tunnels (QEMU 10.2 and later). Needs {@link csum}. */
  readonly udpTunnel?: boolean;
}

/** Fields of `struct virtio_net_hdr` for a packet. All 0: a complete frame. Virtio 1.3 §5.1.6 */
export interface PacketMeta {
  /** Flags of the packet, the bits of {@link HDR_FLAG}. */
  readonly flags: number;
  /** Kind of segmentation, a value of {@link GSO}. */
  readonly gsoType: number;
  /** Length of all headers together in bytes, a hint. */
  readonly hdrLen: number;
  /** Largest number of payload bytes of a segment. */
  readonly gsoSize: number;
  /** Offset in the frame from which on bytes go into the checksum. */
  readonly csumStart: number;
  /** Offset of the checksum's place behind {@link csumStart}. */
  readonly csumOffset: number;
  /** Offset of the outer transport header, for UDP tunnels only. Virtio 1.3 §5.1.6 */
  readonly outerThOffset?: number;
  /** Offset of the inner network header, for UDP tunnels only. Virtio 1.3 §5.1.6 */
  readonly innerNhOffset?: number;
}

/** Flags of a packet. Virtio 1.3 §5.1.6 */
export const HDR_FLAG = { NEEDS_CSUM: 1, DATA_VALID: 2, RSC_INFO: 4, UDP_TUNNEL_CSUM: 8 } as const;

/** Kinds of segmentation; tunnel and ECN are bits beside one of the others. Virtio 1.3 §5.1.6 */
export const GSO = {
  NONE: 0,
  TCPV4: 1,
  UDP: 3,
  TCPV6: 4,
  UDP_L4: 5,
  UDP_TUNNEL_IPV4: 0x20,
  UDP_TUNNEL_IPV6: 0x40,
  ECN: 0x80,
} as const;

/** Packet from the driver, lent for the call: its bytes are still in guest memory. */
export interface Packet extends PacketMeta {
  /** Number of the queue pair that the packet came from. */
  readonly pair: number;
  /** Length of the frame in bytes; the virtio header is not part of it. */
  readonly length: number;
  /** Number of pieces of mapped memory that the frame lies in, in order. */
  readonly pieces: number;
  /** Array of guest memory that piece `i` lies in. */
  bytes(i: number): Uint8Array;
  /** Offset in its array at which piece `i` begins, in bytes. */
  offset(i: number): number;
  /** Length of piece `i` in bytes. */
  size(i: number): number;
  /** Copies `[from, from + length)` of the frame to `target`; answers how many bytes there were. */
  copyTo(target: Uint8Array, at?: number, from?: number, length?: number): number;
}

/** Kinds of incomplete packets that the guest is ready to receive. QEMU: `qemu_set_offload`. */
export interface GuestOffloads {
  /** True for frames whose checksum is not computed yet. */
  readonly csum: boolean;
  /** True for TCP over IPv4 in segments that are still to be cut. Feature GUEST_TSO4. */
  readonly tso4: boolean;
  /** True for TCP over IPv6 in segments that are still to be cut. Feature GUEST_TSO6. */
  readonly tso6: boolean;
  /** True for TCP segments with congestion notification that are still to be cut. Feature GUEST_ECN. */
  readonly ecn: boolean;
  /** True for UDP datagrams that are still to be fragmented. Feature GUEST_UFO. */
  readonly ufo: boolean;
  /** True for UDP over IPv4 in datagrams that are still to be cut. Feature GUEST_USO4. */
  readonly uso4: boolean;
  /** True for UDP over IPv6 in datagrams that are still to be cut. Feature GUEST_USO6. */
  readonly uso6: boolean;
  /** True for segments inside of UDP tunnels. Feature GUEST_UDP_TUNNEL_GSO. */
  readonly udpTunnel: boolean;
  /**
   * True for segments inside of UDP tunnels with an outer checksum that is still to be computed. Feature
   * GUEST_UDP_TUNNEL_GSO_CSUM.
   */
  readonly udpTunnelCsum: boolean;
}

/** Network card as its back end sees it. */
export interface NetPort {
  /**
   * Gives the guest a frame. False: it has no buffer now; the back end keeps the frame and tries again after
   * {@link NetBackend.rxReady}. True: it was taken, or dropped for a reason that will not go away.
   *
   * @param meta default: a complete frame. What the guest cannot take is completed (checksum) or dropped (segmentation).
   * @param pair receive queue pair; with receive-side scaling the hash chooses it
   */
  receive(frame: Uint8Array, meta?: PacketMeta, pair?: number): boolean;
  /** Is there any use in calling {@link receive} now? If not, {@link NetBackend.rxReady} will be called. */
  canReceive(pair?: number): boolean;
  /** Tells that the back end can take packets again, after a `send` that answered false. */
  txReady(): void;
}

/**
 * Network that a card is connected to. All calls are synchronous; the card calls nothing while one of these runs,
 * except if they call it. Several cards may share a back end that is made for it.
 */
export interface NetBackend {
  /**
   * Offloads of packets that {@link send} takes incomplete, and that the back end may deliver incomplete: the default
   * of the card's option of that name. Left out: a back end that knows no virtio headers.
   */
  readonly supports?: NetOffloads;
  /** Hands the back end a card that was made with it. Each card calls it once. */
  attach?(port: NetPort): void;
  /**
   * Sends a packet. It is lent: copy what is kept. Answers false if it cannot be taken now; the card leaves it in the
   * ring and waits for {@link NetPort.txReady}.
   */
  send(packet: Packet): boolean;
  /** Is told that the guest may have buffers again, after a {@link NetPort.receive} that answered false. */
  rxReady?(pair: number): void;
  /** Is told which packets the guest has chosen to receive incomplete. */
  guestOffloads?(offloads: GuestOffloads): void;
  /** Is told how many queue pairs the guest uses. */
  queuePairs?(count: number): void;
}
