// Packets through a network card, both directions, beside v86's (its VirtQueue on typed arrays, and around it what its virtio-net does for a
// packet) and a straight-line loop over the same ring; and what a packet allocates. The driver's part is to make 16 finished
// chains available again. Nobody listens on the other side: back ends count, or copy as v86's does.
import type { NetBackend, Packet } from '@virtkit/device-net';
import { onTypedArrays, type V86Queue } from '../../core/bench/v86.ts';
import { Machine } from '../test/machine.ts';

const BATCH = 16;
const RAM = 4 << 20;
const HEADER = 12;
const MRG_RXBUF = 15;
const BUFFER = 2048;

type Run = (batches: number) => void;

interface Case {
  readonly name: string;
  readonly direction: 'tx' | 'rx';
  readonly bytes: number;
  readonly mergeable: boolean;
  /** The sender's bytes are copied out of guest memory. */
  readonly copied: boolean;
}

const cases: readonly Case[] = [64, 1500].flatMap((bytes): Case[] => [
  { name: `tx ${bytes} B`, direction: 'tx', bytes, mergeable: true, copied: false },
  { name: `tx ${bytes} B, copied`, direction: 'tx', bytes, mergeable: true, copied: true },
  { name: `rx ${bytes} B`, direction: 'rx', bytes, mergeable: false, copied: true },
  { name: `rx ${bytes} B, mergeable`, direction: 'rx', bytes, mergeable: true, copied: true },
]);

class Count implements NetBackend {
  packets = 0;
  bytes = 0;
  send(packet: Packet): boolean {
    this.packets++;
    this.bytes += packet.length;
    return true;
  }
}

class Copy extends Count {
  readonly buffer = new Uint8Array(65536);
  override send(packet: Packet): boolean {
    packet.copyTo(this.buffer, 0, 0, packet.length);
    return super.send(packet);
  }
}

/** A machine whose ring has a batch of chains, and says so again and again. */
function set({ direction, bytes, mergeable, copied }: Case) {
  const m = new Machine({
    ram: new Uint8Array(RAM),
    net: { backend: copied ? new Copy() : new Count() },
    ...(!mergeable && { without: [MRG_RXBUF] }),
  });
  const queue = direction === 'tx' ? 1 : 0;
  const ring = m.ring(queue);
  for (let i = 0; i < BATCH; i++) {
    const len = direction === 'tx' ? HEADER + bytes : BUFFER;
    m.add(queue, [{ addr: m.alloc(len), len, write: direction === 'rx' }]);
  }
  const heads = new Uint16Array(m.ram.buffer, ring.avail + 4, BATCH).slice();
  const avail = new Uint16Array(m.ram.buffer, ring.avail, 2 + ring.size);
  for (let i = 0; i < ring.size; i++) avail[2 + i] = heads[i % BATCH] as number;
  avail[1] = 0;
  return { m, ring, avail, queue };
}

function card(what: Case): Run {
  const { m, avail, queue } = set(what);
  const { driver, card } = m;
  m.wire.quiet = true;
  const frame = new Uint8Array(what.bytes).fill(0x5a);
  const more = (): void => {
    avail[1] = ((avail[1] as number) + BATCH) & 0xffff;
    driver.kick(queue);
  };
  if (what.direction === 'tx')
    return (batches) => {
      for (let i = 0; i < batches; i++) more();
    };
  return (batches) => {
    for (let i = 0; i < batches; i++) {
      more();
      for (let n = 0; n < BATCH; n++) card.receive(frame);
    }
  };
}

/** What v86's virtio-net does, with its own queue. It has no mergeable buffers: its header says one buffer. */
function v86(what: Case): Run {
  const { m, ring, avail } = set(what);
  const { queue } = onTypedArrays(m.ram, ring.size);
  queue.desc_addr = ring.desc;
  queue.avail_addr = ring.avail;
  queue.used_addr = ring.used;
  const frame = new Uint8Array(what.bytes).fill(0x5a);
  let sum = 0;
  const send = (): void => {
    while (queue.has_request()) {
      const chain = queue.pop_request();
      const bytes = new Uint8Array(chain.length_readable);
      chain.get_next_blob(bytes);
      sum += bytes.subarray(HEADER).length;
      queue.push_reply(chain);
    }
    queue.flush_replies();
  };
  const receive = (): void => {
    const bytes = new Uint8Array(HEADER + frame.length);
    new DataView(bytes.buffer).setInt16(10, 1, true);
    bytes.set(frame, HEADER);
    deliver(queue, bytes);
  };
  return (batches) => {
    for (let i = 0; i < batches; i++) {
      avail[1] = ((avail[1] as number) + BATCH) & 0xffff;
      if (what.direction === 'tx') send();
      else for (let n = 0; n < BATCH; n++) receive();
    }
    if (sum < 0) throw new Error();
  };
}

