import { MappedMemory } from '@virtkit/core';
import { BlkDevice, type BlkState, blk } from '@virtkit/device-blk';
import { MmioDevice, type MmioParts, mmio } from '@virtkit/transport-mmio';
import type { BlkLayout } from '../src/driver/blk.ts';
import { MmioSlot } from '../src/host/mmio-slot.ts';
import type { DeviceBench, TransportBench } from '../src/suite/bench.ts';
import { blkBench } from '../src/suite/blk-bench.ts';
import { MmioLegacyDriver, MmioModernDriver } from '../src/transport/mmio.ts';

export const map = (bytes: Uint8Array): MappedMemory => new MappedMemory([{ gpa: 0, bytes }]);

export function mmioBench(legacy: boolean): TransportBench<MmioSlot, MmioParts> {
  return {
    name: legacy ? 'mmio, legacy' : 'mmio, modern',
    layer: mmio,
    modern: !legacy,
    build: (model, { memory, rings, onEvent }) => {
      const host = new MmioSlot();
      const window = new MmioDevice(model, {
        memory,
        rings,
        onEvent,
        legacy,
        setIrq: (level) => host.setIrq(level),
      });
      host.plug(window);
      return { host, device: window.device };
    },
    drive: (reach) => (legacy ? new MmioLegacyDriver(reach) : new MmioModernDriver(reach)),
  };
}

export function disk(timing: 'sync' | 'async', queues = 1, layout: BlkLayout = {}): DeviceBench<BlkState> {
  return blkBench({
    layer: blk,
    make: (backend, count) => new BlkDevice({ backend, queues: count, serial: 'virtkit-disk' }),
    timing,
    queues,
    layout,
  });
}
