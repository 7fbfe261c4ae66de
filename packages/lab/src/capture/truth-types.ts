import type { JsonObject, JsonValue } from '../qmp.ts';

/** `x-query-virtio-status`. Features and status bits are QEMU's texts, `NAME: explanation`. */
export interface VirtioStatus {
  readonly name: string;
  readonly 'device-id': number;
  readonly 'device-endian': 'little' | 'big' | 'unspecified' | 'unknown';
  readonly isr: number;
  readonly 'queue-sel': number;
  readonly 'num-vqs': number;
  readonly started: boolean;
  readonly broken: boolean;
  readonly disabled: boolean;
  readonly 'vm-running': boolean;
  readonly status: { readonly statuses: readonly string[]; readonly 'unknown-statuses'?: number };
  readonly 'guest-features': VirtioFeatures;
  readonly 'host-features': VirtioFeatures;
  readonly [key: string]: unknown;
}

export interface VirtioFeatures {
  readonly transports: readonly string[];
  readonly 'dev-features'?: readonly string[];
  /** A number, or a decimal string when a double cannot hold it. */
  readonly 'unknown-dev-features'?: number | string;
}

/** Index fields of a split ring, read from guest memory. */
export interface SplitRing {
  readonly 'avail-flags': number;
  readonly 'avail-idx': number;
  readonly 'used-flags': number;
  readonly 'used-idx': number;
  readonly 'used-event': number;
  readonly 'avail-event': number;
}

/**
 * `x-query-virtio-queue-status`, the ring, and `x-query-virtio-queue-element`. The element is the one at the last available
 * index, absent when nothing is there. Numbers that a double cannot hold are decimal strings.
 */
export interface VirtioQueueTruth {
  readonly name: string;
  readonly 'queue-index': number;
  readonly inuse: number;
  readonly 'vring-num': number;
  readonly 'vring-num-default': number;
  readonly 'vring-align': number;
  readonly 'vring-desc': number;
  readonly 'vring-avail': number;
  readonly 'vring-used': number;
  readonly 'used-idx': number;
  readonly 'signalled-used': number;
  readonly 'signalled-used-valid': boolean;
  /** Absent when the queue belongs to vhost. */
  readonly 'last-avail-idx'?: number;
  readonly 'shadow-avail-idx'?: number;
  readonly ring?: SplitRing;
  readonly 'element-at-last-avail'?: JsonObject;
}

export interface VirtioDeviceTruth {
  readonly path: string;
  readonly name: string;
  /** Absent from QEMU 10.2 on: the query kills some of these versions. */
  readonly status?: VirtioStatus;
  readonly queues: readonly VirtioQueueTruth[];
}

/** A block request that was taken from its ring and not returned. */
export interface InflightRequest {
  readonly head: number;
  readonly 'avail-pos': number;
  readonly indirect: boolean;
  readonly descs: readonly { readonly addr: number; readonly len: number; readonly write: boolean }[];
  readonly hdr?: { readonly type: number; readonly ioprio: number; readonly sector: number };
}

export interface InflightQueue {
  readonly device: string;
  readonly queue: number;
  readonly inuse: number;
  readonly requests: readonly InflightRequest[];
}

/** A port of a virtio-serial device, as `info qtree` has it. */
export interface SerialPortTruth {
  readonly port: number;
  readonly guest: boolean;
  readonly host: boolean;
  /** The host's end takes no more: a buffer may be half written. */
  readonly throttle: boolean;
}

export interface Truth {
  readonly 'query-status': JsonValue;
  readonly 'query-version': JsonValue;
  readonly virtio: readonly VirtioDeviceTruth[];
  readonly 'query-rx-filter'?: JsonValue;
  readonly 'query-block'?: JsonValue;
  readonly blk_inflight?: readonly InflightQueue[];
  readonly 'query-balloon'?: JsonValue;
  readonly 'query-memory-devices'?: JsonValue;
  readonly serial_ports?: readonly SerialPortTruth[];
}
