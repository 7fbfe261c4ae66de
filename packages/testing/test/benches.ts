import { MappedMemory } from '@virtkit/core';
import { BlkDevice, type BlkState, blk } from '@virtkit/device-blk';
import { ConsoleDevice, type ConsoleState, virtioConsole } from '@virtkit/device-console';
import { NetDevice, type NetState, net } from '@virtkit/device-net';
import { RngDevice, type RngState, rng } from '@virtkit/device-rng';
import { CcwDevice, type CcwParts, type ChannelDevice, ChannelSubsystem, ccw } from '@virtkit/transport-ccw';
import { MmioDevice, type MmioParts, mmio } from '@virtkit/transport-mmio';
import { PciFunction, type PciOptions, type PciParts, pci } from '@virtkit/transport-pci';
import type { BlkLayout } from '../src/driver/blk.ts';
import type { NetDriverOptions } from '../src/driver/net.ts';
import { ChannelMachine } from '../src/host/channel-machine.ts';
import { MmioSlot } from '../src/host/mmio-slot.ts';
import { PciBus } from '../src/host/pci-bus.ts';
import type { DeviceBench, TransportBench } from '../src/suite/bench.ts';
import { blkBench } from '../src/suite/blk-bench.ts';
import { consoleBench, type LineTiming } from '../src/suite/console-bench.ts';
import { netBench } from '../src/suite/net-bench.ts';
import { type EntropyTiming, rngBench } from '../src/suite/rng-bench.ts';
import { CcwDriver, type CcwDriverOptions } from '../src/transport/ccw.ts';
import { MmioLegacyDriver, MmioModernDriver } from '../src/transport/mmio.ts';
import { PciLegacyDriver } from '../src/transport/pci-legacy.ts';
import { type PciDriverOptions, PciModernDriver } from '../src/transport/pci-modern.ts';

export const map = (bytes: Uint8Array): MappedMemory => new MappedMemory([{ gpa: 0, bytes }]);

export const SLOT = 3;

/** virtio-pci behind a bus of one slot. */
export function pciBench(
  name: string,
  kind: 'modern' | 'legacy',
  driver: PciDriverOptions = {},
  options: Partial<PciOptions> = {},
): TransportBench<PciBus, PciParts> {
  return {
    name: `pci, ${name}`,
    layer: pci,
    modern: kind === 'modern',
    build: (model, { memory, rings, onEvent, from }) => {
      const bus = new PciBus();
      for (const { address, data } of from?.messages ?? []) bus.send(address, data);
      const fn = new PciFunction(model, {
        ...options,
        memory,
        rings,
        onEvent,
        sendMsi: (address, data) => bus.send(address, data),
        setIntx: (level) => bus.setIntx(SLOT, level),
      });
      bus.plug(SLOT, fn);
      return { host: bus, device: fn.device };
    },
    drive: (reach) =>
      kind === 'modern'
        ? new PciModernDriver(reach, { ...driver, slot: SLOT })
        : new PciLegacyDriver(reach, { ...driver, slot: SLOT }),
  };
}

export function mmioBench(legacy: boolean): TransportBench<MmioSlot, MmioParts> {
  return {
    name: legacy ? 'mmio, legacy' : 'mmio, modern',
    layer: mmio,
    modern: !legacy,
    build: (model, { memory, rings, onEvent }) => {
      const host = new MmioSlot();
      const setIrq = (level: boolean): void => host.setIrq(level);
      const window = new MmioDevice(model, { memory, rings, onEvent, legacy, setIrq });
      host.plug(window);
      return { host, device: window.device };
    },
    drive: (reach) => (legacy ? new MmioLegacyDriver(reach) : new MmioModernDriver(reach)),
  };
}

/** A machine whose channel subsystem is at hand. */
export class CssMachine extends ChannelMachine {
  readonly css: ChannelSubsystem;
  /** The only device. */
  readonly ccw: ChannelDevice;

  constructor(css: ChannelSubsystem, ccw: ChannelDevice) {
    super(css);
    this.css = css;
    this.ccw = ccw;
  }
}

