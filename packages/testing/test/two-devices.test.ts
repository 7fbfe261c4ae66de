import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { CcwDevice, ChannelSubsystem } from '@virtkit/transport-ccw';
import { PciFunction } from '@virtkit/transport-pci';
import { expect, test } from 'vitest';
import { BlkDriver, CcwDriver, ChannelMachine, GuestRam, PciBus, PciModernDriver } from '../src/index.ts';
import { map } from './benches.ts';

test.each(['adapter', 'classic'] as const)(
  'two subchannels, %s interrupts: each driver gets its own',
  (indicators) => {
    const ram = new GuestRam(new Uint8Array(3 << 20));
    const memory = map(ram.bytes);
    const css = new ChannelSubsystem({ memory });
    const machine = new ChannelMachine(css);
    const drivers = [0, 1].map((n) => {
      css.attach(
        new CcwDevice(new BlkDevice({ backend: memoryDisk(65536) }), { host: css, memory, devno: n }),
      );
      const transport = new CcwDriver(() => machine, ram, { schid: 0x10000 + n, indicators });
      return new BlkDriver({ transport, ram });
    });
    for (const driver of drivers) {
      driver.probe();
      driver.start();
    }
    const requests = drivers.map((driver) => driver.write(0, new Uint8Array(512).fill(1)));
    // the first one to ask takes the interruptions of both
    for (const driver of drivers) driver.service();
    expect(requests.map(({ status }) => status)).toEqual([0, 0]);
    expect(drivers.map(({ virtio }) => virtio.interrupts)).toEqual([1, 1]);
  },
);

test('two functions on a bus: each driver gets its own messages', () => {
  const ram = new GuestRam(new Uint8Array(3 << 20));
  const memory = map(ram.bytes);
  const bus = new PciBus();
  const drivers = [4, 9].map((slot) => {
    const sendMsi = (address: number, data: number): void => bus.send(address, data);
    bus.plug(slot, new PciFunction(new BlkDevice({ backend: memoryDisk(65536) }), { memory, sendMsi }));
    return new BlkDriver({ transport: new PciModernDriver(() => bus, { slot }), ram });
  });
  for (const driver of drivers) {
    driver.probe();
    driver.start();
  }
  const requests = drivers.map((driver) => driver.read(0, 2));
  expect(bus.messages).toHaveLength(2);
  for (const driver of drivers) driver.service();
  expect(requests.map(({ status }) => status)).toEqual([0, 0]);
  expect(bus.messages).toEqual([]);
});
