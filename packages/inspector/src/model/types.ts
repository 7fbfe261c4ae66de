// What the worker tells the page: plain data that a structured clone carries.

/** Trouble with a stream, with its place: an error, or something that does not fit. */
export interface Trouble {
  /** Severity of the trouble. `error`: the stream is not read, or must not be loaded. */
  readonly severity: 'error' | 'warning';
  /** Short name of the kind of trouble, for programs: `truncated`, `queue-index`. */
  readonly code: string;
  /** Layer whose rule is broken: `core`, `transport`, `device`, `stream`; empty where it is nobody's. */
  readonly layer: string;
  /** Path of the field: `queues[0].lastAvailIdx`; empty where there is none. */
  readonly path: string;
  /** Sentence that says what is wrong. */
  readonly reason: string;
  /** Offset in the stream, in bytes. */
  readonly offset?: number;
}

/** Block of the guest's RAM, and what of it is in the stream. */
export interface RamBlockMap {
  /** Name of the block: `pc.ram`. */
  readonly name: string;
  /** Length of the block in bytes. */
  readonly length: number;
  /** Number of pages with content, in all passes together. */
  readonly pages: number;
  /** Number of pages that were sent as zeros. */
  readonly zeroPages: number;
  /** Number of pages that came as delta or compressed. */
  readonly encodedPages: number;
  /** Number of bytes that a cell of {@link cells} stands for. */
  readonly cellBytes: number;
  /** Sums of {@link CELL}s, one for each piece of the block: what came of it; 0: nothing. */
  readonly cells: Uint8Array;
}

/** Bits that say what came of a piece of RAM. */
export const CELL = { CONTENT: 1, ZERO: 2 } as const;

/** Kind of the bytes in a stretch of the stream. */
export type StretchKind = 'head' | 'ram' | 'virtio' | 'section' | 'vmdesc' | 'trailing' | 'unread';

/** Stretch of the stream, for the ruler. */
export interface Stretch {
  /** Kind of the stretch's bytes. */
  readonly kind: StretchKind;
  /** Name for people: `0000:00:02.0/virtio-blk`. */
  readonly name: string;
  /** Offset of the stretch's first byte; {@link end} is the one behind the last. */
  readonly start: number;
  readonly end: number;
  /** Number of the section in {@link Overview.sections}; absent: the stretch is none. */
  readonly section?: number;
}

/** Section that is not RAM. */
export interface SectionRow {
  /** Name of the section: device path and vmsd. */
  readonly idstr: string;
  readonly id: number;
  readonly kind: string;
  readonly instanceId: number;
  readonly versionId: number;
  /** Offset of the body in the stream; {@link length} is its number of bytes. */
  readonly offset: number;
  readonly size: number;
  /** Number of the device in {@link Overview.devices}; absent: the section is no virtio device. */
  readonly device?: number;
}

/** Virtio device, for its card. */
export interface DeviceCard {
  /** Number of the device's section in {@link Overview.sections}. */
  readonly section: number;
  /** Title of the device: `virtio-blk@0000:00:02.0`. */
  readonly title: string;
  /** Name of the device type: `virtio-blk`. */
  readonly name: string;
  /** Path of the device: `0000:00:02.0`. */
  readonly path: string;
  /** Name of the transport: `pci`, `ccw`, `mmio`. */
  readonly transport: string;
  /** False if the device's own part is bytes. */
  readonly known: boolean;
  /** Furthest state that the driver has come to: `DRIVER_OK`. */
  readonly status: string;
  /** Bits of the status byte by name. */
  readonly statusBits: readonly string[];
  /** Interface of the driver and its kind of rings, `1.x, split`; absent: no driver. */
  readonly driver?: string;
  /** Number of features that were negotiated; absent: no driver. */
  readonly featureCount?: number;
  /** Names of negotiated features in which drivers and machines differ most often. */
  readonly telling: readonly string[];
  /** Description of the queues that are set up: `2 of 3 × 256/64`. */
  readonly queues: string;
  /** Number of requests in flight. */
  readonly inFlight: number;
  /** Troubles of the device: what does not fit together, or why it cannot be read. */
  readonly findings: readonly Trouble[];
}

/** Stream at a glance. */
export interface Overview {
  /** Name of the file. */
  readonly name: string;
  /** Length of the file in bytes; absent where that is not known. */
  readonly fileBytes?: number;
  /** Name of how the file was packed, `gzip`; absent: it was not. */
  readonly packing?: string;
  /** Number of bytes of the stream that were read. */
  readonly bytes: number;
  /** True if the stream was read to its end. */
  readonly complete: boolean;
  /** Reason why the stream was not read to its end. */
  readonly error?: Trouble;
  /** Troubles in the stream itself: what does not fit together. */
  readonly findings: readonly Trouble[];
  /** Machine type; absent: machine types up to 2.3 do not tell. */
  readonly machine?: string;
  /** Name of the first QEMU that has this machine type; absent: the type's name has no version. */
  readonly since?: string;
  /** The guest's UUID, where it is sent. */
  readonly uuid?: string;
  /** Migration capabilities that the source had on. */
  readonly capabilities: readonly string[];
  /** Names of commands of the source, in order, each with how often it came in a row. */
  readonly commands: readonly string[];
  /** Length in bytes of the libvirt save file's header that the stream stands behind; absent: there is none. */
  readonly libvirtBytes?: number;
  /** True if that header describes the machine with its devices. */
  readonly hasDomain: boolean;
  readonly ram: readonly RamBlockMap[];
  readonly sections: readonly SectionRow[];
  readonly devices: readonly DeviceCard[];
  readonly stretches: readonly Stretch[];
}

