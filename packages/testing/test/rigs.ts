import type { TransportParts } from '@virtkit/core';
import { BlkDevice, type BlkOptions, blk } from '@virtkit/device-blk';
import { NetDevice, type NetOptions, net } from '@virtkit/device-net';
import type { NetDriverOptions } from '../src/driver/net.ts';
import type { RingWishes } from '../src/driver/virtio.ts';
import type { TransportBench } from '../src/suite/bench.ts';
import { type BlkWork, blkBench } from '../src/suite/blk-bench.ts';
import type { DiskTiming, DiskWorld } from '../src/suite/blk-world.ts';
import { type NetWork, netBench } from '../src/suite/net-bench.ts';
import type { CableWorld } from '../src/suite/net-world.ts';
import { Rig } from '../src/suite/rig.ts';
import { RING_MODES, type RingMode } from '../src/suite/rings.ts';
import { map, TRANSPORTS } from './benches.ts';

type BlkParts = Parameters<typeof blk.saveDevice>[0];
type NetParts = Parameters<typeof net.saveDevice>[0];

/** The modes by name; every transport can do `split`. */
export const SPLIT: RingMode = RING_MODES[0] as RingMode;
export const PACKED: RingMode = RING_MODES.find(({ name }) => name === 'packed') as RingMode;

export function modeWith(wishes: RingWishes): RingMode {
  return { ...SPLIT, name: 'chosen', wishes };
}

export interface RigSetup {
  readonly rings?: RingMode;
  readonly moveEvery?: number;
  readonly features?: bigint;
}

/** A machine with a disk, its devices in the order in which they were made, and the driver. */
export function diskRig<H, T extends TransportParts>(
  bench: TransportBench<H, T>,
  options: Omit<BlkOptions, 'backend'> & {
    readonly timing?: DiskTiming;
    readonly driverQueues?: number;
  } = {},
  { rings = SPLIT, ...more }: RigSetup = {},
): {
  rig: Rig<H, T, BlkParts>;
  devices: BlkDevice[];
  work: BlkWork;
  driver: BlkWork['driver'];
  world: DiskWorld<BlkParts>;
} {
  const devices: BlkDevice[] = [];
  const { timing = 'sync', driverQueues, ...blkOptions } = options;
  const device = blkBench({
    layer: blk,
    make: (backend) => {
      const made = new BlkDevice({ ...blkOptions, backend });
      devices.push(made);
      return made;
    },
    timing,
    queues: driverQueues ?? blkOptions.queues ?? 1,
  });
  const rig = new Rig(bench, device, { rings, map, ...more });
  const work = rig.work as BlkWork;
  return { rig, devices, work, driver: work.driver, world: rig.world as DiskWorld<BlkParts> };
}

/** A machine with a network card. */
export function cardRig<H, T extends TransportParts>(
  bench: TransportBench<H, T>,
  options: Partial<Omit<NetOptions, 'backend'>> & { readonly driver?: NetDriverOptions } = {},
  { rings = SPLIT, ...more }: RigSetup = {},
): {
  rig: Rig<H, T, NetParts>;
  devices: NetDevice[];
  work: NetWork<NetParts>;
  driver: NetWork<NetParts>['driver'];
  world: CableWorld<NetParts>;
} {
  const devices: NetDevice[] = [];
  const { driver = {}, ...netOptions } = options;
  const device = netBench({
    layer: net,
    make: (backend) => {
      const made = new NetDevice({ mac: '52:54:00:12:34:56', ...netOptions, backend });
      devices.push(made);
      return made;
    },
    pairs: netOptions.queuePairs ?? 1,
    announce: true,
    driver,
  });
  const rig = new Rig(bench, device, { rings, map, ...more });
  const work = rig.work as NetWork<NetParts>;
  return { rig, devices, work, driver: work.driver, world: rig.world as CableWorld<NetParts> };
}

export const ALL = Object.values(TRANSPORTS) as TransportBench<unknown, TransportParts>[];
/** A frame to everybody. */
export function frame(length = 60, to = 'ffffffffffff'): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => i);
  bytes.set(Uint8Array.from(to.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16)));
  bytes.set([0x02, 0, 0, 0, 0, 1, 0x88, 0xb5], 6);
  return bytes;
}
