import type { Report } from './finding.ts';
import type { InFlightLog } from './in-flight-log.ts';
import type { TransportParts, VirtioState } from './state.ts';
import type { TransportIdentity } from './transport.ts';

/** Number that stands for the configuration where a queue number is expected. */
export type ConfigChange = -1;

/** Live transport as core sees it. What a transport may ask of core is {@link TransportHost}. */
export interface TransportModel<T extends TransportParts = TransportParts> {
  /** Name and rules of the transport. It is a whole {@link TransportLayer} where bytes are made of its state. */
  readonly layer: TransportIdentity<T>;
  /** Features that the transport adds to those offered (QEMU: BAD_FEATURE on PCI). */
  readonly features: bigint;
  /** Log that hears of each chain that the device takes and gives back. Default: none, and rings are faster. */
  readonly inFlightLog?: InFlightLog;
  /** Interrupts the driver for a queue, or with -1 for the configuration. `isr` is already set. QEMU: `notify`. */
  notify(queue: number | ConfigChange): void;
  /** Takes the state of the transport's own registers. QEMU: `save_config`. */
  captureConfig(): T['config'];
  /** Takes the transport's state of one queue. QEMU: `save_queue`. */
  captureQueue(index: number): T['queue'];
  /** Takes the transport's extra state; undefined: the subsection is not written. QEMU: `save_extra_state`. */
  captureExtra(): T['extra'] | undefined;
  /** Reports what in a state does not fit this transport as it was made. The layer's own check was done. */
  check(state: VirtioState<T, unknown>, report: Report): void;
  /**
   * Takes over a checked state, after core has taken status and features, and before its queues and the device. Must
   * not fail.
   */
  apply(state: VirtioState<T, unknown>): void;
  /** Forgets the interrupt vector of a queue, which was reset alone or with the device. */
  resetQueue(index: number): void;
}
