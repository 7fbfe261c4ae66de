import type { Report } from './finding.ts';
import type { InFlightLog } from './in-flight-log.ts';
import type { TransportParts, VirtioState } from './state.ts';
import type { TransportIdentity } from './transport.ts';

/** Stands for the configuration where a queue number is expected. */
export type ConfigChange = -1;

/** A transport, live, as core sees it. What a transport may ask of core is {@link TransportHost}. */
export interface TransportModel<T extends TransportParts = TransportParts> {
  /** What the transport is called, and what its states keep to. A whole {@link TransportLayer} where bytes are made of its state. */
  readonly layer: TransportIdentity<T>;
  /** Offered features that the transport adds (QEMU: BAD_FEATURE on PCI). */
  readonly features: bigint;
  /** Hears of each chain that the device takes and gives back. Default: nobody does, and rings are faster. */
  readonly inFlightLog?: InFlightLog;
  /** Interrupts for a queue, or with -1 for the configuration. `isr` is already set. QEMU: `notify`. */
  notify(queue: number | ConfigChange): void;
  /** `save_config` */
  captureConfig(): T['config'];
  /** `save_queue` */
  captureQueue(index: number): T['queue'];
  /** `save_extra_state`; undefined: the subsection is not written. */
  captureExtra(): T['extra'] | undefined;
  /** Reports what in this state does not fit this transport as it was made. The layer's own check was done. */
  check(state: VirtioState<T, unknown>, report: Report): void;
  /** Takes over a checked state, after core's status and features, before its queues and the device. Must not fail. */
  apply(state: VirtioState<T, unknown>): void;
  /** A queue was reset, by a queue reset or with the device: no vector. */
  resetQueue(index: number): void;
}
