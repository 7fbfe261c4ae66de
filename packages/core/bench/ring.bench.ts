// Chains through a split ring: taken, given back, one interrupt decision each. Beside a straight-line loop over the same
// memory, and v86's VirtQueue on a CPU of typed arrays. Interleaved rounds, medians.
import { PerformanceObserver } from 'node:perf_hooks';
import { freshIndices, type Gpa, MappedMemory, type QueueOwner, SplitQueue } from '@virtkit/core';
import { AVAIL, BATCH, BUFFER, DESC, Machine, type Shape, SIZE, USED } from './machine.ts';
import { Straight } from './straight.ts';
import { v86Queue } from './v86.ts';

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
  readonly live = true;
  readonly broken = false;
  readonly disabled = false;
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

function ours(machine: Machine, { copied }: Shape): Serve {
  const owner = new Owner();
  const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(machine.buffer) }]);
  const queue = new SplitQueue({
    index: 0,
    size: SIZE,
    desc: DESC as Gpa,
    avail: AVAIL as Gpa,
    used: USED as Gpa,
    memory,
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

function v86(machine: Machine, { copied }: Shape): Serve {
  const { queue, device } = v86Queue(machine.buffer, SIZE);
  queue.desc_addr = DESC;
  queue.avail_addr = AVAIL;
  queue.used_addr = USED;
  const copy = new Uint8Array(16 * BUFFER);
  if (!copied) {
    return () => {
      machine.offer();
      while (queue.has_request()) {
        queue.push_reply(queue.pop_request());
        queue.flush_replies();
      }
      queue.notify_me_after(0);
      return device.interrupts;
    };
  }
  return () => {
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
  };
}

const peers = { virtkit: ours, loop: straight, v86 };
type Peer = keyof typeof peers;
const names = Object.keys(peers) as Peer[];
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

const setUps = shapes.map((shape) => ({
  shape,
  serve: Object.fromEntries(names.map((name) => [name, peers[name](new Machine(shape), shape)])) as Record<
    Peer,
    Serve
  >,
  times: { virtkit: [], loop: [], v86: [] } as Record<Peer, number[]>,
}));
// all shapes first: what is measured has seen everything, as in a machine that runs
for (let warm = 0; warm < 3; warm++)
  for (const { serve } of setUps) for (const name of names) time(serve[name], CHAINS);
for (let round = 0; round < ROUNDS; round++)
  for (const { serve, times } of setUps)
    for (const name of names) times[name].push(time(serve[name], CHAINS));

console.log(
  `split ring of ${SIZE}, EVENT_IDX, ${BATCH} chains a batch; ns a chain, medians of ${ROUNDS} rounds`,
);
console.log(
  `  ${''.padEnd(26)}${names.map((name) => name.padStart(9)).join('')}   v86/virtkit  virtkit/loop`,
);
for (const { shape, times } of setUps) {
  const [a, b, c] = [median(times.virtkit), median(times.loop), median(times.v86)];
  const cells = [a, b, c].map((ns) => ns.toFixed(1).padStart(9)).join('');
  console.log(
    `  ${shape.name.padEnd(26)}${cells}${(c / a).toFixed(1).padStart(14)}${(a / b).toFixed(2).padStart(14)}`,
  );
}

/** Heap that a million requests leave or let collect. */
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
  return `${(bytes / chains).toFixed(3)} B a chain, ${collections} collections`;
}
console.log('heap, a million chains');
for (const { shape, serve } of setUps)
  for (const name of ['virtkit', 'v86'] as const)
    console.log(`  ${shape.name.padEnd(26)}${name.padEnd(9)}${await heap(serve[name])}`);
