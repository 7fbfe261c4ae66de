// Requests whose driver allocates nothing: what grows the heap is the device's.
import { MappedMemory, type TransportParts, type VirtioState } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { ConsoleDevice, type GuestPort } from '@virtkit/device-console';
import { type NetBackend, NetDevice, type NetPort } from '@virtkit/device-net';
import { RngDevice } from '@virtkit/device-rng';
import type { CcwParts } from '@virtkit/transport-ccw';
import { VirtioDriver } from '../src/driver/virtio.ts';
import type { PciBus, PciBusFunction } from '../src/host/pci-bus.ts';
import { GuestRam } from '../src/ram.ts';
import type { RingAddresses } from '../src/ring/ring.ts';
import type { TransportBench } from '../src/suite/bench.ts';
import { RING_MODES, type RingMode } from '../src/suite/rings.ts';
import { SLOT, TRANSPORTS } from './benches.ts';

const RAM_BYTES = 2 << 20;
const DRIVER_BYTES = 1 << 20;
const BUFFERS = 0x18_0000;
/** Of descriptors. */
const TABLE = BUFFERS + 0x400;
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

interface Buffer {
  readonly at: number;
  readonly length: number;
  /** {@link WRITE}, {@link INDIRECT} or 0. */
  readonly flags: number;
}

/** A ring with the same request in each place, again and again. */
interface Repeater {
  /** Makes so many more available. */
  more(count: number): void;
  /** How many came back in all. */
  done(): number;
}

function writeDescriptor(
  view: DataView,
  little: boolean,
  at: number,
  { at: address, length }: Buffer,
  [low, high]: readonly [number, number],
): void {
  view.setUint32(at + (little ? 0 : 4), address, little);
  view.setUint32(at + (little ? 4 : 0), 0, little);
  view.setUint32(at + 8, length, little);
  view.setUint16(at + 12, low, little);
  view.setUint16(at + 14, high, little);
}

function splitRepeater(
  view: DataView,
  ring: RingAddresses,
  chain: readonly Buffer[],
  little: boolean,
): Repeater {
  const { size, desc, driver, device } = ring;
  // all places name descriptor 0; the device has one request at a time or a few, and does not mind
  for (const [i, buffer] of chain.entries()) {
    const flags = buffer.flags | (i + 1 < chain.length ? NEXT : 0);
    writeDescriptor(view, little, desc + 16 * i, buffer, [flags, i + 1]);
  }
  for (let i = 0; i < size; i++) view.setUint16(driver + 4 + 2 * i, 0, little);
  let avail = 0;
  let laps = 0;
  let last = 0;
  return {
    more: (count) => {
      avail = (avail + count) & 0xffff;
      view.setUint16(driver + 2, avail, little);
    },
    done: () => {
      const used = view.getUint16(device + 2, little);
      if (used < last) laps++;
      last = used;
      return laps * 65536 + used;
    },
  };
}

function packedRepeater(view: DataView, ring: RingAddresses, chain: readonly Buffer[]): Repeater {
  const { size, desc } = ring;
  let slot = 0;
  let mark = 0x80;
  let usedSlot = 0;
  let usedMark = 0x8080;
  let done = 0;
  const step = chain.length;
  return {
    more: (count) => {
      for (let n = 0; n < count; n++) {
        const first = desc + 16 * slot;
        const firstMark = mark;
        for (let i = 0; i < step; i++) {
          const { at, length, flags } = chain[i] as Buffer;
          const place = desc + 16 * slot;
          view.setUint32(place, at, true);
          view.setUint32(place + 4, 0, true);
          view.setUint32(place + 8, length, true);
          view.setUint16(place + 12, 0, true);
          const bits = flags | (i + 1 < step ? NEXT : 0) | mark;
          if (i > 0) view.setUint16(place + 14, bits, true);
          if (++slot === size) {
            slot = 0;
            mark ^= 0x8080;
          }
        }
        view.setUint16(first + 14, (chain[0]?.flags ?? 0) | (step > 1 ? NEXT : 0) | firstMark, true);
      }
    },
    done: () => {
      for (;;) {
        if ((view.getUint16(desc + 16 * usedSlot + 14, true) & 0x8080) !== usedMark) return done;
        done++;
        usedSlot += step;
        if (usedSlot >= size) {
          usedSlot -= size;
          usedMark ^= 0x8080;
        }
      }
    },
  };
}

