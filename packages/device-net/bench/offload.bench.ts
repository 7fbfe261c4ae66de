// A guest's packet of 60000 bytes of TCP, in 15 buffers of a page as Linux makes it, on its way to a network that wants complete frames:
// the whole way from the kick, and what a frame costs and allocates. Beside it the same bytes as frames that the guest has cut itself.
import { Writable } from 'node:stream';
import type { NetBackend, Packet } from '@virtkit/device-net';
import { SOFTWARE_OFFLOADS, SoftwareOffload } from '@virtkit/device-net/offload';
import { FrameWriter } from '../src/node/writer.ts';
import { type Ip, tcpFrame } from '../test/frames.ts';
import { Machine } from '../test/machine.ts';

const BATCH = 8;
const PAYLOAD = 60_000;
const MSS = 1448;
const HEADER = 12;
const PIECE = 4096;
const ROUNDS = 15;
const BATCHES = 40;

const ip: Ip = { version: 4, src: [10, 0, 0, 1], dst: [10, 0, 0, 2] };

/** Cuts and sums, and puts the frames into one array. */
class Cut implements NetBackend {
  readonly supports = SOFTWARE_OFFLOADS;
  readonly #offload = new SoftwareOffload();
  readonly #target = new Uint8Array(70_000);
  frames = 0;
  send(packet: Packet): boolean {
    for (this.frames += this.#offload.open(packet); this.#offload.left > 0; )
      this.#offload.write(this.#target);
    return true;
  }
}

/** The same, and over a stream that takes everything at once. */
class Stream implements NetBackend {
  readonly supports = SOFTWARE_OFFLOADS;
  readonly #offload = new SoftwareOffload();
  readonly #writer = new FrameWriter(new Writable({ write: (_chunk, _encoding, done) => done() }), () => {});
  frames = 0;
  send(packet: Packet): boolean {
    if (!this.#writer.hasRoom(packet.length)) return true;
    this.frames += this.#offload.open(packet) - this.#writer.put(this.#offload);
    return true;
  }
}

/** A driver that makes the same packets available again and again. */
function guest(backend: NetBackend, large: boolean): () => void {
  const machine = new Machine({ net: { backend }, ram: new Uint8Array(8 << 20) });
  const ring = machine.ring(1);
  for (let i = 0; i < BATCH; i++) {
    const payload = Array<number>(large ? PAYLOAD : MSS).fill(i);
    const bytes = new Uint8Array([
      ...new Uint8Array(HEADER),
      ...tcpFrame(ip, { seq: 1, flags: 0x10 }, payload, true),
    ]);
    // NEEDS_CSUM, TCPV4 if it is to be cut, and where the checksum is
    const view = new DataView(bytes.buffer);
    bytes.set([1, large ? 1 : 0]);
    if (large) view.setUint16(4, MSS, true);
    view.setUint16(6, 34, true);
    view.setUint16(8, 16, true);
    const at = machine.put(bytes);
    const count = Math.ceil(bytes.length / PIECE);
    const pieces = Array.from({ length: count }, (_, n) => ({
      addr: at + n * PIECE,
      len: Math.min(PIECE, bytes.length - n * PIECE),
    }));
    machine.add(1, pieces);
  }
  const heads = new Uint16Array(machine.ram.buffer, ring.avail + 4, BATCH).slice();
  const avail = new Uint16Array(machine.ram.buffer, ring.avail, 2 + ring.size);
  for (let i = 0; i < ring.size; i++) avail[2 + i] = heads[i % BATCH] as number;
  avail[1] = 0;
  machine.wire.quiet = true;
  return () => {
    avail[1] = ((avail[1] as number) + BATCH) & 0xffff;
    machine.driver.kick(1);
  };
}

const middle = (list: number[]): number => list.sort((a, b) => a - b)[list.length >> 1] ?? 0;

async function measure(name: string, backend: Cut | Stream, large: boolean): Promise<void> {
  const more = guest(backend, large);
  const rounds = large ? BATCHES : BATCHES * 20;
  const times: number[] = [];
  const bytes: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    globalThis.gc?.();
    const frames = backend.frames;
    const heap = process.memoryUsage().heapUsed;
    const before = process.cpuUsage();
    for (let i = 0; i < rounds; i++) {
      more();
      if (backend instanceof Stream) await new Promise(setImmediate);
    }
    const { user, system } = process.cpuUsage(before);
    const count = backend.frames - frames;
    times.push(((user + system) * 1000) / count);
    bytes.push((process.memoryUsage().heapUsed - heap) / count);
  }
  const ns = middle(times);
  const columns = [ns.toFixed(0).padStart(9), ((MSS * 1000) / ns).toFixed(0).padStart(9)];
  console.log(name.padEnd(44), ...columns, middle(bytes).toFixed(1).padStart(12));
}

console.log(
  'frames of 1448 bytes of TCP; medians of processor time'.padEnd(44),
  ' ns/frame      MB/s  bytes allocated',
);
await measure('cut out of 60000, summed', new Cut(), true);
await measure('cut by the guest, summed', new Cut(), false);
await measure('cut out of 60000, summed, into a stream', new Stream(), true);
await measure('cut by the guest, summed, into a stream', new Stream(), false);
