// Requests of a driver that gets everything right but their content: disks, cards with their control queue, consoles with theirs.
import { type BlkBackend, BlkDevice, MemoryDisk } from '@virtkit/device-blk';
import { ConsoleDevice } from '@virtkit/device-console';
import { NetDevice } from '@virtkit/device-net';
import { BareMachine, type BareOptions, type Segment } from '@virtkit/lab/bare-machine.ts';
import { InputRandom } from '../input-random.ts';
import { demand, type FuzzTarget, sameBytes } from '../target.ts';

const LENGTH_MAX = 1024;
/** Address where the machine's rings end and its buffers begin. */
const BUFFERS = 0x10_0000;
const RAM_BYTES = BUFFERS + 0x1_0000;
const REQUESTS_MAX = 32;

const ram = new Uint8Array(RAM_BYTES);
const buffers = Buffer.from(ram.buffer, BUFFERS);
const before = Buffer.alloc(buffers.length);

/** Rings of the machine: a bit each of the first byte. */
function ringsOf(choice: number): BareOptions {
  ram.fill(0);
  return {
    ram,
    rings: { packed: (choice & 1) !== 0, inOrder: (choice & 2) !== 0, eventIdx: (choice & 4) !== 0 },
    indirect: (choice & 8) !== 0,
  };
}

/** A driver that keeps account of what the device has. */
class Driver<D> {
  readonly machine: BareMachine<D>;
  /** Buffers that are out, by queue and id. */
  readonly #out = new Map<string, readonly Segment[]>();

  constructor(machine: BareMachine<D>) {
    this.machine = machine;
  }

  /**
   * Makes a chain available and lets the device work: it may write to writable buffers that it has, and to nothing else, and gives
   * each chain back once. Does nothing if the ring has no room.
   */
  request(queue: number, segments: readonly Segment[], act: () => void): void {
    const { machine } = this;
    if (segments.length === 0 || segments.length > machine.ring(queue).free.length) return;
    const id = machine.add(queue, segments);
    this.#out.set(`${queue}/${id}`, segments);
    before.set(buffers);
    act();
    for (const { addr, len, write } of [...this.#out.values()].flat())
      if (write === true) before.set(ram.subarray(addr, addr + len), addr - BUFFERS);
    sameBytes(buffers, before, 'buffers that the device must not write');
    demand(machine.faults.length <= 1, machine.faults.join());
    for (const used of machine.used(queue)) this.#back(`${queue}/${used.id}`, used.len);
  }

  #back(key: string, length: number): void {
    const segments = this.#out.get(key);
    demand(segments !== undefined, `buffer ${key} came back, and was not out`);
    this.#out.delete(key);
    const writable = segments.reduce((sum, { len, write }) => sum + (write === true ? len : 0), 0);
    demand(length <= writable, `${length} bytes written to buffers of ${writable}`);
  }
}

const DISK_BYTES = 64 * 512;
const TYPES: readonly [number, ...number[]] = [0, 1, 4, 8, 11, 13, 14, 10, 2, 0x8000_0000];
const SECTORS: readonly [number, ...number[]] = [0, 1, 7, 63, 64, 65, 2 ** 23, 2 ** 32, 2 ** 53, 2 ** 55];
const LENGTHS: readonly [number, ...number[]] = [512, 0, 1, 16, 20, 511, 1024, 4096, 32, 48];

/** A disk that nobody asks for what it has not. */
class Watched extends MemoryDisk implements BlkBackend {
  #inside(position: number, length: number): void {
    demand(
      position >= 0 && length >= 0 && position + length <= this.size && position % 512 === 0,
      `bytes ${position} to ${position + length} of a disk of ${this.size}`,
    );
  }

  override read(...[position, target, from, length]: Parameters<MemoryDisk['read']>): void {
    this.#inside(position, length);
    super.read(position, target, from, length);
  }

  override write(...[position, source, from, length]: Parameters<MemoryDisk['write']>): void {
    this.#inside(position, length);
    super.write(position, source, from, length);
  }