/** The chain as one descriptor of a table. */
function packInto(
  view: DataView,
  table: number,
  chain: readonly Buffer[],
  packed: boolean,
  little: boolean,
): void {
  for (const [i, buffer] of chain.entries()) {
    const flags = buffer.flags | (!packed && i + 1 < chain.length ? NEXT : 0);
    writeDescriptor(view, little, table + 16 * i, buffer, packed ? [0, flags] : [flags, i + 1]);
  }
}

/** What is asked of a device. */
interface Work {
  readonly name: string;
  readonly virtioId: number;
  readonly queues: number;
  readonly features: bigint;
  readonly queue: number;
  readonly chain: (view: DataView, little: boolean, headerBytes: number) => Buffer[];
  readonly make: () => {
    readonly model: BlkDevice | NetDevice | RngDevice | ConsoleDevice;
    readonly after: (count: number) => void;
  };
}

function blkWork(name: string, type: number, bytes: number): Work {
  return {
    name,
    virtioId: 2,
    queues: 1,
    features: 0n,
    queue: 0,
    make: () => ({ model: new BlkDevice({ backend: memoryDisk(1 << 20) }), after: () => undefined }),
    chain: (view, little) => {
      view.setUint32(BUFFERS, type, little);
      view.setUint32(BUFFERS + (little ? 8 : 12), 8, little);
      return [
        { at: BUFFERS, length: 16, flags: 0 },
        { at: BUFFERS + 0x1000, length: bytes, flags: type === 0 ? WRITE : 0 },
        { at: BUFFERS + 0x800, length: 1, flags: WRITE },
      ];
    },
  };
}

function netWork(name: string, queue: 0 | 1, bytes: number): Work {
  const frame = new Uint8Array(bytes).fill(0xff);
  return {
    name,
    virtioId: 1,
    queues: 2,
    // MRG_RXBUF
    features: 1n << 15n,
    queue,
    make: () => {
      const target = new Uint8Array(65536);
      let port: NetPort | undefined;
      const backend: NetBackend = {
        attach: (given) => {
          port = given;
        },
        send: (packet) => {
          packet.copyTo(target, 0, 0, packet.length);
          return true;
        },
      };
      const after = (count: number): void => {
        if (queue === 0) for (let i = 0; i < count; i++) port?.receive(frame);
      };
      return { model: new NetDevice({ backend, mac: '52:54:00:12:34:56' }), after };
    },
    chain: (_view, _little, headerBytes) =>
      queue === 0
        ? [{ at: BUFFERS + 0x1000, length: 2048, flags: WRITE }]
        : [
            { at: BUFFERS, length: headerBytes, flags: 0 },
            { at: BUFFERS + 0x1000, length: bytes, flags: 0 },
          ],
  };
}

function rngWork(bytes: number): Work {
  const backend = { fill: (target: Uint8Array) => target.length };
  return {
    name: `random ${bytes} B`,
    virtioId: 4,
    queues: 1,
    features: 0n,
    queue: 0,
    make: () => ({ model: new RngDevice({ backend }), after: () => undefined }),
    chain: () => [{ at: BUFFERS, length: bytes, flags: WRITE }],
  };
}

