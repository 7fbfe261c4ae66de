import { blk } from './layer.ts';
import { BlkDevice as LiveBlkDevice } from './live/device.ts';

/**
 * virtio-blk, live, of whose state bytes can be made: Virtio 1.3 §5.2; QEMU `hw/block/virtio-blk.c`.
 *
 * ```ts
 * const disk = new BlkDevice({ backend: memoryDisk(64 * 1024 * 1024), serial: 'disk-0' });
 * const { device } = new PciFunction(disk, { memory }); // of @virtkit/transport-pci
 * ```
 *
 * A save needs no drain: what is in flight is in the state, and is done from the start where the state is restored. Before
 * another program opens the same disk, wait for {@link idle}.
 */
export class BlkDevice extends LiveBlkDevice {
  override readonly layer: typeof blk = blk;
}
