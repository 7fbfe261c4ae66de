import type { Weight } from '@virtkit/core/qemu';
import type { Json } from '@virtkit/vmstate';

/** One difference between two streams. */
export interface Difference {
  /** Device and field: `virtio-blk@0000:00:02.0 / queues[0].num`, `ram / pc.ram`. */
  readonly path: string;
  /** The value in A; undefined: it is not there. */
  readonly a: Json | undefined;
  /** The value in B; undefined: it is not there. */
  readonly b: Json | undefined;
  /** Weight of the difference for a load. */
  readonly weight: Weight;
  /** Reason why the difference matters, if it does. */
  readonly reason?: string;
}