function consoleWork(name: string, queue: 0 | 1, bytes: number): Work {
  const keys = new Uint8Array(bytes);
  return {
    name,
    virtioId: 3,
    queues: 2,
    features: 0n,
    queue,
    make: () => {
      let port: GuestPort | undefined;
      const backend = {
        attach: (given: GuestPort) => {
          port = given;
        },
        write: (_bytes: Uint8Array, start: number, end: number) => end - start,
      };
      const after = (count: number): void => {
        if (queue === 0) for (let i = 0; i < count; i++) port?.send(keys);
      };
      return { model: new ConsoleDevice({ maxPorts: 1, ports: [{ console: true, backend }] }), after };
    },
    chain: () => [{ at: BUFFERS, length: bytes, flags: queue === 0 ? WRITE : 0 }],
  };
}

const WORKS: readonly Work[] = [
  blkWork('read 512 B', 0, 512),
  blkWork('read 4096 B', 0, 4096),
  blkWork('write 4096 B', 1, 4096),
  netWork('send 60 B', 1, 60),
  netWork('send 1514 B', 1, 1514),
  netWork('receive 60 B', 0, 60),
  netWork('receive 1514 B', 0, 1514),
  rngWork(64),
  consoleWork('write 80 B', 1, 80),
  consoleWork('type 1 B', 0, 1),
];

/** How the driver kicks, and takes the interrupt, without making an object. */
interface Hands {
  readonly kick: (queue: number) => void;
  readonly take: () => void;
}

interface Way<H> {
  readonly bench: TransportBench<H, TransportParts>;
  /** @param state the device's, for what the driver has told it */
  readonly hands: (host: H, ram: GuestRam, state: VirtioState<TransportParts, unknown>) => Hands;
}

const way = <H, T extends TransportParts>(
  bench: TransportBench<H, T>,
  hands: Way<H>['hands'],
): Way<unknown> => ({ bench, hands }) as unknown as Way<unknown>;

/** What arrives at the interrupt controller is none of the device's: nobody listens. */
function deaf(bus: PciBus): PciBusFunction | undefined {
  Object.assign(bus, { send: () => undefined, setIntx: () => undefined });
  return bus.at(SLOT);
}

const pciHands = (bus: PciBus): Hands => {
  const fn = deaf(bus);
  return { kick: (queue) => fn?.barWrite(4, 0x3000 + 4 * queue, 2, queue), take: () => undefined };
};

const SCHID = 0x1_0000;
const ALL_SUBCLASSES = 0xff00_0000;
/** Somewhere for what an instruction stores. */
const OPERAND = 0x200;

const WAYS: readonly Way<unknown>[] = [
  way(TRANSPORTS.pciModern, pciHands),
  way(TRANSPORTS.pciModernIntx, (bus) => {
    const { kick } = pciHands(bus);
    const fn = bus.at(SLOT);
    // the ISR register
    return { kick, take: () => void fn?.barRead(4, 0x1000, 1) };
  }),
  way(TRANSPORTS.pciLegacy, (bus) => {
    const fn = deaf(bus);
    return { kick: (queue) => fn?.barWrite(0, 16, 2, queue), take: () => undefined };
  }),
  ...[TRANSPORTS.mmioModern, TRANSPORTS.mmioLegacy].map((bench) =>
    way(bench, (slot) => ({
      kick: (queue) => slot.mmioWrite(0x50, 4, queue),
      take: () => slot.mmioWrite(0x64, 4, slot.mmioRead(0x60, 4)),
    })),
  ),
  ...[TRANSPORTS.ccw, TRANSPORTS.ccwClassic, TRANSPORTS.ccwLegacy].map((bench) =>
    way(bench, ({ css }, ram, state) => {
      const { indicators, summaryIndicator } = state.transport as CcwParts['config'];
      // the byte of queues 0 to 7, and the summary
      const classic = summaryIndicator.len === 0;
      const queues = Number(indicators.addr) + (classic ? 7 : 0);
      const summary = classic ? queues : Number(summaryIndicator.addr);
      return {
        kick: (queue) => void css.diagnose500(3, SCHID, queue),
        take: () => {
          ram.setU8(summary, 0);
          ram.setU8(queues, 0);
          while (css.tpi(OPERAND, ALL_SUBCLASSES) === 1) if (classic) css.tsch(SCHID, OPERAND + 64);
        },
      };
    }),
  ),
];

