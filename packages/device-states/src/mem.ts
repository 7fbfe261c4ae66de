import type { DeviceLayer } from '@virtkit/core';
import { u32, u64, type ValueOf, vmstate, withContext } from '@virtkit/vmstate';
import { configSpace, featureNames } from './config-space.ts';

/** Facts of the layout that the stream does not tell. */
export interface MemLayout {
  /**
   * True if the constant part is here, too: machines older than QEMU 8.0. Since then the section
   * `virtio-mem-device-early` has it, in front of the RAM.
   */
  readonly whole: boolean;
}

const ifWhole = (_state: object, { whole }: MemLayout): boolean => whole;

/** Number of words of 64 bits for a bit a block. */
function blocksOf({
  regionSize = 0n,
  blockSize = 0n,
}: {
  readonly regionSize?: bigint;
  readonly blockSize?: bigint;
}): number {
  return blockSize === 0n ? 0 : Number((regionSize / blockSize + 63n) / 64n);
}

/** Structure `virtio-mem-device`. */
export const memState = vmstate<MemLayout>('virtio-mem-device', 1)
  .when(ifWhole, {
    /** Guest address of the region. The target must have this and the next three alike. */
    addr: u64,
    /** Length of the region in bytes. */
    regionSize: u64,
    /** Length of a block in bytes. */
    blockSize: u64,
    /** Number of the NUMA node. */
    node: u32,
  })
  .fields({
    /** Number of bytes of the region in which blocks may be plugged now. */
    usableRegionSize: u64,
  })
  .when(ifWhole, {
    /** Number of bytes that are plugged. */
    size: u64,
  })
  .fields({
    /** Number of bytes that the guest is asked to have plugged. */
    requestedSize: u64,
  })
  /** Bitmap of the blocks that are plugged, in words of 64. Empty where the constant part is elsewhere. */
  .array('bitmap', u64, blocksOf);

/** Type of the value that {@link memState} decodes. */
export type MemState = ValueOf<typeof memState>;

/**
 * Section `virtio-mem-device-early` of machines since QEMU 8.0, in front of the RAM, with what cannot change any more.
 */
export const memEarlyState = vmstate('virtio-mem-device-early', 1)
  .fields({ addr: u64, regionSize: u64, blockSize: u64, node: u32, size: u64 })
  .array('bitmap', u64, blocksOf);

const [late, whole] = [withContext(memState, { whole: false }), withContext(memState, { whole: true })];

/** Saved state of virtio-mem: Virtio 1.3 §5.15; QEMU `hw/virtio/virtio-mem.c`. */
export const mem: DeviceLayer<MemState> = {
  contract: 1,
  name: 'virtio-mem',
  virtioId: 24,
  version: 1,
  minimum: 1,
  features: featureNames('MEM', ['ACPI_PXM', 'UNPLUGGED_INACCESSIBLE', 'PERSISTENT_SUSPEND']),
  loadDevice: () => [late, whole],
  saveDevice: ({ addr }) => (addr === undefined ? late : whole),
  describeConfig: configSpace([
    ['blockSize', 'u64'],
    ['nodeId', 'u16'],
    [6],
    ['addr', 'u64'],
    ['regionSize', 'u64'],
    ['usableRegionSize', 'u64'],
    ['pluggedSize', 'u64'],
    ['requestedSize', 'u64'],
  ]),
};