/** Owner of a field. */
export type Layer = 'core' | 'transport' | 'device';

/** Field in a section: a node of a tree. */
export interface FieldNode {
  /** Path in the state's spelling, unique in the section: `queues[0].lastAvailIdx`. */
  readonly path: string;
  /** Last part of the path. */
  readonly name: string;
  /** Name that QEMU has for the field, where it is another one. */
  readonly wire?: string;
  /** Type as in vmdesc: `uint32`, `buffer`, `struct`. */
  readonly type: string;
  /** Offset of the field's first byte in the stream; {@link end} is the one behind the last. */
  readonly start: number;
  readonly end: number;
  /** Value for people; absent for groups. */
  readonly value?: string;
  /** Meaning of the value: names of bits, of vectors. */
  readonly means?: string;
  /** Layer that the field belongs to. */
  readonly layer: Layer;
  readonly children: readonly FieldNode[];
}

/** Feature bit that was negotiated. */
export interface FeatureRow {
  readonly bit: number;
  /** Name in the specification; absent: nobody has named it. */
  readonly name?: string;
  /** Property of `-device` that switches the feature. */
  readonly property?: string;
  /** First machine version with the property on by default. */
  readonly machine?: string;
  /** Conditions of the feature beside these. */
  readonly needs?: string;
  /** Place in the specification. */
  readonly spec?: string;
}

/** Piece of a guest's buffer. */
export interface Segment {
  /** Guest-physical address, in hexadecimal. */
  readonly address: string;
  readonly bytes: number;
  /** True if the device writes the piece. */
  readonly writable: boolean;
}

/** Request that the device had taken and not answered. */
export interface RequestRow {
  readonly queue: number;
  /** Index of the chain's head. */
  readonly head: number;
  readonly segments: readonly Segment[];
}

/** Chain of descriptors in the guest's memory. */
export interface ChainRow {
  /** Index of the chain's first descriptor; the buffer id in a packed ring. */
  readonly head: number;
  /** True if the descriptors stand in a table of their own. */
  readonly indirect: boolean;
  readonly segments: readonly Segment[];
  /** Sentence that says why the chain could not be followed to its end; absent: it was. */
  readonly problem?: string;
}

/** Chains of a queue, as they stand in the guest's memory. */
export interface QueueChains {
  /** Index up to which the driver has made chains available; split rings only. */
  readonly availIdx?: number;
  /** Index up to which the device has given chains back; split rings only. */
  readonly usedIdx?: number;
  /** Chains that the device has not taken yet, in order; {@link more} is the number of those behind. */
  readonly waiting: readonly ChainRow[];
  readonly more: number;
  /** Chains of the requests in flight; split rings only, since slots of packed ones are written over. */
  readonly taken: readonly ChainRow[];
  /** Sentence that says why there is nothing to follow; absent: there is. */
  readonly trouble?: string;
}

/** Queue of a device. */
export interface QueueRow {
  readonly index: number;
  /** Number of entries of the ring. */
  readonly size: number;
  /** Guest address of the descriptor table in hexadecimal, as those below; absent: not set up or not told. */
  readonly desc?: string;
  readonly avail?: string;
  readonly used?: string;
  readonly ring: 'split' | 'packed';
  /** Next available entry that the device takes; slot in a packed ring. */
  readonly lastAvail: number;
  /** Slot where the device writes next; packed rings only, in split rings it is in guest memory. */
  readonly usedIndex?: number;
  /** Number of slots of chains taken and not returned; packed rings only. */
  readonly inUse?: number;
  /** Number of the interrupt vector; absent: none. */
  readonly vector?: number;
  /** Heads of the requests in flight. */
  readonly inFlight: readonly number[];
}

/** Section in all its fields. */
export interface SectionDetail {
  /** Number of the section in {@link Overview.sections}. */
  readonly section: number;
  /** Fields of the outermost level; empty where nothing tells what is in the section. */
  readonly fields: readonly FieldNode[];
  /** Facts that only virtio devices have. */
  readonly virtio?: {
    readonly features: readonly FeatureRow[];
    readonly queues: readonly QueueRow[];
    readonly requests: readonly RequestRow[];
    /** Fields of the configuration space by name, as pairs. */
    readonly config: readonly (readonly [name: string, value: string])[];
    /** Fields of the transport's configuration under the names of its standard. */
    readonly transport: readonly (readonly [name: string, value: string])[];
  };
}

/** Progress of a reading. */
export interface Progress {
  /** Number of bytes of the file that were read. */
  readonly done: number;
  /** Length of the file in bytes; absent where that is not known. */
  readonly total?: number;
  /** Machine type, as soon as it is known. */
  readonly machine?: string;
}
