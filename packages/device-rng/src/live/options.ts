import { HostError } from '@virtkit/core/live';
import type { RngBackend } from './backend.ts';

// in every platform that has an event loop
declare const setTimeout: (run: () => void, milliseconds: number) => unknown;

/** Options of an entropy device. What is left out is as QEMU makes its `virtio-rng-pci`. */
export interface RngOptions {
  /** Back end that random bytes come from. */
  readonly backend: RngBackend;
  /** Number of bytes that the guest gets in a period, 0 to 2^53 - 1; default: no limit. QEMU property `max-bytes`. */
  readonly maxBytes?: number;
  /** Milliseconds of a period, 1 to 2^31 - 1; default 65536. QEMU property `period`. */
  readonly period?: number;
  /** Milliseconds until a back end that failed, or had no bytes, is asked again, 1 to 2^31 - 1; default 1000. */
  readonly retryMs?: number;
  /**
   * Function that calls `run` after some milliseconds. At most two such calls are under way: the end of a period, and
   * one after a failure. Default: `setTimeout`, which keeps a Node process alive for as long as it is under way.
   */
  readonly after?: (milliseconds: number, run: () => void) => void;
}

/** Options of an entropy device, checked and complete. */
export interface Settings {
  readonly backend: RngBackend;
  /** Number of bytes in a period; `Infinity`: no limit. */
  readonly maxBytes: number;
  readonly period: number;
  readonly retryMs: number;
  readonly after: (milliseconds: number, run: () => void) => void;
}

/** Default length of a period in milliseconds. QEMU: the default of `period`. */
const PERIOD_MS = 65_536;
const RETRY_MS = 1000;
/** Longest time of a timer in milliseconds: longer timers run at once, on all platforms. */
const TIMER_MAX = 2 ** 31 - 1;

/** Checks and completes options. @throws HostError that names the option */
export function settle(options: RngOptions): Settings {
  const { backend, maxBytes, period = PERIOD_MS, retryMs = RETRY_MS } = options;
  if (typeof backend?.fill !== 'function') throw new HostError('backend: it has no function fill');
  return {
    backend,
    maxBytes:
      maxBytes === undefined ? Number.POSITIVE_INFINITY : integer('maxBytes', maxBytes, 0, 2 ** 53 - 1),
    period: integer('period', period, 1, TIMER_MAX),
    retryMs: integer('retryMs', retryMs, 1, TIMER_MAX),
    after: options.after ?? ((milliseconds, run) => void setTimeout(run, milliseconds)),
  };
}

function integer(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new HostError(`${name}: ${value} is not an integer from ${least} to ${most}`);
}
