import { FrontEndError } from '../errors.ts';
import {
  CONFIG_MAX,
  DESCRIPTORS_MAX,
  FLAG,
  PAYLOAD_MAX,
  REQUEST_NAMES,
  type RequestName,
  TABLE_REGIONS_MAX,
} from './requests.ts';

/** Header in front of a payload. */
export interface Header {
  readonly request: RequestName;
  /** True if the front end waits for an answer, also to a request that has none of its own. */
  readonly needReply: boolean;
  /** Length of the payload in bytes, at most {@link PAYLOAD_MAX}. */
  readonly size: number;
}

/** Stretch of guest memory: addresses of the guest and of the front end, and where the bytes lie in a file. */
export interface WireRegion {
  readonly guestAddress: bigint;
  /** Length of the region in bytes. */
  readonly size: bigint;
  /** Address of the region's first byte in the front end: addresses of rings are such. */
  readonly userAddress: bigint;
  readonly fileOffset: bigint;
}

/** Number of a ring with one value. QEMU: `vhost_vring_state`. */
export interface VringState {
  readonly queue: number;
  readonly value: number;
}

/** Place of a ring, as addresses of the front end. QEMU: `vhost_vring_addr`. */
export interface VringAddress {
  readonly queue: number;
  /** Flags of the ring. Bit 0: writes to the used ring are to be logged. */
  readonly flags: number;
  readonly desc: bigint;
  readonly used: bigint;
  readonly avail: bigint;
  /** Guest address of the used ring, for the log. */
  readonly log: bigint;
}

/** Piece of the configuration space. QEMU: `vhost_user_config`. */
export interface ConfigPiece {
  readonly offset: number;
  /** Length of the piece in bytes, at most {@link CONFIG_MAX}. */
  readonly size: number;
  /** Bytes of SET_CONFIG; empty for GET_CONFIG. */
  readonly bytes: Uint8Array;
}

/** Memory that both sides have, for a log. QEMU: `vhost_user_inflight`, `vhost_user_log`. */
export interface SharedArea {
  readonly size: bigint;
  readonly offset: bigint;
}

export interface InflightArea extends SharedArea {
  readonly queues: number;
  /** Number of entries of each ring. */
  readonly queueSize: number;
  /** Length of the payload in bytes, 20 or 24, which an answer has as well. */
  readonly payloadBytes: number;
}

/** Request of the front end, read and within the protocol's bounds. What it asks for may still make no sense. */
export type Message = { readonly needReply: boolean } & (
  | {
      readonly request:
        | 'GET_FEATURES'
        | 'GET_PROTOCOL_FEATURES'
        | 'SET_OWNER'
        | 'RESET_OWNER'
        | 'GET_QUEUE_NUM'
        | 'RESET_DEVICE'
        | 'GET_MAX_MEM_SLOTS'
        | 'GET_STATUS'
        | 'SET_BACKEND_REQ_FD'
        | 'SET_LOG_FD';
    }
  | {
      readonly request: 'SET_FEATURES' | 'SET_PROTOCOL_FEATURES' | 'SET_STATUS';
      readonly value: bigint;
    }
  | { readonly request: 'SET_MEM_TABLE'; readonly regions: readonly WireRegion[] }
  | { readonly request: 'ADD_MEM_REG' | 'REM_MEM_REG'; readonly region: WireRegion }
  | {
      readonly request: 'SET_VRING_NUM' | 'SET_VRING_BASE' | 'GET_VRING_BASE' | 'SET_VRING_ENABLE';
      readonly state: VringState;
    }
  | { readonly request: 'SET_VRING_ADDR'; readonly address: VringAddress }
  | {
      readonly request: 'SET_VRING_KICK' | 'SET_VRING_CALL' | 'SET_VRING_ERR';
      readonly queue: number;
      /** True if no file descriptor comes with the message. */
      readonly none: boolean;
    }
  | { readonly request: 'GET_CONFIG' | 'SET_CONFIG'; readonly piece: ConfigPiece }
  | { readonly request: 'SET_LOG_BASE'; readonly area: SharedArea }
  | { readonly request: 'GET_INFLIGHT_FD' | 'SET_INFLIGHT_FD'; readonly area: InflightArea }
);