  override writeZeroes(position: number, length: number): void {
    this.#inside(position, length);
    super.writeZeroes(position, length);
  }
}

/** Cuts buffers into descriptors, at places that the input chooses. */
function cut(random: InputRandom, addr: number, len: number, write: boolean): Segment[] {
  const at = random.chance(3) && len > 1 ? 1 + random.below(len - 1) : len;
  return [
    { addr, len: at, write },
    { addr: addr + at, len: len - at, write },
  ].filter((segment, index) => segment.len > 0 || (index === 0 && random.chance(8)));
}

function diskRequest(driver: Driver<unknown>, random: InputRandom): void {
  const { machine } = driver;
  const header = machine.alloc(16);
  const { view } = machine;
  view.setUint32(header, random.pick(TYPES), true);
  view.setUint32(header + 4, random.below(256), true);
  view.setBigUint64(header + 8, BigInt(random.chance(2) ? random.below(64) : random.pick(SECTORS)), true);
  const length = random.pick(LENGTHS);
  const data = machine.alloc(length);
  // what a discard reads: ranges that are mostly possible
  for (let i = 0; i + 16 <= Math.min(length, 64); i += 16) {
    view.setBigUint64(data + i, BigInt(random.chance(4) ? random.pick(SECTORS) : random.below(64)), true);
    view.setUint32(data + i + 8, random.chance(4) ? 0xffff_ffff : random.below(8), true);
    view.setUint32(data + i + 12, random.chance(4) ? random.below(4) : 0, true);
  }
  const status = machine.alloc(1);
  const segments = [
    ...cut(random, header, 16, false),
    ...cut(random, data, length, random.chance(2)),
    ...(random.chance(16) ? [] : [{ addr: status, len: 1, write: true }]),
  ].sort((a, b) => Number(a.write ?? false) - Number(b.write ?? false));
  const queue = random.below(2);
  driver.request(queue, segments, () => machine.kick(queue));
}

export const disk: FuzzTarget = {
  name: 'blk-requests',
  about: 'requests to a disk, in any layout, over each kind of ring',
  lengthMax: LENGTH_MAX,
  run: (input) => {
    const random = new InputRandom(input);
    const rings = ringsOf(random.below(256));
    const backend = new Watched(new Uint8Array(DISK_BYTES), { discard: 'unmap' });
    const machine = new BareMachine(
      new BlkDevice({ backend, queues: 2, queueSize: 16, serial: 'fuzz', discard: true, writeZeroes: true }),
      rings,
      [7],
    );
    const driver = new Driver(machine);
    for (let i = 0; i < REQUESTS_MAX && i * 12 < input.length; i++) diskRequest(driver, random);
  },
  seeds: function* seeds() {
    for (let i = 0; i < 32; i++)
      yield Uint8Array.from({ length: 200 }, (_, at) => (at * i * 7 + at + i) & 0xff);
  },
};

const PAIRS = 2;

function netRequest(
  driver: Driver<unknown>,
  random: InputRandom,
  receive: (frame: Uint8Array) => void,
): void {
  const { machine } = driver;
  const control = machine.live.queueCount - 1;
  const queue = random.chance(2) ? control : random.below(machine.live.queueCount);
  const length = random.pick([64, 12, 2, 3, 8, 20, 200, 1514, 600]);
  const data = machine.alloc(length);
  const head = random.bytes(Math.min(length, 24));
  ram.set(head, data);
  // a class and a command that are
  if (queue === control && length >= 2 && !random.chance(8))
    ram.set([random.below(7), random.below(8)], data);
  const answer = machine.alloc(64);
  const isReceive = queue !== control && queue % 2 === 0;
  const segments: Segment[] = isReceive
    ? cut(random, data, length, true)
    : [
        ...cut(random, data, length, false),
        ...(queue === control ? cut(random, answer, 1 + random.below(64), true) : []),
      ];
  driver.request(queue, segments, () => {
    machine.kick(queue);
    if (isReceive) receive(random.bytes(60));
  });
}

