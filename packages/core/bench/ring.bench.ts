// Chains through a split ring: taken, given back, one interrupt decision each. Beside it, over memory of the same content:
// a straight-line loop, and v86's VirtQueue, once on a CPU of nothing but typed arrays and once on v86's own.
// Interleaved rounds, medians.
import { PerformanceObserver } from 'node:perf_hooks';
import { freshIndices, type Gpa, MappedMemory, type QueueOwner, SplitQueue } from '@virtkit/core';
import { AVAIL, BATCH, BUFFER, DESC, Machine, MEMORY, type Shape, SIZE, USED } from './machine.ts';
import { Straight } from './straight.ts';
import { onTypedArrays, type V86Made, v86 } from './v86.ts';

const shape = (descriptors: number, indirect = false, copied = false): Shape => ({
  name: `${indirect ? 'indirect' : 'direct'} n=${descriptors}${copied ? `, ${BUFFER} B copied` : ''}`,
  descriptors,
  indirect,
  copied,
});
const shapes = [
  shape(1),
  shape(2),
  shape(4),
  shape(16),
  shape(1, true),
  shape(4, true),
  shape(1, false, true),
  shape(4, false, true),
];

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

function virtkit(machine: Machine, { copied }: Shape): Serve {
  const owner = new Owner();
  const queue = new SplitQueue({
    index: 0,
    size: SIZE,
    desc: DESC as Gpa,
    avail: AVAIL as Gpa,
    used: USED as Gpa,
    memory: new MappedMemory([{ gpa: 0, bytes: machine.bytes }]),
    littleEndian: true,
    indirect: true,
    eventIdx: true,
    inOrder: false,
    notifyOnEmpty: false,
    indices: freshIndices(),
    owner,
  });
  const copy = new Uint8Array(16 * BUFFER);
  if (!copied) {
    return () => {
      machine.offer();
      for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
        queue.push(chain, chain.in.total);
        queue.notify();
      }
      return owner.interrupts;
    };
  }
  return () => {
    machine.offer();
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      const read = chain.out.copyTo(0, copy);
      chain.in.copyFrom(0, copy, read);
      queue.push(chain, chain.in.total);
      queue.notify();
    }
    return owner.interrupts;
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

const names = ['virtkit', 'loop', 'v86 (arrays)', 'v86'] as const;
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

const median = (list: number[]): number => list.sort((a, b) => a - b)[list.length >> 1] ?? 0;

const setUps = await Promise.all(
  shapes.map(async (shape) => {
    const emulator = await v86(32);
    const onArrays = new Machine(shape);
    const serve: Record<Peer, Serve> = {
      virtkit: virtkit(new Machine(shape), shape),
      loop: straight(new Machine(shape), shape),
      'v86 (arrays)': onV86(deviceOnTypedArrays, onTypedArrays(onArrays.bytes, SIZE), onArrays, shape),
      v86: onV86(
        deviceOnV86,
        emulator.queue(SIZE),
        new Machine(shape, emulator.memory.subarray(0, MEMORY)),
        shape,
      ),
    };
    const times: Record<Peer, number[]> = { virtkit: [], loop: [], 'v86 (arrays)': [], v86: [] };
    return { shape, serve, times, emulator };
  }),
);
// all shapes first: what is measured has seen everything, as in a machine that runs
for (let warm = 0; warm < 3; warm++)
  for (const { serve } of setUps) for (const name of names) time(serve[name], CHAINS);
for (let round = 0; round < ROUNDS; round++)
  for (const { serve, times } of setUps)
    for (const name of names) times[name].push(time(serve[name], CHAINS));

console.log(
  `split ring of ${SIZE}, EVENT_IDX, ${BATCH} chains a batch; ns a chain, medians of ${ROUNDS} rounds`,
);
console.log('v86: its VirtQueue on its CPU; (arrays): on a CPU of typed arrays, which v86 does not have');
const ratios = ['v86/virtkit', '(arrays)/virtkit', 'virtkit/loop'];
const heads = [...names.map((name) => name.padStart(13)), ...ratios.map((name) => name.padStart(18))];
console.log(`  ${''.padEnd(24)}${heads.join('')}`);
for (const { shape, times } of setUps) {
  const [ours, loop, arrays, own] = names.map((name) => median(times[name])) as [
    number,
    number,
    number,
    number,
  ];
  const cells = [ours, loop, arrays, own].map((ns) => ns.toFixed(1).padStart(13));
  const quotients = [own / ours, arrays / ours, ours / loop].map((x) => x.toFixed(2).padStart(18));
  console.log(`  ${shape.name.padEnd(24)}${cells.join('')}${quotients.join('')}`);
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
  for (const name of ['virtkit', 'loop', 'v86 (arrays)'] as const)
    cells.push(`${name} ${await heap(serve[name])}`);
  console.log(`  ${shape.name.padEnd(24)}${cells.join('   ')}`);
}
await Promise.all(setUps.map(({ emulator }) => emulator.end()));