function deliver(queue: V86Queue, bytes: Uint8Array): void {
  if (!queue.has_request()) throw new Error('no buffer');
  const chain = queue.pop_request();
  chain.set_next_blob(bytes);
  queue.push_reply(chain);
  queue.flush_replies();
}

/** Knows where everything is, and checks nothing. */
function straight(what: Case): Run {
  const { m, ring, avail } = set(what);
  const { ram } = m;
  const words = new Int32Array(ram.buffer);
  const used = new Uint16Array(ram.buffer, ring.used, 2);
  const mask = ring.size - 1;
  const desc = ring.desc >>> 2;
  const entries = (ring.used >>> 2) + 1;
  const target = new Uint8Array(65536);
  const frame = new Uint8Array(what.bytes).fill(0x5a);
  const { direction, copied, bytes } = what;
  let last = used[1] as number;
  return (batches) => {
    for (let i = 0; i < batches; i++) {
      avail[1] = ((avail[1] as number) + BATCH) & 0xffff;
      for (; last !== avail[1]; last = (last + 1) & 0xffff) {
        const head = avail[2 + (last & mask)] as number;
        const at = words[desc + 4 * head] as number;
        const length = words[desc + 4 * head + 2] as number;
        if (direction === 'rx') {
          for (let n = 0; n < HEADER; n++) ram[at + n] = 0;
          ram[at + 10] = 1;
          ram.set(frame, at + HEADER);
        } else if (copied) {
          target.set(ram.subarray(at + HEADER, at + length), 0);
        }
        words[entries + 2 * (last & mask)] = head;
        words[entries + 2 * (last & mask) + 1] = direction === 'rx' ? bytes + HEADER : 0;
        used[1] = (last + 1) & 0xffff;
      }
    }
  };
}

function time(run: Run, batches: number): number {
  // of this process alone: other programs may be running
  const before = process.cpuUsage();
  run(batches);
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1000) / (batches * BATCH);
}

const middle = (list: number[]): number => list.sort((a, b) => a - b)[list.length >> 1] ?? 0;

/** Bytes of heap for each packet, with no collection in between. */
function allocated(run: Run): number {
  const batches = 64;
  const take = (work: () => void): number => {
    const found: number[] = [];
    for (let round = 0; round < 30; round++) {
      globalThis.gc?.();
      const before = process.memoryUsage().heapUsed;
      work();
      found.push((process.memoryUsage().heapUsed - before) / (batches * BATCH));
    }
    return middle(found);
  };
  // less what the measurement itself takes
  return Math.max(0, take(() => run(batches)) - take(() => {}));
}

const ROUNDS = 21;
const BATCHES = 4000;
console.log(
  `virtio-net, batches of ${BATCH}; ns of processor time for a packet, medians of ${ROUNDS} interleaved rounds`,
);
console.log(
  '                          card      v86  straight   v86/card  card/straight    packets/s   bytes allocated (v86)',
);
for (const what of cases) {
  const runs = [card(what), v86(what), straight(what)] as const;
  for (const run of runs) for (let i = 0; i < 3; i++) run(BATCHES);
  const times = runs.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++)
    runs.forEach((run, i) => {
      times[i]?.push(time(run, BATCHES));
    });
  const [ours = 0, theirs = 0, loop = 0] = times.map(middle);
  const columns = [
    what.name.padEnd(22),
    ours.toFixed(0).padStart(7),
    theirs.toFixed(0).padStart(8),
    loop.toFixed(0).padStart(9),
    (theirs / ours).toFixed(2).padStart(10),
    (ours / loop).toFixed(2).padStart(14),
    (1e9 / ours).toFixed(0).padStart(12),
    `${allocated(runs[0]).toFixed(1)} (${allocated(runs[1]).toFixed(0)})`.padStart(14),
  ];
  console.log(columns.join(' '));
}
