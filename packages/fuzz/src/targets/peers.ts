// Peers on connections: hosts that guests come from and go to, networks.
import { WebSocketBackend, type WebSocketLike } from '@virtkit/device-net/websocket';
import { type ByteDuplex, type Clock, receiveLive, sendLive } from '@virtkit/migration/live';
import { FrameReader } from '../../../device-net/src/node/reader.ts';
import { SmallMachine, SmallWorld } from '../../../migration/test/live/small.ts';
import { demand, type FuzzTarget } from '../target.ts';

const CHUNKS: readonly number[] = [1, 7, 100, 4096];

/** A peer that says these bytes, whatever it hears, and closes. The first byte tells how many come at a time. */
function peer(input: Uint8Array): ByteDuplex & { heard: number } {
  const size = CHUNKS[(input[0] ?? 0) % CHUNKS.length] ?? 1;
  let at = 1;
  return {
    heard: 0,
    async write(bytes) {
      this.heard += bytes.length;
    },
    async read() {
      if (at >= input.length) return undefined;
      const chunk = input.slice(at, at + size);
      at += size;
      return chunk;
    },
    close() {},
  };
}

/** Time stands still: no time-out decides anything. */
const CLOCK: Clock = { now: () => 0, after: () => () => {} };

/** A peer may hear so much more than it says: an answer has 14 bytes, a ping 12. */
const HEARD_MAX = 4;

export const incoming: FuzzTarget = {
  name: 'live-incoming',
  about: 'a source that sends a machine: one that was not taken whole must not run, nor be changed',
  lengthMax: 1 << 14,
  run: async (input) => {
    const world = new SmallWorld();
    const machine = new SmallMachine(world);
    const before = Buffer.concat(machine.sections.map((section) => section.save()));
    const duplex = peer(input);
    const outcome = await receiveLive(duplex, machine, { clock: CLOCK });
    demand(world.faults.length === 0, world.faults.join());
    demand(
      (world.running === machine) === (outcome.result === 'arrived'),
      `${outcome.result}, and the machine runs or not`,
    );
    const after = Buffer.concat(machine.sections.map((section) => section.save()));
    demand(outcome.result === 'arrived' || before.equals(after), 'a machine that did not arrive was changed');
    demand(
      duplex.heard <= HEARD_MAX * input.length + 64,
      `${duplex.heard} bytes of answers to ${input.length}`,
    );
  },
  seeds: function* seeds() {
    yield Uint8Array.of(3, ...sent);
  },
};

/** Records what a source sends when its destination agrees to everything. */
async function record(): Promise<Uint8Array> {
  const world = new SmallWorld();
  const [source, destination] = [new SmallMachine(world), new SmallMachine(world)];
  source.boot();
  const pieces: Uint8Array[] = [];
  const [forth, back] = [new Channel(), new Channel()];
  await Promise.all([
    sendLive(
      {
        write: async (bytes) => {
          pieces.push(bytes.slice());
          forth.put(bytes);
        },
        read: () => back.take(),
        close: () => forth.put(undefined),
      },
      source,
      { clock: CLOCK },
    ),
    receiveLive(
      { write: async (bytes) => back.put(bytes), read: () => forth.take(), close: () => back.put(undefined) },
      destination,
      { clock: CLOCK },
    ),
  ]);
  return Buffer.concat(pieces);
}

/** Chunks that wait to be read, and a reader that waits for chunks. */
class Channel {
  readonly #chunks: (Uint8Array | undefined)[] = [];
  #wake: (() => void) | undefined;

  put(chunk: Uint8Array | undefined): void {
    this.#chunks.push(chunk);
    this.#wake?.();
  }

