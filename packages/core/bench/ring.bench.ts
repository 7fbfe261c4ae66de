// Chains through rings: taken, each piece looked at, given back, one interrupt decision each. Beside ours, over memory of the
// same content: a class with every check, a straight-line loop, and v86's VirtQueue, once on a CPU of nothing but typed arrays and
// once on v86's own. Interleaved rounds, the least of each. All shapes in one process, which sees as much as a machine that runs;
// `node --import tsx bench/ring.bench.ts 'direct n=4'` measures one shape in a process of its own.
import { PerformanceObserver } from 'node:perf_hooks';
import {
  freshIndices,
  type Gpa,
  MappedMemory,
  PackedQueue,
  type QueueOwner,
  type QueueSetup,
  SplitQueue,
  type Virtqueue,
} from '@virtkit/core';
import { Checked } from './checked.ts';
import {
  AVAIL,
  BATCH,
  BUFFER,
  DESC,
  Machine,
  MEMORY,
  type Offers,
  PackedMachine,
  type Shape,
  SIZE,
  USED,
} from './machine.ts';
import { Straight } from './straight.ts';
import { onTypedArrays, type V86Made, v86 } from './v86.ts';

const shape = (descriptors: number, indirect = false, copied = false): Shape => ({
  name: `${indirect ? 'indirect' : 'direct'} n=${descriptors}${copied ? `, ${BUFFER} B copied` : ''}`,
  descriptors,
  indirect,
  copied,
});
/** Part of a shape's name as argument: that one alone, in a process that has seen no other. */
const wanted = process.argv[2];
const shapes = [
  shape(1),
  shape(2),
  shape(4),
  shape(16),
  shape(1, true),
  shape(2, true),
  shape(4, true),
  shape(16, true),
  shape(1, false, true),
  shape(4, false, true),
].filter(({ name }) => wanted === undefined || name === wanted);

class Owner implements QueueOwner {
  readonly broken = false;
  readonly disabled = false;
  readonly live = true;
  interrupts = 0;
  fault(reason: string): void {
    throw new Error(reason);
  }
  interrupt(): void {
    this.interrupts++;
  }
}

/** Serves one batch and answers the number of interrupts so far. */
type Serve = () => number;

const setUp = (memory: Uint8Array, owner: QueueOwner): QueueSetup => ({
  index: 0,
  size: SIZE,
  desc: DESC as Gpa,
  avail: AVAIL as Gpa,
  used: USED as Gpa,
  memory: new MappedMemory([{ gpa: 0, bytes: memory }]),
  littleEndian: true,
  indirect: true,
  eventIdx: true,
  inOrder: false,
  notifyOnEmpty: false,
  indices: freshIndices(),
  owner,
});

/** A device type over one format of ring. Made as text twice, so that the two formats do not meet in one function. */
const overRing = (): ((machine: Offers, queue: Virtqueue, copy: Uint8Array | undefined) => () => number) =>
  new Function(`return (machine, queue, copy) => copy === undefined ? () => {
    machine.offer();
    let sum = 0;
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      const { pieces } = chain;
      const end = (chain.out.count + chain.in.count) << 1;
      for (let i = 0; i < end; i = (i + 2) | 0) sum = (sum + pieces[i] + pieces[(i + 1) | 0]) | 0;
      queue.push(chain, chain.in.total);
      queue.notify();
    }
    return sum;
  } : () => {
    machine.offer();
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      const read = chain.out.copyTo(0, copy);
      chain.in.copyFrom(0, copy, read);
      queue.push(chain, chain.in.total);
      queue.notify();
    }
    return 0;
  }`)();
const overSplit = overRing();
const overPacked = overRing();

function virtkit(machine: Machine, { copied }: Shape): Serve {
  const owner = new Owner();
  const queue = new SplitQueue(setUp(machine.bytes, owner));
  const serve = overSplit(machine, queue, copied ? new Uint8Array(16 * BUFFER) : undefined);
  return () => {
    serve();
    return owner.interrupts;
  };
}

function packed(machine: PackedMachine, { copied }: Shape): Serve {
  const owner = new Owner();
  const queue = new PackedQueue(setUp(machine.bytes, owner));
  queue.setNotification(true);
  const serve = overPacked(machine, queue, copied ? new Uint8Array(16 * BUFFER) : undefined);
  return () => {
    serve();
    return owner.interrupts;
  };
}

function checked(machine: Machine, { copied }: Shape): Serve {
  const ring = new Checked(machine);
  const copy = copied ? new Uint8Array(16 * BUFFER) : undefined;
  let sum = 0;
  return () => {
    machine.offer();
    while (ring.pop()) {
      const { offset, length, count, writable } = ring.chain;
      for (let i = 0; i < count; i++) sum = (sum + (offset[i] as number) + (length[i] as number)) | 0;
      if (copy !== undefined) ring.move(copy);
      ring.push(writable);
      ring.notify();
    }
    return ring.interrupts;
  };
}

function straight(machine: Machine, { copied }: Shape): Serve {
  const loop = new Straight(machine);
  const copy = copied ? new Uint8Array(16 * BUFFER) : undefined;
  return () => {
    machine.offer();
    loop.serve(copy);
    return loop.interrupts;
  };
}

