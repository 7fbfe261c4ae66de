import type { DeviceModel } from '@virtkit/core';
import { mmio } from './layer.ts';
import { MmioDevice as LiveMmioDevice, type MmioOptions } from './live/device.ts';

/**
 * A virtio device behind memory-mapped registers, of whose state bytes can be made: Virtio 1.3 §4.2; QEMU
 * `hw/virtio/virtio-mmio.c`.
 *
 * ```ts
 * const disk = new MmioDevice(new BlkDevice({ backend }), { memory, setIrq: (level) => plic.set(8, level) });
 * bus.map(0x10001000, MMIO_BYTES, disk); // disk.read(offset, size), disk.write(offset, size, value)
 * ```
 */
export class MmioDevice<D = unknown> extends LiveMmioDevice<D> {
  /** Transport layer with the format of the transport's part of the saved state. */
  declare readonly layer: typeof mmio;

  constructor(model: DeviceModel<D>, options: MmioOptions) {
    super(model, options, mmio);
  }
}