  async take(): Promise<Uint8Array | undefined> {
    while (this.#chunks.length === 0)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return this.#chunks.shift();
  }
}

const sent = await record();

export const returnPath: FuzzTarget = {
  name: 'live-return',
  about: 'a destination that answers anything to a machine that is sent to it',
  lengthMax: 512,
  run: async (input) => {
    const world = new SmallWorld();
    const machine = new SmallMachine(world);
    machine.boot();
    const outcome = await sendLive(peer(input), machine, { clock: CLOCK });
    demand(world.faults.length === 0, world.faults.join());
    demand(
      (world.running === machine) === (outcome.result === 'stayed'),
      `${outcome.result}, and the machine runs or not`,
    );
  },
  seeds: function* seeds() {
    // an agreement: PONG with the number that the source asks with, then SHUT
    yield Buffer.from('0300020004766972740001000400000000', 'hex');
    yield Uint8Array.of(0);
  },
};

/** A socket that is open, and hears what the test says. */
class Said implements WebSocketLike {
  binaryType = '';
  readyState = 1;
  bufferedAmount = 0;
  readonly listeners = new Map<string, (event: { type: string; data?: unknown }) => void>();
  send(): void {}
  close(): void {}
  addEventListener(type: string, listener: (event: { type: string; data?: unknown }) => void): void {
    this.listeners.set(type, listener);
  }
}

const QUEUE_FRAMES = 4;

export const webSocket: FuzzTarget = {
  name: 'websocket',
  about: 'messages of a relay: each is a length in two bytes and as many bytes; an odd first byte: text',
  lengthMax: 1 << 13,
  run: (input) => {
    const socket = new Said();
    const backend = new WebSocketBackend({ socket, queueFrames: QUEUE_FRAMES });
    let room = 2;
    backend.attach({ receive: () => room-- > 0, canReceive: () => room > 0, txReady: () => {} });
    for (let at = 0; at + 2 < input.length; ) {
      const length = ((input[at] as number) << 8) | (input[at + 1] as number);
      const bytes = input.slice(at + 2, at + 2 + (length & 0x7ff));
      at += 2 + bytes.length;
      socket.listeners.get('message')?.({ type: 'message', data: (length & 0x8000) === 0 ? bytes : 'text' });
      if ((length & 0x4000) !== 0) {
        room = 1;
        backend.rxReady();
      }
      demand(backend.waiting.rx <= QUEUE_FRAMES, `${backend.waiting.rx} frames wait`);
    }
    backend.close();
  },
  seeds: function* seeds() {
    yield Uint8Array.of(0, 60, ...new Uint8Array(60), 0x40, 20, ...new Uint8Array(20), 0x80, 0);
  },
};

const FRAME_MAX = 2048;

export const frames: FuzzTarget = {
  name: 'frames',
  about: 'a stream of frames with their lengths, as QEMU sends them over a socket, in chunks of any size',
  lengthMax: 1 << 13,
  run: (input) => {
    const size = CHUNKS[(input[0] ?? 0) % CHUNKS.length] ?? 1;
    const whole = read(input.subarray(1), input.length);
    sameFrames(read(input.subarray(1), size), whole);
  },
  seeds: function* seeds() {
    yield Uint8Array.of(1, 0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 60, ...new Uint8Array(60));
  },
};

/** The frames of a byte stream that comes in pieces of `size`. */
function read(bytes: Uint8Array, size: number): string[] {
  const found: string[] = [];
  let held = false;
  const reader = new FrameReader({
    max: FRAME_MAX,
    frame: (frame) => {
      held = !held;
      if (held) return false;
      found.push(Buffer.from(frame).toString('hex'));
      return true;
    },
  });
  for (let at = 0; at < bytes.length; at += size) {
    let answer = reader.push(bytes.subarray(at, at + size));
    while (answer === 'wait') answer = reader.proceed();
    if (answer !== 'all') return [...found, `too long: ${answer}`];
  }
  return found;
}

function sameFrames(found: readonly string[], expected: readonly string[]): void {
  demand(found.join() === expected.join(), 'other frames in other pieces');
}
