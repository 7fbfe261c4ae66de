/** What a back end does with packets that a driver leaves incomplete, and may deliver incomplete. */
export interface NetOffloads {
  /** Checksums. */
  readonly csum?: boolean;
  /** TCP segmentation, IPv4 and IPv6, with ECN. Needs {@link csum}. */
  readonly tso?: boolean;
  /** UDP fragmentation. Needs {@link csum}. */
  readonly ufo?: boolean;
  /** UDP segmentation (QEMU 8.2 and later). Needs {@link csum}. */
  readonly uso?: boolean;
  /** Segmentation in UDP tunnels (QEMU 10.2 and later). Needs {@link csum}. */
  readonly udpTunnel?: boolean;
}

/** What `struct virtio_net_hdr` says of a packet. All 0: a complete frame. Virtio 1.3 §5.1.6 */
export interface PacketMeta {
  /** {@link HDR_FLAG} */
  readonly flags: number;
  /** {@link GSO} */
  readonly gsoType: number;
  /** Bytes of all headers together, a hint. */
  readonly hdrLen: number;
  /** Most payload bytes of a segment. */
  readonly gsoSize: number;
  /** From here to the end goes into the checksum. */
  readonly csumStart: number;
  /** Behind {@link csumStart}: where the checksum goes. */
  readonly csumOffset: number;
  /** UDP tunnels only: offset of the outer transport header. Virtio 1.3 §5.1.6 */
  readonly outerThOffset?: number;
  /** UDP tunnels only: offset of the inner network header. Virtio 1.3 §5.1.6 */
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

/** A packet from the driver, lent for the call: its bytes are still in guest memory. */
export interface Packet extends PacketMeta {
  /** Queue pair that it came from. */
  readonly pair: number;
  /** Bytes of the frame; the virtio header is not part of it. */
  readonly length: number;
  /** Pieces of mapped memory that the frame lies in, in order. */
  readonly pieces: number;
  /** The array of guest memory that piece `i` lies in. */
  bytes(i: number): Uint8Array;
  /** Where piece `i` begins in its array. */
  offset(i: number): number;
  /** Bytes of piece `i`. */
  size(i: number): number;
  /** Copies `[from, from + length)` of the frame to `target`; answers how many bytes there were. */
  copyTo(target: Uint8Array, at?: number, from?: number, length?: number): number;
}

/** What the guest is ready to receive incomplete. QEMU: `qemu_set_offload`. */
export interface GuestOffloads {
  /** Frames whose checksum is not computed yet. */
  readonly csum: boolean;
  /** TCP over IPv4 in segments that are still to be cut. Feature GUEST_TSO4. */
  readonly tso4: boolean;
  /** The same over IPv6. Feature GUEST_TSO6. */
  readonly tso6: boolean;
  /** Such segments with congestion notification. Feature GUEST_ECN. */
  readonly ecn: boolean;
  /** UDP datagrams that are still to be fragmented. Feature GUEST_UFO. */
  readonly ufo: boolean;
  /** UDP over IPv4 in datagrams that are still to be cut. Feature GUEST_USO4. */
  readonly uso4: boolean;
  /** The same over IPv6. Feature GUEST_USO6. */
  readonly uso6: boolean;
  /** Segments inside of UDP tunnels. Feature GUEST_UDP_TUNNEL_GSO. */
  readonly udpTunnel: boolean;
  /** The same with an outer checksum that is still to be computed. Feature GUEST_UDP_TUNNEL_GSO_CSUM. */
  readonly udpTunnelCsum: boolean;
}

/** The side of a network card that its back end sees. */
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
  /** The back end can take packets again, after a `send` that answered false. */
  txReady(): void;
}

/**
 * What a network card is connected to. All calls are synchronous; the card calls nothing while one of these runs, except if
 * they call it. Several cards may share a back end that is made for it.
 */
export interface NetBackend {
  /**
   * What {@link send} takes incomplete, and what it may deliver incomplete: the default of the card's option of that name. Left out: a
   * back end that knows no virtio headers.
   */
  readonly supports?: NetOffloads;
  /** Is called once by each card that is made with it. */
  attach?(port: NetPort): void;
  /**
   * Sends a packet. It is lent: copy what is kept. False: not now; the card leaves it in the ring and waits for
   * {@link NetPort.txReady}.
   */
  send(packet: Packet): boolean;
  /** The guest may have buffers again, after a {@link NetPort.receive} that answered false. */
  rxReady?(pair: number): void;
  /** The guest has chosen what it receives incomplete. */
  guestOffloads?(offloads: GuestOffloads): void;
  /** Is told how many queue pairs the guest uses. */
  queuePairs?(count: number): void;
}
