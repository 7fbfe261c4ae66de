import type { Facts, Layer } from '@virtkit/vmstate';

/** Contradiction between the fields of a decoded state, or between a state and the device that it is for. */
export interface Finding {
  /** Short name of the kind of finding, for programs; it does not change: `queue-count`. */
  readonly code: string;
  /** `error`: must not be loaded (QEMU refuses, or corrupts its memory). `warning`: loads, but was not to be expected. */
  readonly severity: 'error' | 'warning';
  /** Layer whose part of the state is concerned: core's, the transport's, the device's or the stream's. */
  readonly layer: Layer;
  /** Path of the field in the state: `queues[1].lastAvailIdx`. */
  readonly path: string;
  /** Sentence that says what is wrong, with the values. */
  readonly reason: string;
  /** Values that the finding is about, by name. */
  readonly facts: Facts;
}

/** Function that takes the findings of a check. They have no layer yet: whoever calls the check knows it. */
export type Report = (finding: Omit<Finding, 'layer'>) => void;
