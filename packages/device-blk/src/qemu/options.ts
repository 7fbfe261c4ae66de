import { hasFeature, negotiated, type TransportParts, type VirtioState } from '@virtkit/core';
import { bytesOf, chosen, defined, isSince, type Making, numberOf, switchOf } from '@virtkit/core/qemu';
import { BLK_FEATURE } from '../features.ts';
import type { BlkOptions } from '../live/options.ts';
import type { BlkState } from '../state.ts';

/** Options of a block device but for the disk behind it. */
export type BlkShape = Omit<BlkOptions, 'backend'>;

/** Configuration bytes up to which a feature reaches. Virtio 1.3 §5.2.4 */
const DISCARD_END = 48;
const WRITE_ZEROES_END = 57;
/** Sizes of rings that a block device can be made with. */
const RING_LEAST = 4;
const RING_MOST = 1024;
const RING_DEFAULT = 256;

/** Infers the options with which the block device was made that has this state. */
export function inferBlk(state: VirtioState<TransportParts, BlkState>): BlkShape {
  const { config, device } = state;
  return {
    queues: Math.max(state.queues.length, 1),
    queueSize: ringSize(state),
    ...(hasFeature(negotiated(state), BLK_FEATURE.RO) && { readOnly: true }),
    discard: config.length >= DISCARD_END,
    writeZeroes: config.length >= WRITE_ZEROES_END,
    ...(device.layout !== undefined && {
      ndescs: device.layout.ndescs === 'before' ? 'before' : 'after',
      hostEndian: device.layout.byteOrder,
    }),
  };
}

/** The ring size that the queues were created with, as far as the state tells: a driver may have lowered it. */
function ringSize({ queues, subsections }: VirtioState): number {
  const size = subsections.ringsize?.[0] || queues[0]?.num || RING_DEFAULT;
  const valid = size >= RING_LEAST && size <= RING_MOST && Number.isInteger(Math.log2(size));
  return valid ? size : RING_DEFAULT;
}

/** The value of `num-queues` that stands for QEMU's own choice. QEMU: `VIRTIO_BLK_AUTO_NUM_QUEUES` */
const AUTO_NUM_QUEUES = 0xffff;
/** Largest number of queues that QEMU chooses by itself: one of its 1024 interrupt vectors is the configuration's. */
const AUTO_QUEUES_MAX = 1023;
/** Machine versions with which the default of a property changed. QEMU: `hw_compat_*` in `hw/core/machine.c` */
const SINCE = {
  /** `num-queues` of a device on PCI is the number of CPUs. */
  manyQueues: '5.2',
  /** `queue-size` is 256 instead of 128, `seg-max-adjust` and `x-enable-wce-if-config-wce` are on. */
  largeRings: '5.0',
  /** `discard` and `write-zeroes` are on. */
  discard: '4.0',
} as const;
/** `queue-size` of machines before {@link SINCE.largeRings}. */
const RING_BEFORE = 128;

/** Entries of a queue's ring if no property says so. */
export function defaultRingSize(at: Parameters<typeof isSince>[0]): number {
  return isSince(at, SINCE.largeRings) ? RING_DEFAULT : RING_BEFORE;
}

/** Derives the options of the block device that a QEMU makes to take the state of one with these options. */
export function blkMadeBy(inferred: BlkShape, making: Making, state: VirtioState): BlkShape {
  const { properties, readOnly } = making.device;
  const on = (name: string): boolean | undefined => switchOf(properties.get(name));
  const largeRings = isSince(making, SINCE.largeRings);
  const discards = isSince(making, SINCE.discard);
  const block = bytesOf(properties.get('logical_block_size'), 'b');
  const physical = bytesOf(properties.get('physical_block_size'), 'b');
  return {
    ...inferred,
    queues: queuesMadeBy(making, state),
    ...defined({
      queueSize: chosen(making, numberOf(properties.get('queue-size')), defaultRingSize(making)),
      discard: chosen(making, on('discard'), discards),
      writeZeroes: chosen(making, on('write-zeroes'), discards),
      configWce: chosen(making, on('config-wce'), true),
      flushIfConfigWce: chosen(making, on('x-enable-wce-if-config-wce'), largeRings),
      segMaxAdjust: chosen(making, on('seg-max-adjust'), largeRings),
      writeCache: on('write-cache'),
      blockSize: block,
      physicalBlockExp:
        physical === undefined ? undefined : Math.max(0, Math.log2(physical / (block ?? 512))),
      readOnly: making.complete ? readOnly : undefined,
    }),
  };
}

function queuesMadeBy(making: Making, state: VirtioState): number {
  const number = numberOf(making.device.properties.get('num-queues'));
  const said = number === AUTO_NUM_QUEUES ? undefined : number;
  if (said !== undefined || !making.complete) return said ?? Math.max(state.queues.length, 1);
  const many = making.device.driver.includes('-pci') && isSince(making, SINCE.manyQueues);
  return many ? Math.min(making.cpus, AUTO_QUEUES_MAX) : 1;
}
