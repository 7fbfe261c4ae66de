// What the worker tells the page: plain data that a structured clone carries.

/** Something wrong, or that does not fit, with its place. */
export interface Trouble {
  /** `error`: it is not read, or must not be loaded. */
  readonly severity: 'error' | 'warning';
  /** Machine-readable: `truncated`, `queue-index`. */
  readonly code: string;
  /** Whose rule it is: `core`, `transport`, `device`, `stream`; empty where nobody's. */
  readonly layer: string;
  /** Path of the field: `queues[0].lastAvailIdx`; empty where there is none. */
  readonly path: string;
  /** In words. */
  readonly reason: string;
  /** Byte of the stream. */
  readonly offset?: number;
}

/** A block of the guest's RAM, and what of it is in the stream. */
export interface RamBlockMap {
  /** Name of the block: `pc.ram`. */
  readonly name: string;
  /** Bytes. */
  readonly length: number;
  /** Pages with content, in all passes together. */
  readonly pages: number;
  /** Pages that were sent as zeros. */
  readonly zeroPages: number;
  /** Pages as delta or compressed. */
  readonly encodedPages: number;
  /** Bytes that a cell of {@link cells} stands for. */
  readonly cellBytes: number;
  /** For each piece of the block what came of it: a sum of {@link CELL}s; 0: nothing. */
  readonly cells: Uint8Array;
}

/** What came of a piece of RAM. */
export const CELL = { CONTENT: 1, ZERO: 2 } as const;

/** What kind of bytes a stretch of the stream is. */
export type StretchKind = 'head' | 'ram' | 'virtio' | 'section' | 'vmdesc' | 'trailing' | 'unread';

/** A stretch of the stream, for the ruler. */
export interface Stretch {
  /** What it is. */
  readonly kind: StretchKind;
  /** Name for people: `0000:00:02.0/virtio-blk`. */
  readonly name: string;
  /** First byte, and the one behind the last. */
  readonly start: number;
  readonly end: number;
  /** Number of the section in {@link Overview.sections}; absent: it is none. */
  readonly section?: number;
}

/** A section that is not RAM. */
export interface SectionRow {
  /** Name of the section: device path and vmsd. */
  readonly idstr: string;
  readonly id: number;
  readonly kind: string;
  readonly instanceId: number;
  readonly versionId: number;
  /** Place of the body in the stream, and its bytes. */
  readonly offset: number;
  readonly size: number;
  /** Number of the device in {@link Overview.devices}; absent: no virtio device. */
  readonly device?: number;
}

/** A virtio device, for its card. */
export interface DeviceCard {
  /** Number of its section in {@link Overview.sections}. */
  readonly section: number;
  /** `virtio-blk@0000:00:02.0` */
  readonly title: string;
  /** `virtio-blk` */
  readonly name: string;
  /** `0000:00:02.0` */
  readonly path: string;
  /** `pci`, `ccw`, `mmio` */
  readonly transport: string;
  /** False: the device's own part is bytes. */
  readonly known: boolean;
  /** The furthest that the driver has come: `DRIVER_OK`. */
  readonly status: string;
  /** Bits of the status byte by name. */
  readonly statusBits: readonly string[];
  /** `1.x, split`; absent: no driver. */
  readonly driver?: string;
  /** How many features were negotiated; absent: no driver. */
  readonly featureCount?: number;
  /** Those in which drivers and machines differ most often. */
  readonly telling: readonly string[];
  /** `2 of 3 × 256/64` */
  readonly queues: string;
  /** Requests in flight. */
  readonly inFlight: number;
  /** What does not fit together, or why it cannot be read. */
  readonly findings: readonly Trouble[];
}

