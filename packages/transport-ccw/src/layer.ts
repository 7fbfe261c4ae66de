import type { Recognition, TransportLayer } from '@virtkit/core';
import type { Reader } from '@virtkit/vmstate';
import { ccwIdentity } from './identity.ts';
import { type CcwParts, ccwConfigState, ccwQueueState } from './subchannel.ts';

/** Saved state of virtio over channel I/O: Virtio 1.3 §4.3; QEMU `hw/s390x/virtio-ccw.c`. */
export const ccw: TransportLayer<CcwParts> = {
  ...ccwIdentity,
  recognize,
  config: ccwConfigState,
  queue: () => ccwQueueState,
};

/** Offset of the control unit type in the state. */
const CU_TYPE = 0x6d;
/** Control unit type of virtio devices. Virtio 1.3 §4.3 */
const VIRTIO_CU_TYPE = 0x3832;
function recognize(input: Reader): Recognition | undefined {
  if (input.remaining < CU_TYPE + 3) return undefined;
  if (input.view.getUint16(input.offset + CU_TYPE) !== VIRTIO_CU_TYPE) return undefined;
  return { confidence: 'certain', virtioId: input.peek(CU_TYPE + 2) };
}
