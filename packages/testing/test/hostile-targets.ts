import { MappedMemory, type TransportParts } from '@virtkit/core';
import { BlkDevice, type BlkState, blk } from '@virtkit/device-blk';
import { ConsoleDevice, type ConsoleState, virtioConsole } from '@virtkit/device-console';
import { NetDevice, type NetState, net } from '@virtkit/device-net';
import { RngDevice, type RngState, rng } from '@virtkit/device-rng';
import { BLK_DRIVER_FEATURES } from '../src/driver/blk.ts';
import { NET_F } from '../src/driver/net-features.ts';
import { ChangingMemory } from '../src/hostile/changing-memory.ts';
import { pokeChannel } from '../src/hostile/channel.ts';
import { type HostileReport, type HostileSetup, hostile } from '../src/hostile/fuzz.ts';
import { pokeMmio } from '../src/hostile/mmio.ts';
import { pokePci } from '../src/hostile/pci.ts';
import { bits } from '../src/spec.ts';
import type { DeviceBench, TransportBench } from '../src/suite/bench.ts';
import { blkBench } from '../src/suite/blk-bench.ts';
import { DiskWorld, type TestDiskBackend } from '../src/suite/blk-world.ts';
import { Random } from '../src/suite/case.ts';
import { consoleBench } from '../src/suite/console-bench.ts';
import { netBench } from '../src/suite/net-bench.ts';
import type { TestNetBackend } from '../src/suite/net-world.ts';
import { RING_MODES, type RingMode } from '../src/suite/rings.ts';
import { rngBench } from '../src/suite/rng-bench.ts';
import { type CssMachine, card, disk, pciBench, SLOT, TRANSPORTS } from './benches.ts';

interface RunOptions {
  /** Is called now and then, with how many operations were done. */
  readonly onProgress?: (operations: number) => void;
  /** Where decisions come from, instead of the seed. */
  readonly random?: Random;
  /** In memory that changes while devices read it; work is not counted then. */
  readonly changing?: boolean;
}

type Run = (operations: number, seed: number, options?: RunOptions) => Promise<HostileReport>;

/** A hostile guest for each transport, ring format and device type. */
export interface HostileTarget {
  readonly name: string;
  readonly run: Run;
}

/** Counts what devices do to guest memory: all of it where rings are read number by number, else each buffer. */
let work = 0;

class CountingMemory extends MappedMemory {
  override at(gpa: number): ReturnType<MappedMemory['at']> {
    work++;
    return super.at(gpa);
  }
}

/** Bytes that back ends are handed or hand over. */
const counted = (bytes: number): void => {
  work += bytes;
};

/** Longest packet, header and all. QEMU: `NET_BUFSIZE`. */
const PACKET_MAX = 4096 + 65536;

/** Bytes that a source of entropy is asked for at most. */
const ENTROPY_MAX = 65_536;
/** Bytes of a port that a back end is given at most. */
const PORT_CHUNK_MAX = 65_536;

const ROM = 0x10_0000;
const ROM_BYTES = 0x4000;
/** The same RAM once more, above 4 GiB. */
const HIGH = 2 ** 36;
/** RAM is two regions that touch. */
const SEAM = 0x2_3000;
const rom = new Random(99).bytes(ROM_BYTES);
// its first page would do as a ring: flags 0, a few entries, descriptors of RAM
rom.fill(0, 0, 0x1000);
new DataView(rom.buffer).setUint16(2, 3, true);
for (let i = 0; i < 64; i++) {
  const view = new DataView(rom.buffer, 0x1000 + 16 * i, 16);
  view.setBigUint64(0, BigInt(0x3000 + 64 * i), true);
  view.setUint32(8, 64, true);
  view.setUint16(12, i % 3 === 0 ? 2 : 0, true);
}

