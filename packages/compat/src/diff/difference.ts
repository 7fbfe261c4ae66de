import type { Weight } from '@virtkit/core/qemu';
import type { Json } from '@virtkit/vmstate';

/** One difference between two streams. */
export interface Difference {
  /** Device and field: `virtio-blk@0000:00:02.0 / queues[0].num`, `ram / pc.ram`. */
  readonly path: string;
  /** The value in A; undefined: it is not there. {@link b} is the same of B. */
  readonly a: Json | undefined;
  readonly b: Json | undefined;
  readonly weight: Weight;
  /** Why the difference matters, if it does. */
  readonly reason?: string;
}
