import type { Facts, Layer } from '@virtkit/vmstate';

/** Something the fields of a decoded state promise each other and do not keep. */
export interface Finding {
  /** Stable, for programs. */
  readonly code: string;
  /** `error`: must not be loaded (QEMU refuses, or corrupts its memory). `warning`: loads, but was not to be expected. */
  readonly severity: 'error' | 'warning';
  /** Whose part of the state it is: core's, the transport's, the device's or the stream's. */
  readonly layer: Layer;
  /** Path of the field in the state: `queues[1].lastAvailIdx`. */
  readonly path: string;
  /** What is wrong, with the values. */
  readonly reason: string;
  /** The values by name. */
  readonly facts: Facts;
}

/** Takes the findings of a check. The layer is known to whoever calls the check. */
export type Report = (finding: Omit<Finding, 'layer'>) => void;
