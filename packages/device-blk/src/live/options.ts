import { type Endian, HostError, later } from '@virtkit/core/live';
import { ArraySpans } from '../disk/array-spans.ts';
import { type BlkBackend, errorCode } from './backend.ts';
import { type Geometry, guessGeometry } from './geometry.ts';
import type { BlkStop, ErrorPolicy } from './policy.ts';
import { ID_BYTES, REQUEST_SECTORS_MAX, SECTOR_BYTES } from './wire.ts';

/** Limits of the commands DISCARD, WRITE_ZEROES and SECURE_ERASE. */
export interface RangeOptions {
  /** Largest number of sectors of a segment; default and most 0x3fffff. */
  readonly maxSectors?: number;
  /** Largest number of segments of a request; default 1. */
  readonly maxSegments?: number;
}

/** Limits of a command, and what the driver is told to align to. */
export interface AlignedRangeOptions extends RangeOptions {
  /** Alignment in bytes; default the logical block size. QEMU property `discard_granularity`. */
  readonly granularity?: number;
}

/** Answer to GET_LIFETIME: `struct virtio_blk_lifetime`, Virtio 1.3 §5.2.6. */
export interface Lifetime {
  /** State of the reserve of blocks: 0 undefined, 1 normal, 2 warning (80% of the reserve used), 3 urgent (90%). */
  readonly preEolInfo: number;
  /** Wear of the flash of type A (SLC) in steps of 10%: 0 undefined, 1 up to 10% used, … 11 exceeded. */
  readonly typA: number;
  /** Wear of the flash of type B (MLC) in steps of 10%, as {@link typA} has it for type A. */
  readonly typB: number;
}

/** Options of a block device. What is left out is as QEMU 7.2 makes its `virtio-blk-pci`. */
export interface BlkOptions {
  /** Back end that holds the disk's content. */
  readonly backend: BlkBackend;
  /** Number of request queues, 1 to 1024; default 1. QEMU property `num-queues`. */
  readonly queues?: number;
  /** Ring size of each queue, a power of two from 4 to 1024; default 256 (machines up to 4.2: 128). */
  readonly queueSize?: number;
  /** Logical block size in bytes: a power of two from 512 to 2 MiB; default the back end's, else 512. */
  readonly blockSize?: number;
  /** Number of logical blocks of a physical block, as a power of two; default 0. */
  readonly physicalBlockExp?: number;
  /** Smallest size of a request that is good, in bytes: a multiple of the block size; default 0: not told. QEMU property `min_io_size`. */
  readonly minIoSize?: number;
  /** Best size of a request in bytes, a multiple of the block size, at most 4 GiB; default 0: not told. QEMU property `opt_io_size`. */
  readonly optIoSize?: number;
  /** Answer to GET_ID: ASCII, of which the driver gets 20 characters. */
  readonly serial?: string;
  /** True to tell the driver that the disk is read-only. Default: what the back end says. */
  readonly readOnly?: boolean;
  /** Let the driver switch the write cache (CONFIG_WCE); default true. */
  readonly configWce?: boolean;
  /** Is the write cache on? Default: what the back end says, else true. */
  readonly writeCache?: boolean;
  /** Offer FLUSH wherever CONFIG_WCE is; machines up to 4.2 did not. QEMU property `x-enable-wce-if-config-wce`. */
  readonly flushIfConfigWce?: boolean;
  /** Offer DISCARD, and its limits; default on, as for machines since 4.0. */
  readonly discard?: boolean | AlignedRangeOptions;
  /** Offer WRITE_ZEROES, and its limits; default on, as for machines since 4.0. */
  readonly writeZeroes?: boolean | RangeOptions;
  /** Offer SECURE_ERASE, and its limits; default off; needs `secureErase` of the back end. */
  readonly secureErase?: boolean | AlignedRangeOptions;
  /** Offer LIFETIME, with this answer; default off. A function is asked at each GET_LIFETIME. */
  readonly lifetime?: Lifetime | (() => Lifetime);
  /** True if `seg_max` is the ring size less 2; false: 126, as machines up to 4.2. QEMU property `seg-max-adjust`. */
  readonly segMaxAdjust?: boolean;
  /** Largest number of bytes of a segment; default 0: not offered. The device does not insist. */
  readonly sizeMax?: number;
  /** Geometry that the driver is told. Default: guessed as QEMU does. */
  readonly geometry?: Geometry;
  /** Policy if the back end fails to read; default `report`. */
  readonly rerror?: ErrorPolicy;
  /** Policy if the back end fails to write, flush, discard, …; default `enospc`. */
  readonly werror?: ErrorPolicy;
  /**
   * False to begin requests in the order of QEMU's `request-merging=off`, for lockstep with one: one read or write is
   * held back until the next is taken or the ring is empty, everything else is begun when it is taken. As QEMU the
   * device then goes on for as long as there is something in the ring (65536 requests), and interrupts for each request
   * by itself. Default: all requests are begun when the ring is empty.
   */
  readonly requestMerging?: boolean;
  /**
   * Function that is called if a request failed that the policy stops for: stop the machine (`LiveDevice.pause`), see
   * to it, and resume.
   */
  readonly onStop?: (stop: BlkStop) => void;
  /**
   * Function that calls back later. For drivers that run on another thread, and can fill a ring as fast as it is
   * emptied: after one ring's worth of requests the device lets others run. Default: when timers have had their turn.
   */
  readonly defer?: (proceed: () => void) => void;
  /**
   * Number of bytes that the back end is asked for at a time: those of reads and writes that are under way, and those
   * that a synchronous back end is asked for before other parts of the program have their turn. What the driver wants
   * beyond that waits. Default 32 MiB; an operation of more is done alone. (A guest's requests may be a thousand times
   * larger than its memory: segments may overlap.)
   */
  readonly maxBytesInFlight?: number;
  /**
   * Place of `ndescs` in saved requests of a device that offers RING_PACKED: behind the element, or before it, where
   * QEMU looks for it or where it writes it.
   */
  readonly ndescs?: 'after' | 'before';
  /** Byte order of the host that saved requests are written for; default little. */
  readonly hostEndian?: Endian;
}