/** RAM with a seam, a hole behind it, ROM, and the same RAM above 4 GiB. */
const regions = (bytes: Uint8Array) => [
  { gpa: 0, bytes: bytes.subarray(0, SEAM) },
  { gpa: SEAM, bytes: bytes.subarray(SEAM) },
  { gpa: ROM, bytes: rom, readonly: true },
  { gpa: HIGH, bytes },
];
const hostileMap = (bytes: Uint8Array): MappedMemory => new CountingMemory(regions(bytes));
/** The same, and another processor of the guest writes to it while the device reads. */
const changingMap = (seed: number) => (bytes: Uint8Array) => new ChangingMemory(regions(bytes), { seed });
/** The last ones are where PCI functions have their registers: no memory. */
const LANDMARKS = [ROM, ROM + 0x1000, ROM + ROM_BYTES - 8, SEAM, HIGH, HIGH + 0x3000, 0xc300_0000, 2 ** 38];

/** Operations that a device asked for and that its disk has not, and frames longer than any: judged before they are used. */
export const strays: string[] = [];

function judge(what: string, position: number, length: number, size: number): void {
  if (!(position >= 0 && length >= 0 && position + length <= size))
    strays.push(`${what} ${position}+${length}`);
}

const LIFETIME = { preEolInfo: 1, typA: 2, typB: 3 };

/** A disk that now and then fails. */
class FlakyDisk extends DiskWorld<BlkState> {
  #ticks = 0;