/** A device of v86. Made as text twice, so that the two kinds of CPU do not meet in one function. */
const device = (): ((machine: Machine, made: V86Made, copy: Uint8Array | undefined) => Serve) =>
  new Function(`return (machine, { queue, device }, copy) => copy === undefined ? () => {
    machine.offer();
    while (queue.has_request()) {
      queue.push_reply(queue.pop_request());
      queue.flush_replies();
    }
    queue.notify_me_after(0);
    return device.interrupts;
  } : () => {
    machine.offer();
    while (queue.has_request()) {
      const chain = queue.pop_request();
      const read = chain.get_next_blob(copy.subarray(0, chain.length_readable));
      chain.set_next_blob(copy.subarray(read, read + chain.length_writable));
      queue.push_reply(chain);
      queue.flush_replies();
    }
    queue.notify_me_after(0);
    return device.interrupts;
  }`)();
const deviceOnTypedArrays = device();
const deviceOnV86 = device();

function onV86(make: typeof deviceOnV86, made: V86Made, machine: Machine, { copied }: Shape): Serve {
  made.queue.desc_addr = DESC;
  made.queue.avail_addr = AVAIL;
  made.queue.used_addr = USED;
  return make(machine, made, copied ? new Uint8Array(16 * BUFFER) : undefined);
}

const names = ['virtkit', 'packed', 'class', 'loop', 'v86 (arrays)', 'v86'] as const;
type Peer = (typeof names)[number];
const CHAINS = 32_000;
const ROUNDS = 60;

/** Processor time of so many chains, in ns per chain. */
function time(serve: Serve, chains: number): number {
  const start = process.cpuUsage();
  for (let i = 0; i < chains; i += BATCH) serve();
  const { user, system } = process.cpuUsage(start);
  return ((user + system) * 1000) / chains;
}

const setUps = await Promise.all(
  shapes.map(async (shape) => {
    const emulator = await v86(32);
    const onArrays = new Machine(shape);
    const serve: Record<Peer, Serve> = {
      virtkit: virtkit(new Machine(shape), shape),
      packed: packed(new PackedMachine(shape), shape),
      class: checked(new Machine(shape), shape),
      loop: straight(new Machine(shape), shape),
      'v86 (arrays)': onV86(deviceOnTypedArrays, onTypedArrays(onArrays.bytes, SIZE), onArrays, shape),
      v86: onV86(
        deviceOnV86,
        emulator.queue(SIZE),
        new Machine(shape, emulator.memory.subarray(0, MEMORY)),
        shape,
      ),
    };
    const driver = new PackedMachine(shape);
    const offer: Serve = () => {
      driver.offer();
      return 0;
    };
    const times: Record<Peer | 'offer', number[]> = {
      virtkit: [],
      packed: [],
      class: [],
      loop: [],
      'v86 (arrays)': [],
      v86: [],
      offer: [],
    };
    return { shape, serve, times, emulator, offer };
  }),
);
// all shapes first: what is measured has seen everything, as in a machine that runs
for (let warm = 0; warm < 3; warm++)
  for (const { serve } of setUps) for (const name of names) time(serve[name], CHAINS);
for (let round = 0; round < ROUNDS; round++)
  for (const { serve, times, offer } of setUps) {
    for (const name of names) times[name].push(time(serve[name], CHAINS));
    times.offer.push(time(offer, CHAINS));
  }

console.log(
  `rings of ${SIZE}, EVENT_IDX, ${BATCH} chains a batch; ns a chain, the least of ${ROUNDS} rounds, ${wanted === undefined ? 'all shapes in one process' : 'one shape'}`,
);
console.log('packed: what its driver writes for each descriptor is measured alone and taken off');
console.log('class: a class with every check; loop: none but what must be');
console.log('v86: its VirtQueue on its CPU; (arrays): on a CPU of typed arrays, which v86 does not have');
const ratios = ['virtkit/class', 'packed/virtkit', 'virtkit/loop', 'v86/virtkit'];
const heads = [...names.map((name) => name.padStart(13)), ...ratios.map((name) => name.padStart(16))];
console.log(`  ${''.padEnd(26)}${heads.join('')}`);
for (const { shape, times } of setUps) {
  const least = (name: Peer | 'offer'): number => Math.min(...times[name]);
  const packedAlone = least('packed') - least('offer');
  const ours = least('virtkit');
  const cells = names.map((name) => (name === 'packed' ? packedAlone : least(name)).toFixed(1).padStart(13));
  const quotients = [
    ours / least('class'),
    packedAlone / ours,
    ours / least('loop'),
    least('v86') / ours,
  ].map((x) => x.toFixed(2).padStart(16));
  console.log(`  ${shape.name.padEnd(26)}${cells.join('')}${quotients.join('')}`);
}

/** Heap that a million chains leave or let collect. */
async function heap(serve: Serve): Promise<string> {
  let collections = 0;
  const observer = new PerformanceObserver((list) => {
    collections += list.getEntries().length;
  });
  gc?.();
  observer.observe({ entryTypes: ['gc'] });
  const chains = 1_000_000;
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < chains; i += BATCH) serve();
  const bytes = process.memoryUsage().heapUsed - before;
  await new Promise((resolve) => setTimeout(resolve, 20));
  observer.disconnect();
  return `${(bytes / chains).toFixed(2).padStart(6)} B ${String(collections).padStart(4)} collections`;
}
console.log('heap grown for each of a million chains, and collections meanwhile');
for (const { shape, serve } of setUps) {
  const cells: string[] = [];
  for (const name of ['virtkit', 'packed', 'loop', 'v86 (arrays)'] as const)
    cells.push(`${name} ${await heap(serve[name])}`);
  console.log(`  ${shape.name.padEnd(26)}${cells.join('   ')}`);
}
await Promise.all(setUps.map(({ emulator }) => emulator.end()));