/** Limits of a command in the units of the configuration space. */
export interface RangeLimits {
  readonly offered: boolean;
  readonly maxSectors: number;
  readonly maxSegments: number;
  /** Alignment in sectors. */
  readonly alignment: number;
}

/** Options of a block device, checked and complete. */
export interface Settings {
  readonly backend: BlkBackend;
  readonly queues: number;
  readonly queueSize: number;
  readonly blockSize: number;
  readonly physicalBlockExp: number;
  readonly minIoSize: number;
  readonly optIoSize: number;
  /** Serial number with its NUL. */
  readonly serial: Uint8Array;
  readonly readOnly: boolean;
  readonly configWce: boolean;
  readonly writeCache: boolean;
  readonly flushIfConfigWce: boolean;
  readonly discard: RangeLimits;
  readonly writeZeroes: RangeLimits;
  readonly secureErase: RangeLimits;
  readonly lifetime: (() => Lifetime) | undefined;
  readonly segMax: number;
  readonly sizeMax: number;
  readonly geometry: Geometry;
  readonly rerror: ErrorPolicy;
  readonly werror: ErrorPolicy;
  readonly requestMerging: boolean;
  readonly onStop: ((stop: BlkStop) => void) | undefined;
  readonly defer: (proceed: () => void) => void;
  /** Largest number of bytes of one operation of the back end, a multiple of the block size. */
  readonly maxTransfer: number;
  readonly maxBytesInFlight: number;
  readonly ndescs: 'after' | 'before';
  readonly hostEndian: Endian;
}

/** Number of bytes of one operation, where a back end does not say. A Linux guest's requests are smaller (1.25 MiB). */
const TRANSFER_BYTES = 1 << 22;
const BYTES_IN_FLIGHT = 1 << 25;

/** Checks and completes options. @throws HostError that names the option */
export function settle(options: BlkOptions): Settings {
  const { backend, lifetime } = options;
  const blockSize = powerOfTwo(
    'blockSize',
    options.blockSize ?? backend.blockSize ?? SECTOR_BYTES,
    SECTOR_BYTES,
    2 ** 21,
  );
  const queueSize = powerOfTwo('queueSize', options.queueSize ?? 256, 4, 1024);
  integer('backend.size', backend.size, 0, Number.MAX_SAFE_INTEGER);
  const secureErase = limits('secureErase', options.secureErase ?? false, blockSize);
  if (secureErase.offered && backend.secureErase === undefined) {
    throw new HostError('secureErase: the back end cannot');
  }
  return {
    backend,
    queues: integer('queues', options.queues ?? 1, 1, 1024),
    queueSize,
    blockSize,
    physicalBlockExp: integer('physicalBlockExp', options.physicalBlockExp ?? 0, 0, 31),
    minIoSize: blocks('minIoSize', options.minIoSize ?? 0, blockSize, 0xffff),
    optIoSize: blocks('optIoSize', options.optIoSize ?? 0, blockSize, 0xffffffff),
    serial: serialBytes(options.serial ?? ''),
    readOnly: options.readOnly ?? backend.readOnly ?? false,
    configWce: options.configWce ?? true,
    writeCache: options.writeCache ?? backend.writeCache ?? true,
    flushIfConfigWce: options.flushIfConfigWce ?? true,
    discard: limits('discard', options.discard ?? true, blockSize),
    writeZeroes: limits('writeZeroes', options.writeZeroes ?? true, blockSize),
    secureErase,
    lifetime: typeof lifetime === 'object' ? () => lifetime : lifetime,
    segMax: (options.segMaxAdjust ?? true) ? queueSize - 2 : 126,
    sizeMax: integer('sizeMax', options.sizeMax ?? 0, 0, 0xffffffff),
    geometry: geometryOf(options),
    rerror: options.rerror ?? 'report',
    werror: options.werror ?? 'enospc',
    requestMerging: options.requestMerging ?? true,
    onStop: options.onStop,
    defer: options.defer ?? later,
    maxTransfer: maxTransfer(backend, blockSize),
    maxBytesInFlight: integer(
      'maxBytesInFlight',
      options.maxBytesInFlight ?? BYTES_IN_FLIGHT,
      1,
      Number.MAX_SAFE_INTEGER,
    ),
    ndescs: options.ndescs ?? 'after',
    hostEndian: options.hostEndian ?? 'little',
  };
}