  override tick(): void {
    this.#ticks++;
    if (this.#ticks % 7 === 0) this.fail(this.#ticks % 2 === 0 ? 'EIO' : 'ENOSPC');
    else super.tick();
  }
}

function flaky(backend: TestDiskBackend): BlkDevice {
  return new BlkDevice({
    backend: {
      ...backend,
      discard: (position, length) => {
        judge('discard', position, length, backend.size);
        return backend.discard(position, length);
      },
      writeZeroes: (position, length) => {
        judge('write zeroes', position, length, backend.size);
        return backend.writeZeroes(position, length);
      },
      secureErase: (position, length) => {
        judge('secure erase', position, length, backend.size);
        return backend.discard(position, length);
      },
      read: (position, target, from, length) => {
        counted(length);
        judge('read', position, length, backend.size);
        return backend.read(position, target, from, length);
      },
      write: (position, source, from, length) => {
        counted(length);
        judge('write', position, length, backend.size);
        return backend.write(position, source, from, length);
      },
    },
    queues: 4,
    queueSize: 64,
    blockSize: 1024,
    serial: 'hostile',
    secureErase: { maxSegments: 8 },
    discard: { maxSegments: 16, granularity: 4096 },
    writeZeroes: { maxSegments: 16 },
    lifetime: LIFETIME,
    sizeMax: 4096,
    rerror: 'ignore',
    werror: 'report',
  });
}

const flakyDisk: DeviceBench<BlkState> = {
  ...blkBench({ layer: blk, make: flaky, timing: 'async', queues: 4 }),
  world: (seed) => new FlakyDisk(96 * 4096, flaky, 'async', seed),
};

/** A card that offers all it can. */
const fullCard: DeviceBench<NetState> = netBench({
  layer: net,
  timing: 'busy',
  pairs: 2,
  announce: true,
  driver: { rxBytes: 2048 },
  make: (backend: TestNetBackend, pairs) =>
    new NetDevice({
      backend: {
        attach: (port) => backend.attach(port),
        rxReady: (pair) => backend.rxReady(pair),
        send: (packet) => {
          counted(packet.length);
          judge('packet', 0, packet.length, PACKET_MAX);
          return backend.send(packet);
        },
      },
      mac: '52:54:00:12:34:56',
      queuePairs: pairs,
      offloads: { csum: true, tso: true, ufo: true, uso: true, udpTunnel: true },
      mtu: 1500,
      speed: 10_000,
      duplex: 'full',
      rss: true,
      hashReport: true,
      coalescing: { after: (_usecs, run) => queueMicrotask(run) },
      standby: true,
      rxQueueSize: 256,
    }),
});
/** A source of entropy that now and then fails, or has nothing, or little. */
const flakyEntropy: DeviceBench<RngState> = rngBench({
  layer: rng,
  timing: 'async',
  make: (backend) => {
    let turn = 0;
    return new RngDevice({
      backend: {
        fill: (target) => {
          counted(target.length);
          judge('random bytes', 0, target.length, ENTROPY_MAX);
          turn++;
          if (turn % 7 === 0) throw new Error('no entropy');
          if (turn % 5 === 0) return 0;
          return turn % 3 === 0 ? 1 : backend.fill(target);
        },
      },
      maxBytes: 1 << 20,
      after: (_milliseconds, run) => queueMicrotask(run),
    });
  },
});

/** A console whose ports take what they like, come and go, and are opened, closed and resized, each time that one is written to. */
const fullConsole: DeviceBench<ConsoleState> = consoleBench({
  layer: virtioConsole,
  timing: 'busy',
  ports: 3,
  make: (backends) => {
    let turn = 0;
    const console = new ConsoleDevice({
      maxPorts: 4,
      sizes: true,
      ports: backends.map((backend, id) => ({
        id,
        console: id === 0,
        ...(id === 1 && { name: 'org.example.agent' }),
        backend: {
          ...backend,
          write: (bytes, start, end) => {
            counted(end - start);
            judge('bytes of a port', 0, end - start, PORT_CHUNK_MAX);
            disturb(turn++, id);
            return backend.write(bytes, start, end);
          },
        },
      })),
    });
    const disturb = (now: number, id: number): void => {
      const port = console.port(id);
      if (now % 11 === 3) console.port(0).resize(now & 0xff, 25);
      if (now % 13 === 5) port.close();
      if (now % 13 === 9) port.open();
      const [, , , fourth] = console.ports;
      if (now % 17 === 8 && fourth === undefined)
        console.plug({ backend: { write: (_bytes, start, end) => (end - start) >> 1 } });
      if (now % 17 === 15 && fourth !== undefined) console.unplug(fourth.id);
      for (const each of console.ports) each.send(Uint8Array.of(now));
    };
    return console;
  },
});

const NET_EVERYTHING = bits(...Object.values(NET_F));

const [split, , , , , splitEverything] = RING_MODES as [RingMode, ...RingMode[]];
const packedEverything = RING_MODES.at(-1);

function targets<H, T extends TransportParts>(
  bench: TransportBench<H, T>,
  poke: HostileSetup<H, T, never>['poke'],
): HostileTarget[] {
  const modes = bench.modern ? [split, splitEverything, packedEverything] : [split];
  const list: HostileTarget[] = [];
  const add = <D>(rings: RingMode, name: string, device: DeviceBench<D>, features?: bigint): void => {
    const run: Run = (operations, seed, { onProgress, random, changing = false } = {}) =>
      hostile({
        bench,
        rings,
        poke,
        device,
        operations,
        seed,
        map: changing ? changingMap(seed) : hostileMap,
        landmarks: LANDMARKS,
        work: () => work,
        ...(features !== undefined && { features }),
        ...(onProgress && { onProgress }),
        ...(random && { random }),
      });
    list.push({ name: `${bench.name} / ${rings.name} / ${name}`, run });
  };
  for (const rings of modes) {
    if (rings === undefined) continue;
    add(rings, 'disk', disk('sync', 2));
    add(rings, 'disk with everything', flakyDisk, BLK_DRIVER_FEATURES);
    add(rings, 'card', card('busy', 2));
    add(rings, 'card with everything', fullCard, NET_EVERYTHING);
    add(rings, 'entropy', flakyEntropy);
    add(rings, 'console', fullConsole);
  }
  return list;
}

const SCHID = 0x1_0000;
const channel: HostileSetup<CssMachine, never, never>['poke'] = (host, ram, random, target) =>
  pokeChannel(host.css, SCHID, ram, random, target);

const { pciModern, pciLegacy, mmioModern, mmioLegacy, ccw, ccwClassic, ccwLegacy } = TRANSPORTS;
const pciEverything = pciBench(
  'everything',
  'modern',
  {},
  { express: true, pagePerVq: true, modernPioNotify: true, rom: new Uint8Array(2048) },
);

export const HOSTILE: readonly HostileTarget[] = [
  ...[pciModern, pciLegacy, pciEverything].flatMap((bench) =>
    targets(bench, (bus, _ram, random, target) => pokePci(bus, SLOT, random, target)),
  ),
  ...[mmioModern, mmioLegacy].flatMap((bench) =>
    targets(bench, (slot, _ram, random, target) => pokeMmio(slot, random, target)),
  ),
  ...[ccw, ccwClassic, ccwLegacy].flatMap((bench) => targets(bench, channel)),
];