/**
 * Bit of the value of SET_VRING_KICK, _CALL and _ERR that says that there is no file descriptor. The bits below it are
 * the queue.
 */
const NO_DESCRIPTOR = 0x100;

/**
 * Reads the header in front of a payload.
 *
 * @param view the first {@link HEADER_BYTES} bytes of a message
 * @throws FrontEndError for another version, a reply, a request that nobody offered, and a payload that is too long
 */
export function readHeader(view: DataView): Header {
  const number = view.getUint32(0, true);
  const flags = view.getUint32(4, true);
  const size = view.getUint32(8, true);
  if ((flags & FLAG.VERSION_MASK) !== FLAG.VERSION)
    throw new FrontEndError(`version ${flags & FLAG.VERSION_MASK} of the protocol`, { flags });
  if ((flags & FLAG.REPLY) !== 0) throw new FrontEndError('a reply to nothing', { request: number, flags });
  const request = REQUEST_NAMES.get(number);
  if (request === undefined)
    throw new FrontEndError(`request ${number}, which was not offered`, { request: number, size });
  if (size > PAYLOAD_MAX)
    throw new FrontEndError(`${request}: ${size} bytes of payload, at most ${PAYLOAD_MAX} expected`, {
      request,
      size,
    });
  return { request, needReply: (flags & FLAG.NEED_REPLY) !== 0, size };
}

/**
 * Reads a payload.
 *
 * @param payload exactly as many bytes as the header says; they are lent
 * @param descriptors number of file descriptors that came with the message
 * @throws FrontEndError for a payload of another size than the request has, numbers out of its bounds, and another number of descriptors
 */
export function readMessage(
  { request, needReply }: Header,
  payload: Uint8Array,
  descriptors: number,
): Message {
  const fields = new Payload(request, payload, descriptors);
  switch (request) {
    case 'SET_FEATURES':
    case 'SET_PROTOCOL_FEATURES':
    case 'SET_STATUS':
      fields.expect(8, 0);
      return { request, needReply, value: fields.u64(0) };
    case 'SET_MEM_TABLE':
      return { request, needReply, regions: fields.table() };
    case 'ADD_MEM_REG':
      fields.expect(40, 1);
      return { request, needReply, region: fields.region(8) };
    case 'REM_MEM_REG':
      // some send the region's descriptor along
      fields.expect(40, descriptors === 1 ? 1 : 0);
      return { request, needReply, region: fields.region(8) };
    case 'SET_VRING_NUM':
    case 'SET_VRING_BASE':
    case 'GET_VRING_BASE':
    case 'SET_VRING_ENABLE':
      fields.expect(8, 0);
      return { request, needReply, state: { queue: fields.u32(0), value: fields.u32(4) } };
    case 'SET_VRING_ADDR':
      fields.expect(40, 0);
      return { request, needReply, address: fields.address() };
    case 'SET_VRING_KICK':
    case 'SET_VRING_CALL':
    case 'SET_VRING_ERR': {
      fields.expect(8);
      const value = fields.u64(0);
      const none = (value & BigInt(NO_DESCRIPTOR)) !== 0n;
      fields.expect(8, none ? 0 : 1);
      return { request, needReply, queue: Number(value & 0xffn), none };
    }
    case 'GET_CONFIG':
    case 'SET_CONFIG':
      return { request, needReply, piece: fields.config() };
    case 'SET_LOG_BASE':
      fields.expect(16, 1);
      return { request, needReply, area: { size: fields.u64(0), offset: fields.u64(8) } };
    case 'GET_INFLIGHT_FD':
    case 'SET_INFLIGHT_FD':
      return { request, needReply, area: fields.inflight(request === 'SET_INFLIGHT_FD' ? 1 : 0) };
    case 'SET_BACKEND_REQ_FD':
      fields.expect(payload.length, 1);
      return { request, needReply };
    case 'SET_LOG_FD':
      fields.expect(8, 1);
      return { request, needReply };
    default:
      // requests without payload: some front ends send zeros
      fields.expect(payload.length === 8 ? 8 : 0, 0);
      return { request, needReply };
  }
}