/** One kind of request on one transport with one kind of ring, ready to be repeated. */
export interface HeapCase {
  readonly name: string;
  /** Is in the sample that the tests have time for. */
  readonly sample: boolean;
  /** Sets it up; what it answers does `count` requests. */
  readonly prepare: () => (count: number) => void;
}

/** So many requests come with a kick, in turn. */
const BATCHES = [1, 1, 6] as const;

function prepare({ bench, hands }: Way<unknown>, rings: RingMode, work: Work): (count: number) => void {
  const ram = new GuestRam(new Uint8Array(RAM_BYTES));
  const memory = new MappedMemory([{ gpa: 0, bytes: ram.bytes }]);
  const { model, after } = work.make();
  const faults: string[] = [];
  const { host, device } = bench.build<unknown>(model, {
    memory,
    rings: rings.offered,
    onEvent: ({ name, reason = '' }) => void (name === 'fault' && faults.push(reason)),
  });
  const transport = bench.drive(() => host, ram);
  const { features } = work;
  const virtio = new VirtioDriver(
    { transport, ram, rings: rings.wishes, features, memory: DRIVER_BYTES },
    { used: () => undefined, configChanged: () => undefined },
  );
  virtio.probe(work.virtioId);
  virtio.negotiate();
  for (let queue = 0; queue < work.queues; queue++) virtio.addQueue(queue);
  virtio.ready();

  const { format, addresses } = virtio.ring(work.queue);
  const little = virtio.littleEndian;
  const { view } = ram;
  const packed = format === 'packed';
  // with MRG_RXBUF or VERSION_1 the header of a packet has 12 bytes
  let chain = work.chain(view, little, 12);
  if (rings.wishes.indirect === 'always') {
    packInto(view, TABLE, chain, packed, little);
    chain = [{ at: TABLE, length: 16 * chain.length, flags: INDIRECT }];
  }
  const ring = packed
    ? packedRepeater(view, addresses, chain)
    : splitRepeater(view, addresses, chain, little);
  const { kick, take } = hands(host, ram, device.capture());
  return (count) => {
    const expected = ring.done() + count;
    for (let left = count, turn = 0; left > 0; turn++) {
      const batch = Math.min(left, BATCHES[turn % BATCHES.length] as number);
      ring.more(batch);
      kick(work.queue);
      after(batch);
      take();
      // a lap of a packed ring must not pass unseen
      ring.done();
      left -= batch;
    }
    const done = ring.done();
    if (done === expected && faults.length === 0) return;
    throw new Error(`${done} requests came back, ${expected} expected; ${faults.join('; ')}`);
  };
}

const CHOSEN = [
  'split',
  'split, indirect',
  'split, event index',
  'packed',
  'packed, indirect',
  'packed, event index',
];

const SAMPLE_RINGS = ['split', 'packed, event index'];
const SAMPLE_WORKS = [
  'read 512 B',
  'write 4096 B',
  'send 1514 B',
  'receive 60 B',
  'random 64 B',
  'write 80 B',
  'type 1 B',
];

export const HEAP_CASES: readonly HeapCase[] = WAYS.flatMap((one) =>
  RING_MODES.filter(({ name, modern }) => CHOSEN.includes(name) && (one.bench.modern || !modern)).flatMap(
    (rings) =>
      WORKS.map((work) => ({
        name: `${one.bench.name} / ${rings.name} / ${work.name}`,
        sample: SAMPLE_RINGS.includes(rings.name) && SAMPLE_WORKS.includes(work.name),
        prepare: () => prepare(one, rings, work),
      })),
  ),
);
