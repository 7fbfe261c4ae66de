// The device type under the suite that virtkit's own device types have to pass, on each transport, and its example program.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { MappedMemory } from '@virtkit/core';
import { MmioModernDriver, MmioSlot, PciBus, PciModernDriver } from '@virtkit/testing';
import {
  allCases,
  type DeviceBench,
  RING_MODES,
  register,
  rngBench,
  type TransportBench,
} from '@virtkit/testing/suite';
import { MmioDevice, type MmioParts, mmio } from '@virtkit/transport-mmio';
import { PciFunction, type PciParts, pci } from '@virtkit/transport-pci';
import { describe, expect, test } from 'vitest';
import { EntropyDevice } from '../src/device.ts';
import { type EntropyState, entropy } from '../src/layer.ts';

const device: DeviceBench<EntropyState> = rngBench({
  layer: entropy,
  make: ({ fill }) =>
    new EntropyDevice((target) => {
      const bytes = new Uint8Array(target.length);
      const count = fill(bytes);
      target.set(bytes);
      return typeof count === 'number' ? count : 0;
    }),
  timing: 'sync',
});

const onPci: TransportBench<PciBus, PciParts> = {
  name: 'pci',
  layer: pci,
  modern: true,
  build: (model, { memory, rings, onEvent, from }) => {
    const bus = new PciBus();
    for (const { address, data } of from?.messages ?? []) bus.send(address, data);
    const sendMsi = (address: number, data: number): void => bus.send(address, data);
    const setIntx = (level: boolean): void => bus.setIntx(2, level);
    const behind = new PciFunction(model, { memory, rings, onEvent, sendMsi, setIntx });
    bus.plug(2, behind);
    return { host: bus, device: behind.device };
  },
  drive: (reach) => new PciModernDriver(reach, { slot: 2 }),
};

const onMmio: TransportBench<MmioSlot, MmioParts> = {
  name: 'mmio',
  layer: mmio,
  modern: true,
  build: (model, { memory, rings, onEvent }) => {
    const host = new MmioSlot();
    const setIrq = (level: boolean): void => host.setIrq(level);
    const behind = new MmioDevice(model, { memory, rings, onEvent, setIrq });
    host.plug(behind);
    return { host, device: behind.device };
  },
  drive: (reach) => new MmioModernDriver(reach),
};

const map = (bytes: Uint8Array): MappedMemory => new MappedMemory([{ gpa: 0, bytes }]);
for (const rings of RING_MODES.filter((_, i) => i % 3 === 0)) {
  const title = `pci / ${rings.name}`;
  register({ describe, test }, title, allCases({ bench: onPci, device, rings, map, steps: 12 }));
}
for (const rings of RING_MODES.filter((_, i) => i % 3 === 1)) {
  const title = `mmio / ${rings.name}`;
  register({ describe, test }, title, allCases({ bench: onMmio, device, rings, map, steps: 12 }));
}

test('the device works, moves, and goes on from what QEMU saved', { timeout: 60_000 }, async () => {
  const args = ['--import', 'tsx', '--conditions=@virtkit/source', 'src/main.ts'];
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd });
  expect(stdout).toContain('3 of 5 requests have their bytes, the others wait');
  expect(stdout).toContain('5 of 5 requests have their bytes');
  expect(stdout).toContain("QEMU's device: loaded, saved to the same bytes, and 64 bytes for its guest");
});