export function ccwBench(name: string, options: CcwDriverOptions = {}): TransportBench<CssMachine, CcwParts> {
  return {
    name: `ccw, ${name}`,
    layer: ccw,
    modern: options.revision !== 0,
    build: (model, { memory, rings, onEvent, from }) => {
      const css = new ChannelSubsystem({ memory });
      const device = new CcwDevice(model, { host: css, memory, rings, onEvent, devno: 0x1234 });
      css.attach(device);
      if (from !== undefined) {
        css.restoreCss(from.css.captureCss());
        css.interrupts.restore(from.css.interrupts.capture());
      }
      return { host: new CssMachine(css, device), device: device.device };
    },
    drive: (reach, memory) => new CcwDriver(reach, memory, options),
  };
}

/** Every transport in every way that a driver can use it. */
export const TRANSPORTS = {
  pciModern: pciBench('modern, MSI-X', 'modern'),
  pciModernIntx: pciBench('modern, INTx', 'modern', { interrupts: 'intx' }),
  pciExpress: pciBench('express', 'modern', {}, { express: true }),
  pciPagePerVq: pciBench('page per queue', 'modern', {}, { pagePerVq: true }),
  pciPortNotify: pciBench('notify by port', 'modern', { notifyByPort: true }, { modernPioNotify: true }),
  pciConfigAccess: pciBench('through configuration space', 'modern', { access: 'config' }),
  pciLegacy: pciBench('legacy, MSI-X', 'legacy'),
  pciLegacyIntx: pciBench('legacy, INTx', 'legacy', { interrupts: 'intx' }),
  pciLegacyOnly: pciBench('legacy only', 'legacy', {}, { mode: 'legacy' }),
  mmioModern: mmioBench(false),
  mmioLegacy: mmioBench(true),
  ccw: ccwBench('adapter interrupts'),
  ccwClassic: ccwBench('classic interrupts', { indicators: 'classic' }),
  ccwRevision1: ccwBench('revision 1', { revision: 1 }),
  ccwLegacy: ccwBench('revision 0', { revision: 0 }),
  ccwLegacyClassic: ccwBench('revision 0, classic interrupts', { revision: 0, indicators: 'classic' }),
} as const;

export function disk(timing: 'sync' | 'async', queues = 1, layout: BlkLayout = {}): DeviceBench<BlkState> {
  return blkBench({
    layer: blk,
    make: (backend, count) => new BlkDevice({ backend, queues: count, serial: 'virtkit-disk' }),
    timing,
    queues,
    layout,
  });
}

export function card(
  timing: 'sync' | 'busy',
  pairs = 1,
  driver: NetDriverOptions = {},
): DeviceBench<NetState> {
  return netBench({
    layer: net,
    make: (backend, count) => new NetDevice({ backend, mac: '52:54:00:12:34:56', queuePairs: count }),
    timing,
    pairs,
    driver,
  });
}

export function entropy(timing: EntropyTiming, segment?: number): DeviceBench<RngState> {
  return rngBench({
    layer: rng,
    make: (backend) => new RngDevice({ backend }),
    timing,
    driver: { ...(segment !== undefined && { segment }) },
  });
}

export function lines(timing: LineTiming, ports = 3, segment?: number): DeviceBench<ConsoleState> {
  return consoleBench({
    layer: virtioConsole,
    make: (backends) =>
      new ConsoleDevice({
        maxPorts: ports,
        ports: backends.map((backend, id) => ({
          id,
          backend,
          console: id === 0,
          ...(id === 1 && { name: 'org.example.agent' }),
        })),
      }),
    timing,
    ports,
    driver: { ...(segment !== undefined && { segment }) },
  });
}

/** Every device type, fast and slow. */
export const DEVICES = {
  disk: disk('sync'),
  slowDisk: disk('async', 2),
  joinedDisk: disk('async', 1, { joined: true, segment: 700 }),
  card: card('sync'),
  busyCard: card('busy', 3, { rxBuffers: 6, rxBytes: 300 }),
  entropy: entropy('sync'),
  slowEntropy: entropy('async', 300),
  console: lines('sync', 1),
  busyConsole: lines('busy', 3, 70),
} as const;