/** A stream at a glance. */
export interface Overview {
  /** Name of the file. */
  readonly name: string;
  /** Bytes of the file; absent where that is not known. */
  readonly fileBytes?: number;
  /** How it was packed: `gzip`; absent: not. */
  readonly packing?: string;
  /** Bytes of the stream that were read. */
  readonly bytes: number;
  /** It was read to its end. */
  readonly complete: boolean;
  /** Why it was not. */
  readonly error?: Trouble;
  /** What in the stream itself does not fit together. */
  readonly findings: readonly Trouble[];
  /** Machine type; absent: machine types up to 2.3 do not tell. */
  readonly machine?: string;
  /** The first QEMU that has this machine type; absent: its name has no version. */
  readonly since?: string;
  /** The guest's UUID, where it is sent. */
  readonly uuid?: string;
  /** Migration capabilities that the source had on. */
  readonly capabilities: readonly string[];
  /** Commands of the source, in order, each with how often it came in a row. */
  readonly commands: readonly string[];
  /** It stands in a libvirt save file: bytes of its header. */
  readonly libvirtBytes?: number;
  readonly ram: readonly RamBlockMap[];
  readonly sections: readonly SectionRow[];
  readonly devices: readonly DeviceCard[];
  readonly stretches: readonly Stretch[];
}

/** The owner of a field. */
export type Layer = 'core' | 'transport' | 'device';

/** A field in a section: a tree. */
export interface FieldNode {
  /** Path in the state's spelling, unique in the section: `queues[0].lastAvailIdx`. */
  readonly path: string;
  /** Last part of the path. */
  readonly name: string;
  /** QEMU's name, where it is another one. */
  readonly wire?: string;
  /** Type as in vmdesc: `uint32`, `buffer`, `struct`. */
  readonly type: string;
  /** First byte in the stream, and the one behind the last. */
  readonly start: number;
  readonly end: number;
  /** The value for people; absent for groups. */
  readonly value?: string;
  /** What the value means: names of bits, of vectors. */
  readonly means?: string;
  /** Whose it is. */
  readonly layer: Layer;
  readonly children: readonly FieldNode[];
}

/** A feature bit that was negotiated. */
export interface FeatureRow {
  readonly bit: number;
  /** Name in the specification; absent: nobody has named it. */
  readonly name?: string;
  /** The property of `-device` that switches it. */
  readonly property?: string;
  /** First machine version with the property on by default. */
  readonly machine?: string;
  /** What else it needs. */
  readonly needs?: string;
  /** Where the specification has it. */
  readonly spec?: string;
}

/** A piece of a guest's buffer. */
export interface Segment {
  /** Guest-physical address, in hexadecimal. */
  readonly address: string;
  readonly bytes: number;
  /** The device writes it. */
  readonly writable: boolean;
}

/** A request that the device had taken and not answered. */
export interface RequestRow {
  readonly queue: number;
  /** Index of the chain's head. */
  readonly head: number;
  readonly segments: readonly Segment[];
}

/** A queue. */
export interface QueueRow {
  readonly index: number;
  /** Entries of the ring. */
  readonly size: number;
  /** Guest addresses in hexadecimal; absent: not set up or not told. */
  readonly desc?: string;
  readonly avail?: string;
  readonly used?: string;
  readonly ring: 'split' | 'packed';
  /** Next available entry that the device takes; slot in a packed ring. */
  readonly lastAvail: number;
  /** Where the device writes next; packed rings only, in split rings it is in guest memory. */
  readonly usedIndex?: number;
  /** Slots of chains taken and not returned; packed rings only. */
  readonly inUse?: number;
  /** Interrupt vector; absent: none. */
  readonly vector?: number;
  /** Heads of the requests in flight. */
  readonly inFlight: readonly number[];
}

/** A section in all its fields. */
export interface SectionDetail {
  /** Number in {@link Overview.sections}. */
  readonly section: number;
  /** Fields of the outermost level; empty where nothing tells what is in the section. */
  readonly fields: readonly FieldNode[];
  /** Only of virtio devices. */
  readonly virtio?: {
    readonly features: readonly FeatureRow[];
    readonly queues: readonly QueueRow[];
    readonly requests: readonly RequestRow[];
    /** The configuration space by field name, as pairs. */
    readonly config: readonly (readonly [name: string, value: string])[];
    /** The transport's configuration under the names of its standard. */
    readonly transport: readonly (readonly [name: string, value: string])[];
  };
}

/** How far a reading has come. */
export interface Progress {
  /** Bytes of the file that were read. */
  readonly done: number;
  /** Bytes of the file; absent where that is not known. */
  readonly total?: number;
  /** Machine type, as soon as it is known. */
  readonly machine?: string;
}