function integer(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new HostError(`${name}: ${value} is not an integer from ${least} to ${most}`);
}

/** Rounds the largest transfer to whole blocks: requests begin and end at logical blocks, and so do their pieces. */
function maxTransfer({ maxTransfer = TRANSFER_BYTES }: BlkBackend, blockSize: number): number {
  integer('backend.maxTransfer', maxTransfer, SECTOR_BYTES, Number.MAX_SAFE_INTEGER);
  return Math.max(1, Math.floor(maxTransfer / blockSize)) * blockSize;
}

function powerOfTwo(name: string, value: number, least: number, most: number): number {
  if (value >= least && value <= most && Number.isInteger(Math.log2(value))) return value;
  throw new HostError(`${name}: ${value} is not a power of two from ${least} to ${most}`);
}

/** Turns bytes into the number of logical blocks that the configuration space has. */
function blocks(name: string, bytes: number, blockSize: number, most: number): number {
  if (bytes % blockSize === 0 && bytes >= 0 && bytes / blockSize <= most) return bytes;
  throw new HostError(`${name}: ${bytes} is not a multiple of ${blockSize}, at most ${most} times`);
}

/**
 * Settles the limits of a command. One that is not offered works all the same, within QEMU's limits, where QEMU knows
 * it.
 */
function limits(name: string, option: boolean | AlignedRangeOptions, blockSize: number): RangeLimits {
  const {
    maxSectors = REQUEST_SECTORS_MAX,
    maxSegments = 1,
    granularity = blockSize,
  }: AlignedRangeOptions = typeof option === 'object' ? option : {};
  return {
    offered: option !== false,
    maxSectors: integer(`${name}.maxSectors`, maxSectors, 1, REQUEST_SECTORS_MAX),
    maxSegments: integer(`${name}.maxSegments`, maxSegments, 1, 256),
    alignment: blocks(`${name}.granularity`, granularity, blockSize, 0xffffffff) / SECTOR_BYTES,
  };
}

function serialBytes(serial: string): Uint8Array {
  const bytes = Uint8Array.from([...serial].slice(0, ID_BYTES), (character) => character.codePointAt(0) ?? 0);
  if (serial.length !== [...serial].length || [...serial].some((c) => c < ' ' || c > '~'))
    throw new HostError(`serial: ${JSON.stringify(serial)} is not printable ASCII`);
  const terminated = new Uint8Array(bytes.length + 1);
  terminated.set(bytes);
  return terminated;
}

function geometryOf({ backend, geometry }: BlkOptions): Geometry {
  if (geometry === undefined)
    return guessGeometry(Math.ceil(backend.size / SECTOR_BYTES), backend.firstSector ?? readFirst(backend));
  integer('geometry.cylinders', geometry.cylinders, 1, 65535);
  integer('geometry.heads', geometry.heads, 1, 255);
  integer('geometry.sectors', geometry.sectors, 1, 255);
  return geometry;
}

/** Reads the first sector; undefined if it cannot be had at once: then the size has to do for the geometry. */
function readFirst(backend: BlkBackend): Uint8Array | undefined {
  if (backend.size < SECTOR_BYTES) return undefined;
  const sector = new Uint8Array(SECTOR_BYTES);
  try {
    const pending = backend.read(0, new ArraySpans(sector), 0, SECTOR_BYTES);
    if (pending === undefined) return sector;
    pending.then(undefined, errorCode);
  } catch {
    // QEMU guesses from the size then, too
  }
  return undefined;
}
