// Requests per second of a virtio-blk device, beside a straight-line loop over the same ring and the same bytes; and what
// a request allocates. The driver's part is to make 16 finished chains available again, and a kick.
import { type BlkBackend, BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { Machine } from '../test/machine.ts';

const BATCH = 16;
const DISK = 16 << 20;
const RAM = 8 << 20;

interface Case {
  readonly name: string;
  readonly type: 0 | 1;
  readonly bytes: number;
  /** Data in pieces of this many. */
  readonly segment: number;
}

const cases: readonly Case[] = [
  { name: 'read 4 KiB', type: 0, bytes: 4096, segment: 4096 },
  { name: 'write 4 KiB', type: 1, bytes: 4096, segment: 4096 },
  { name: 'read 64 KiB', type: 0, bytes: 65536, segment: 65536 },
  { name: 'write 64 KiB', type: 1, bytes: 65536, segment: 65536 },
  { name: 'read 64 KiB, 16 pieces', type: 0, bytes: 65536, segment: 4096 },
];

/** Says that all is done. What is left is the device's own work. */
const nothing: BlkBackend = {
  size: DISK,
  firstSector: new Uint8Array(512),
  read: () => undefined,
  write: () => undefined,
};

/** A ring with a batch of requests, ready to be made available again and again. */
function set(backend: BlkBackend, { type, bytes, segment }: Case) {
  const m = new Machine(new BlkDevice({ backend, queueSize: 512 }), { ram: new Uint8Array(RAM) });
  const ring = m.ring(0);
  for (let i = 0; i < BATCH; i++) {
    const data = m.alloc(bytes);
    const segments = Array.from({ length: bytes / segment }, (_, n) => ({
      addr: data + n * segment,
      len: segment,
      write: type === 0,
    }));
    const header = { addr: m.header(type, (i * bytes) / 512), len: 16 };
    m.add(0, [header, ...segments, { addr: m.alloc(1), len: 1, write: true }]);
  }
  const heads = new Uint16Array(m.ram.buffer, ring.avail + 4, BATCH).slice();
  const avail = new Uint16Array(m.ram.buffer, ring.avail, 2 + ring.size);
  for (let i = 0; i < ring.size; i++) avail[2 + i] = heads[i % BATCH] as number;
  m.kick();
  return { m, ring, avail };
}

function device(backend: BlkBackend, what: Case): (batches: number) => void {
  const { m, avail } = set(backend, what);
  const { driver } = m;
  return (batches) => {
    for (let i = 0; i < batches; i++) {
      avail[1] = ((avail[1] as number) + BATCH) & 0xffff;
      driver.kick(0);
    }
  };
}

/** Peer: knows where everything is, checks nothing. */
function straight(what: Case): (batches: number) => void {
  const { m, ring, avail } = set(nothing, what);
  const disk = new Uint8Array(DISK);
  const words = new Int32Array(m.ram.buffer);
  const { ram } = m;
  const mask = ring.size - 1;
  const used = new Uint16Array(m.ram.buffer, ring.used, 2);
  let last = used[1] as number;
  return (batches) => {
    for (let i = 0; i < batches; i++) {
      avail[1] = ((avail[1] as number) + BATCH) & 0xffff;
      for (; last !== avail[1]; last = (last + 1) & 0xffff) {
        const head = avail[2 + (last & mask)] as number;
        let at = (ring.desc >>> 2) + head * 4;
        const header = (words[at] as number) >>> 2;
        const type = words[header] as number;
        let position = (words[header + 2] as number) * 512;
        for (;;) {
          at = (ring.desc >>> 2) + ((words[at + 3] as number) >>> 16) * 4;
          const tail = words[at + 3] as number;
          const addr = words[at] as number;
          const length = words[at + 2] as number;
          if ((tail & 1) === 0) {
            ram[addr] = 0;
            break;
          }
          if (type === 0) ram.set(disk.subarray(position, position + length), addr);
          else disk.set(ram.subarray(addr, addr + length), position);
          position += length;
        }
        const entry = (ring.used >>> 2) + 1 + 2 * (last & mask);
        words[entry] = head;
        words[entry + 1] = what.bytes + 1;
        used[1] = (last + 1) & 0xffff;
      }
    }
  };
}

function time(run: (batches: number) => void, batches: number): number {
  // of this process alone: other programs may be running
  const before = process.cpuUsage();
  run(batches);
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1000) / (batches * BATCH);
}

const middle = (list: number[]): number => list.sort((a, b) => a - b)[list.length >> 1] ?? 0;

/** Bytes of heap for each request, with no collection in between. */
function allocated(run: (batches: number) => void): number {
  const batches = 64;
  const found: number[] = [];
  for (let round = 0; round < 30; round++) {
    globalThis.gc?.();
    const before = process.memoryUsage().heapUsed;
    run(batches);
    found.push((process.memoryUsage().heapUsed - before) / (batches * BATCH));
  }
  // what the measurement itself takes
  const idle: number[] = [];
  for (let round = 0; round < 30; round++) {
    globalThis.gc?.();
    const before = process.memoryUsage().heapUsed;
    idle.push((process.memoryUsage().heapUsed - before) / (batches * BATCH));
  }
  return Math.max(0, middle(found) - middle(idle));
}

console.log(
  `virtio-blk, batches of ${BATCH}; ns of processor time for a request, medians of 15 interleaved rounds`,
);
console.log(
  '                              device   straight  ratio   device alone   requests/s   bytes allocated',
);
for (const what of cases) {
  const runs = [device(memoryDisk(DISK), what), straight(what), device(nothing, what)] as const;
  const batches = what.bytes > 4096 ? 200 : 2000;
  for (const run of runs) for (let i = 0; i < 3; i++) run(batches);
  const times = runs.map((): number[] => []);
  for (let round = 0; round < 15; round++)
    runs.forEach((run, i) => {
      times[i]?.push(time(run, batches));
    });
  const [whole = 0, loop = 0, alone = 0] = times.map(middle);
  const bytes = `${allocated(runs[0]).toFixed(1)}, without copies ${allocated(runs[2]).toFixed(1)}`;
  console.log(
    `  ${what.name.padEnd(24)} ${whole.toFixed(0).padStart(9)} ${loop.toFixed(0).padStart(10)} ${(whole / loop).toFixed(2).padStart(6)} ${alone.toFixed(0).padStart(14)} ${(1e9 / whole).toFixed(0).padStart(12)}   ${bytes}`,
  );
}
