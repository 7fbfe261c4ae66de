import type { Recognition, TransportLayer } from '@virtkit/core';
import type { Reader } from '@virtkit/vmstate';
import { mmioIdentity } from './identity.ts';
import { PAGE_SHIFT_MAX } from './limits.ts';
import { type MmioParts, mmioConfigState, mmioExtraState, noQueueState } from './state.ts';

/** Saved state of virtio over MMIO: Virtio 1.3 §4.2; QEMU `hw/virtio/virtio-mmio.c`. */
export const mmio: TransportLayer<MmioParts> = {
  ...mmioIdentity,
  recognize,
  config: mmioConfigState,
  queue: () => noQueueState,
  extraState: mmioExtraState,
};

/** Length in bytes of what QEMU's `save_config` writes. */
const CONFIG_BYTES = 12;

/**
 * Looks whether a body can be of this transport. Nothing identifies it, so that only impossible values speak against
 * it.
 */
function recognize(input: Reader): Recognition | undefined {
  if (input.remaining < CONFIG_BYTES) return undefined;
  const word = (index: number): number => input.view.getUint32(input.offset + 4 * index);
  return word(0) <= 1 && word(1) <= 1 && word(2) <= PAGE_SHIFT_MAX ? { confidence: 'possible' } : undefined;
}
