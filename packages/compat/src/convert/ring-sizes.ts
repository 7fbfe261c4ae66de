import type { VirtioState } from '@virtkit/core';
import type { DeviceType, QueueDefaults } from '@virtkit/core/qemu';

/** Names the property that decides over the ring size of a queue; undefined: QEMU has none. */
export function sizeProperty({ qemu }: DeviceType, index: number, count: number): string | undefined {
  return qemu.sizeProperty?.(index, count);
}

/**
 * Finds the number of entries of the ring that the target creates a queue with: what its property says, else QEMU's
 * default.
 */
export function createdSize(type: DeviceType, index: number, state: VirtioState, at: QueueDefaults): number {
  const said = Number(at.properties.get(sizeProperty(type, index, state.queues.length) ?? ''));
  return said > 0 ? said : type.qemu.queueSize(index, state, at);
}