/** Fields of a payload, in the machine's byte order, which is little-endian wherever this runs. */
class Payload {
  readonly #request: RequestName;
  readonly #view: DataView;
  readonly #descriptors: number;

  constructor(request: RequestName, bytes: Uint8Array, descriptors: number) {
    this.#request = request;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#descriptors = descriptors;
  }

  /** Demands a payload's length and number of descriptors. @throws FrontEndError for others */
  expect(size: number, descriptors: number = this.#descriptors): void {
    const found = this.#view.byteLength;
    if (found === size && this.#descriptors === descriptors) return;
    throw new FrontEndError(
      `${this.#request}: ${found} bytes and ${this.#descriptors} file descriptors, ${size} and ${descriptors} expected`,
      { request: this.#request, found, size, descriptors: this.#descriptors, expected: descriptors },
    );
  }

  #fail(what: string, facts: Record<string, number> = {}): never {
    throw new FrontEndError(`${this.#request}: ${what}`, { request: this.#request, ...facts });
  }

  u16(at: number): number {
    return this.#view.getUint16(at, true);
  }

  u32(at: number): number {
    return this.#view.getUint32(at, true);
  }

  u64(at: number): bigint {
    return this.#view.getBigUint64(at, true);
  }

  region(at: number): WireRegion {
    return {
      guestAddress: this.u64(at),
      size: this.u64(at + 8),
      userAddress: this.u64(at + 16),
      fileOffset: this.u64(at + 24),
    };
  }

  table(): WireRegion[] {
    if (this.#view.byteLength < 8) this.#fail(`${this.#view.byteLength} bytes, at least 8 expected`);
    const regions = this.u32(0);
    if (regions > TABLE_REGIONS_MAX || regions > DESCRIPTORS_MAX)
      this.#fail(`${regions} regions, at most ${TABLE_REGIONS_MAX} expected`, { regions });
    // some send the whole structure, whatever is in use of it
    const whole = 8 + 32 * TABLE_REGIONS_MAX;
    this.expect(this.#view.byteLength === whole ? whole : 8 + 32 * regions, regions);
    return Array.from({ length: regions }, (_, index) => this.region(8 + 32 * index));
  }

  address(): VringAddress {
    return {
      queue: this.u32(0),
      flags: this.u32(4),
      desc: this.u64(8),
      used: this.u64(16),
      avail: this.u64(24),
      log: this.u64(32),
    };
  }

  config(): ConfigPiece {
    const length = this.#view.byteLength;
    if (length < 12) this.#fail(`${length} bytes, at least 12 expected`);
    const [offset, size] = [this.u32(0), this.u32(4)];
    if (size > CONFIG_MAX || offset > CONFIG_MAX || offset + size > CONFIG_MAX)
      this.#fail(`bytes ${offset} to ${offset + size} of a configuration space`, { offset, size });
    // GET_CONFIG comes with room for the answer, or without
    this.expect(this.#request === 'GET_CONFIG' && length === 12 ? 12 : 12 + size, 0);
    const bytes =
      this.#request === 'GET_CONFIG'
        ? new Uint8Array(0)
        : new Uint8Array(this.#view.buffer, this.#view.byteOffset + 12, size).slice();
    return { offset, size, bytes };
  }

  inflight(descriptors: number): InflightArea {
    // 20 bytes of fields; a compiler makes 24 of them
    const payloadBytes = this.#view.byteLength === 20 ? 20 : 24;
    this.expect(payloadBytes, descriptors);
    return {
      size: this.u64(0),
      offset: this.u64(8),
      queues: this.u16(16),
      queueSize: this.u16(18),
      payloadBytes,
    };
  }
}
