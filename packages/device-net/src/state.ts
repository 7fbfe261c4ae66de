import {
  bool,
  buffer,
  bytesFromJson,
  bytesToJson,
  type Field,
  type Json,
  jsonError,
  macAddress,
  named,
  StateError,
  u8,
  u16,
  u32,
  u64,
  type ValueOf,
  vmstate,
  type Writer,
} from '@virtkit/vmstate';
import { VLAN_BYTES } from './limits.ts';

/** Bytes of the RSS key. QEMU `VIRTIO_NET_RSS_MAX_KEY_SIZE`. */
const RSS_KEY_BYTES = 40;

/** Layout facts that the stream does not tell: they are of the sender's command line and of the negotiated features. */
export interface NetLayout {
  /** The device was made with more than one queue pair. */
  readonly multiqueue: boolean;
  /** CTRL_GUEST_OFFLOADS is negotiated. */
  readonly guestOffloads: boolean;
}

/** Receive-side scaling, there while it is enabled. Version 2 came with QEMU 10.2. */
export const rssState = vmstate('virtio-net-device/rss', { minimum: 1, version: 2 })
  .fields({
    /** The queue of a packet is chosen by its hash, or the hash is reported. */
    enabled: bool,
    /** The indirection table chooses the queue. */
    redirect: bool,
    /** Hash and its type go into the packet header. */
    populateHash: bool,
    /** Hash types that the guest chose, Virtio 1.3 §5.1.6.4.3.1 */
    hashTypes: u32,
  })
  .since(2, {
    /** Hash types that the device offers. */
    supportedHashTypes: u32,
  })
  .fields({
    /** Entries of the indirection table: a power of two, at most 128. */
    indirectionsLen: u16,
    /** Queue of packets without a hash. */
    defaultQueue: u16,
    /** Key of the Toeplitz hash. */
    key: buffer(RSS_KEY_BYTES),
  })
  /** Queue pair by the low bits of the hash. */
  .array('indirectionsTable', u16, (state) => state.indirectionsLen);

/** Most chunks of a back end's state: QEMU hands on what a read of 1 MiB from the back end gives. */
const BACKEND_CHUNKS_MAX = 1 << 16;

/** State of a vhost-user back end: chunks of be32 length and bytes, up to a length of 0. */
const backendState: Field<readonly Uint8Array[]> = {
  type: 'vhost-user backend state',
  minSize: 4,
  decode: (input) => {
    const chunks: Uint8Array[] = [];
    for (let length = input.u32(); length !== 0; length = input.u32()) {
      if (chunks.length >= BACKEND_CHUNKS_MAX)
        throw new StateError(
          'count',
          `more than ${BACKEND_CHUNKS_MAX} chunks of a back end's state`,
          { limit: BACKEND_CHUNKS_MAX },
          { offset: input.position },
        );
      chunks.push(input.copy(length));
    }
    return chunks;
  },
  encode: (output: Writer, chunks) => {
    for (const chunk of chunks) {
      output.u32(chunk.length);
      output.raw(chunk);
    }
    output.u32(0);
  },
  toJSON: (chunks) => chunks.map(bytesToJson),
  fromJSON: (json: Json) => {
    if (!Array.isArray(json)) throw jsonError('array of hex strings', json);
    return json.map((chunk: Json) => bytesFromJson(chunk));
  },
};

/** vmsd `virtio-net-device`: what `save_device` writes. */
export const netState = vmstate<NetLayout>('virtio-net-device', 11)
  .fields({
    /** The device's address, as the guest may have set it. */
    mac: macAddress,
    /** Transmission is due for queue pair 0. */
    txWaiting: u32,
    /** MRG_RXBUF is negotiated. */
    mergeableRxBufs: u32,
    /** Bit 0: link up; bit 1: announcement wanted. */
    status: u16,
    /** All packets are received, whatever their address. */
    promisc: u8,
    /** All multicast packets are received. */
    allmulti: u8,
    /** Addresses in the filter table. More than 64 are read and forgotten by QEMU. */
    macTableInUse: named('mac_table.in_use', u32),
  })
  /** The filter table: addresses that are received, unicast first. */
  .array('macTable', named('mac_table.macs', macAddress), (state) => state.macTableInUse)
  .fields({
    /** Filter of 4096 VLAN ids, a bit each; 32-bit words in the byte order of the host that ran QEMU. See {@link vlanIds}. */
    vlans: buffer(VLAN_BYTES),
    /** The sender's back end takes packets with a virtio-net header. */
    hasVnetHdr: u32,
    /** The guest wanted more multicast addresses than the table takes: all are received. */
    multiOverflow: named('mac_table.multi_overflow', u8),
    /** The same for unicast addresses. */
    uniOverflow: named('mac_table.uni_overflow', u8),
    /** All unicast packets are received. */
    alluni: u8,
    /** No multicast packets are received. */
    nomulti: u8,
    /** No unicast packets are received. */
    nouni: u8,
    /** No broadcast packets are received. */
    nobcast: u8,
    /** The sender's back end does UDP fragmentation offload. */
    hasUfo: u8,
  })
  .when((_state, layout) => layout.multiqueue, {
    /** Queue pairs that the device was made with. */
    maxQueuePairs: u16,
    /** Queue pairs that the driver uses. */
    currQueuePairs: u16,
  })
  /** `tx_waiting` of queue pairs 1 to curr_queue_pairs - 1. */
  .array('txWaitingOthers', named('tx_waiting', u32), (state) => Math.max((state.currQueuePairs ?? 1) - 1, 0))
  .when((_state, layout) => layout.guestOffloads, {
    /** Offloads that the guest has switched on: feature bits. */
    currGuestOffloads: u64,
  })
  // RSS is enabled
  .subsection('rss', 'virtio-net-device/rss', rssState)
  // the back end is vhost-user and can hand over its state
  .subsection('backend', 'virtio-net-device/backend', backendState, { version: 0, minimum: 0 });

/** {@link netState}'s value. */
export type NetState = ValueOf<typeof netState>;

/** The VLAN ids that pass the filter, ascending. A big-endian host writes the words the other way round. */
export function vlanIds(vlans: Uint8Array, hostOrder: 'little' | 'big' = 'little'): number[] {
  const flip = hostOrder === 'little' ? 0 : 3;
  const ids: number[] = [];
  for (let id = 0; id < 8 * vlans.length; id++) {
    if ((((vlans[(id >> 3) ^ flip] ?? 0) >> (id & 7)) & 1) === 1) ids.push(id);
  }
  return ids;
}
