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

/** Length of the RSS key in bytes. QEMU: `VIRTIO_NET_RSS_MAX_KEY_SIZE`. */
const RSS_KEY_BYTES = 40;

/**
 * Facts of the layout that the stream does not tell: they are of the sender's command line and of the negotiated
 * features.
 */
export interface NetLayout {
  /** True if the device was made with more than one queue pair. */
  readonly multiqueue: boolean;
  /** True if CTRL_GUEST_OFFLOADS is negotiated. */
  readonly guestOffloads: boolean;
}

/** State of receive-side scaling, there while it is enabled. Version 2 came with QEMU 10.2. */
export const rssState = vmstate('virtio-net-device/rss', { minimum: 1, version: 2 })
  .fields({
    /** True if the queue of a packet is chosen by its hash, or the hash is reported. */
    enabled: bool,
    /** True if the indirection table chooses the queue. */
    redirect: bool,
    /** True if hash and its type go into the packet header. */
    populateHash: bool,
    /** Hash types that the guest chose, Virtio 1.3 §5.1.6.4.3.1 */
    hashTypes: u32,
  })
  .since(2, {
    /** Hash types that the device offers. */
    supportedHashTypes: u32,
  })
  .fields({
    /** Number of entries of the indirection table: a power of two, at most 128. */
    indirectionsLen: u16,
    /** Queue for packets without a hash. */
    defaultQueue: u16,
    /** Key of the Toeplitz hash. */
    key: buffer(RSS_KEY_BYTES),
  })
  /** Numbers of queue pairs, by the low bits of the hash. */
  .array('indirectionsTable', u16, (state) => state.indirectionsLen);

/** Largest number of chunks of a back end's state: QEMU hands on what a read of 1 MiB from the back end gives. */
const BACKEND_CHUNKS_MAX = 1 << 16;

/** Field of a vhost-user back end's state: chunks of be32 length and bytes, up to a length of 0. */
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

/** Structure `virtio-net-device`, which QEMU's `save_device` writes. */
export const netState = vmstate<NetLayout>('virtio-net-device', 11)
  .fields({
    /** Address of the device, as the guest may have set it. */
    mac: macAddress,
    /** Flag that transmission is due for queue pair 0. */
    txWaiting: u32,
    /** Flag that MRG_RXBUF is negotiated. */
    mergeableRxBufs: u32,
    /** Status of the card. Bit 0: link up; bit 1: announcement wanted. */
    status: u16,
    /** Flag that all packets are received, whatever their address. */
    promisc: u8,
    /** Flag that all multicast packets are received. */
    allmulti: u8,
    /** Number of addresses in the filter table. More than 64 are read and forgotten by QEMU. */
    macTableInUse: named('mac_table.in_use', u32),
  })
  /** Addresses of the filter table, which are received; unicast first. */
  .array('macTable', named('mac_table.macs', macAddress), (state) => state.macTableInUse)
  .fields({
    /** Filter of 4096 VLAN ids, a bit each; 32-bit words in the byte order of the host that ran QEMU. See {@link vlanIds}. */
    vlans: buffer(VLAN_BYTES),
    /** Flag that the sender's back end takes packets with a virtio-net header. */
    hasVnetHdr: u32,
    /** Flag that the guest wanted more multicast addresses than the table takes: all are received. */
    multiOverflow: named('mac_table.multi_overflow', u8),
    /** Flag that the guest wanted more unicast addresses than the table takes: all are received. */
    uniOverflow: named('mac_table.uni_overflow', u8),
    /** Flag that all unicast packets are received. */
    alluni: u8,
    /** Flag that no multicast packets are received. */
    nomulti: u8,
    /** Flag that no unicast packets are received. */
    nouni: u8,
    /** Flag that no broadcast packets are received. */
    nobcast: u8,
    /** Flag that the sender's back end does UDP fragmentation offload. */
    hasUfo: u8,
  })
  .when((_state, layout) => layout.multiqueue, {
    /** Number of queue pairs that the device was made with. */
    maxQueuePairs: u16,
    /** Number of queue pairs that the driver uses. */
    currQueuePairs: u16,
  })
  /** Flags that transmission is due for queue pairs 1 to curr_queue_pairs - 1. QEMU: `tx_waiting`. */
  .array('txWaitingOthers', named('tx_waiting', u32), (state) => Math.max((state.currQueuePairs ?? 1) - 1, 0))
  .when((_state, layout) => layout.guestOffloads, {
    /** Offloads that the guest has switched on, as feature bits. */
    currGuestOffloads: u64,
  })
  // RSS is enabled
  .subsection('rss', 'virtio-net-device/rss', rssState)
  // the back end is vhost-user and can hand over its state
  .subsection('backend', 'virtio-net-device/backend', backendState, { version: 0, minimum: 0 });

/** Type of the value that {@link netState} decodes. */
export type NetState = ValueOf<typeof netState>;

/** Lists the VLAN ids that pass the filter, ascending. A big-endian host writes the words the other way round. */
export function vlanIds(vlans: Uint8Array, hostOrder: 'little' | 'big' = 'little'): number[] {
  const flip = hostOrder === 'little' ? 0 : 3;
  const ids: number[] = [];
  for (let id = 0; id < 8 * vlans.length; id++) {
    if ((((vlans[(id >> 3) ^ flip] ?? 0) >> (id & 7)) & 1) === 1) ids.push(id);
  }
  return ids;
}