export const network: FuzzTarget = {
  name: 'net-requests',
  about: 'frames to a card and from it, and its control queue',
  lengthMax: LENGTH_MAX,
  run: (input) => {
    const random = new InputRandom(input);
    const rings = ringsOf(random.below(256));
    const device = new NetDevice({
      backend: { send: () => !random.chance(8) },
      mac: '52:54:00:12:34:56',
      queuePairs: PAIRS,
      offloads: { csum: true, tso: true, ufo: true, uso: true },
      rss: true,
      hashReport: true,
      coalescing: { after: (_usecs, run) => run() },
    });
    const driver = new Driver(new BareMachine(device, rings, [6]));
    for (let i = 0; i < REQUESTS_MAX && i * 12 < input.length; i++)
      netRequest(driver, random, (frame) => device.receive(frame));
  },
  seeds: function* seeds() {
    for (let i = 0; i < 32; i++)
      yield Uint8Array.from({ length: 400 }, (_, at) => (at * i * 13 + at + i) & 0xff);
  },
};

/** The first is a console, and the last comes and goes. */
const PORTS = 3;
const CONTROL = { toDriver: 2, fromDriver: 3 } as const;
/** Bytes of a control message. */
const MESSAGE_BYTES = 8;
/** Events that there are, and one that there is not. */
const EVENTS = 9;

function consoleRequest(driver: Driver<unknown>, random: InputRandom, act: () => void): void {
  const { machine } = driver;
  const { queueCount } = machine.live;
  const queue = random.chance(2) ? CONTROL.fromDriver : random.below(queueCount);
  const write = queue % 2 === 0;
  const length = queue === CONTROL.fromDriver ? MESSAGE_BYTES : random.pick([64, 8, 1, 12, 300, 3]);
  const data = machine.alloc(length);
  if (!write) ram.set(random.bytes(Math.min(length, 16)), data);
  if (queue === CONTROL.fromDriver && !random.chance(8)) {
    machine.view.setUint32(data, random.below(PORTS + 1), true);
    machine.view.setUint16(data + 4, random.below(EVENTS), true);
    machine.view.setUint16(data + 6, random.below(3), true);
  }
  driver.request(queue, cut(random, data, length, write), () => {
    machine.kick(queue);
    act();
  });
}

/** Does what the host's end may do between two requests. */
function hostActs(device: ConsoleDevice, random: InputRandom, take: () => number): void {
  const [first] = device.ports;
  const last = device.ports.find(({ id }) => id === PORTS - 1);
  switch (random.below(8)) {
    case 0:
      first?.resize(random.below(256), random.below(256));
      break;
    case 1:
      if (last === undefined) device.plug({ id: PORTS - 1, name: 'late', backend: { write: take } });
      else device.unplug(last.id);
      break;
    case 2:
      last?.close();
      break;
    case 3:
      last?.open();
      break;
    case 4:
      for (const port of device.ports) port.ready();
      break;
    default:
      for (const port of device.ports)
        demand(port.send(random.bytes(5)) <= 5, 'more was taken than was sent');
  }
}

export const serial: FuzzTarget = {
  name: 'console-requests',
  about: 'what a driver writes to a console, its control messages, and ports that come and go',
  lengthMax: LENGTH_MAX,
  run: (input) => {
    const random = new InputRandom(input);
    const rings = ringsOf(random.below(256));
    const write = (_bytes: Uint8Array, start: number, end: number): number =>
      random.chance(3) ? random.below(end - start + 1) : end - start;
    const device = new ConsoleDevice({
      maxPorts: PORTS,
      sizes: true,
      defer: () => {},
      ports: [
        { console: true, backend: { write } },
        { name: 'org.example.agent', backend: { write } },
      ],
    });
    const take = (): number => 0;
    const driver = new Driver(new BareMachine(device, rings, []));
    for (let i = 0; i < REQUESTS_MAX && i * 12 < input.length; i++)
      consoleRequest(driver, random, () => hostActs(device, random, take));
  },
  seeds: function* seeds() {
    for (let i = 0; i < 32; i++)
      yield Uint8Array.from({ length: 300 }, (_, at) => (at * i * 11 + at + i) & 0xff);
  },
};
