// The same frames, buffers and commands to a real QEMU and to this card: the same memory, frames and registers afterwards.
import { NET_FEATURE } from '@virtkit/device-net';
import { describe, expect, test } from 'vitest';
import { fromHex, hex, Machine, type MachineOptions, type Segment } from './machine.ts';
import { hasQemu, Qemu, type QemuOptions } from './qemu.ts';

const F = NET_FEATURE;
const RINGS = [0x1000, 0x1f000] as const;
const BUFFERS = [0x100000, 0x130000] as const;
const SEED = Number(process.env['VIRTKIT_QEMU_SEED'] ?? 7);
const STEPS = Number(process.env['VIRTKIT_QEMU_STEPS'] ?? 160);

interface Kind {
  readonly name: string;
  readonly options: MachineOptions;
  readonly qemu?: QemuOptions;
}

// num_buffers as QEMU 7.2 leaves it
const net = { alwaysNumBuffers: false };
const KINDS: readonly Kind[] = [
  { name: 'modern', options: { net } },
  { name: 'modern, packed', options: { net, rings: { packed: true } }, qemu: { properties: 'packed=on' } },
  { name: 'modern, without EVENT_IDX', options: { net, without: [29] } },
  { name: 'modern, without MRG_RXBUF', options: { net, without: [F.MRG_RXBUF] } },
  { name: 'modern, without CTRL_VLAN', options: { net, without: [F.CTRL_VLAN, F.CTRL_GUEST_OFFLOADS] } },
  { name: 'legacy', options: { net, legacy: true }, qemu: { legacy: true } },
  {
    name: 'legacy, without MRG_RXBUF',
    options: { net, legacy: true, without: [F.MRG_RXBUF, 29] },
    qemu: { legacy: true },
  },
];

const ADDRESSES = [
  '525400123456',
  '525400123457',
  '020000000001',
  '020000000002',
  '01005e000001',
  '01005e000002',
  '333300000001',
  'ffffffffffff',
];

class Pair {
  readonly m: Machine;
  readonly qemu: Qemu;
  readonly #held: Uint8Array[] = [];
  #random: number;
  log: string[] = [];

  constructor(m: Machine, qemu: Qemu, seed: number) {
    this.m = m;
    this.qemu = qemu;
    this.#random = seed;
    m.sink.onRxReady = () => {
      while (this.#held[0] !== undefined && m.card.receive(this.#held[0])) this.#held.shift();
    };
  }

  static async start({ options, qemu: qemuOptions = {} }: Kind, seed: number): Promise<Pair> {
    const m = new Machine(options);
    const qemu = await Qemu.start(qemuOptions);
    const pair = new Pair(m, qemu, seed);
    await pair.drive();
    return pair;
  }

  /** A fresh driver on both sides. */
  async drive(): Promise<void> {
    const { m, qemu } = this;
    const legacy = m.options.legacy === true;
    // QEMU loses the frame that it keeps for a card when the driver starts: it asks the card a moment too early
    this.#held.shift();
    m.start();
    m.heap = BUFFERS[0];
    m.ram.fill(0, ...BUFFERS);
    for (const [start, end] of [RINGS, BUFFERS]) await qemu.write(start, m.ram.slice(start, end));
    await qemu.drive(m.live.features, m.rings, legacy);
    m.headerBytes = !legacy || m.live.has(F.MRG_RXBUF) ? 12 : 10;
  }

  random(below: number): number {
    this.#random = (Math.imul(this.#random, 1664525) + 1013904223) | 0;
    return (this.#random >>> 9) % below;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.random(list.length)] as T;
  }

  /** Bytes cut into segments; memory of both machines is alike afterwards. */
  async place(bytes: Uint8Array, write: boolean, first = 1): Promise<Segment[]> {
    const { m, qemu } = this;
    const segments: Segment[] = [];
    for (let done = 0; done < bytes.length; ) {
      const most = bytes.length - done;
      const least = done === 0 ? Math.min(first, most) : 1;
      const len = this.random(3) === 0 ? least + this.random(most - least + 1) : most;
      if (m.heap + len > BUFFERS[1]) m.heap = BUFFERS[0];
      const addr = m.put(bytes.subarray(done, done + len));
      await qemu.write(addr, bytes.subarray(done, done + len));
      segments.push({ addr, len, write });
      done += len;
    }
    return segments;
  }

  /** Makes chains available on both sides, and kicks. */
  async offer(queue: number, chains: readonly Segment[][]): Promise<void> {
    const { m, qemu } = this;
    for (const chain of chains) {
      if (m.ring(queue).free.length < chain.length) break;
      m.add(queue, chain);
    }
    // what the driver owns of the ring: not what the device writes
    const { desc, avail, used } = m.ring(queue);
    const end = m.packed ? avail : used;
    await qemu.write(desc, m.ram.slice(desc, m.packed ? end : avail + 4 + 2 * m.ring(queue).size));
    const held = this.#held.length;
    m.driver.kick(queue);
    await qemu.set('notify', queue);
    await qemu.turn(3 + 2 * held);
  }

  frame(): Uint8Array {
    const length = this.pick([14, 15, 17, 60, 60, 60, 64, 300, 1514, 1514, 4000]);
    const bytes = Uint8Array.from({ length }, () => this.random(256));
    bytes.set(fromHex(this.pick(ADDRESSES) + this.pick(ADDRESSES)));
    if (this.random(3) === 0 && length >= 18)
      bytes.set(fromHex(`8100${this.pick(['0005', '0006', '6005'])}`), 12);
    return bytes;
  }

  async step(): Promise<void> {
    const { m, qemu } = this;
    // what QEMU does not take waits in a socket, which holds only so much
    const what = this.#held.length > 8 ? 0 : this.random(8);
    if (what < 2) {
      const count = 1 + this.random(6);
      const chains: Segment[][] = [];
      for (let i = 0; i < count; i++) {
        const size = this.pick([24, 72, 128, 512, 1526, 2048, 2048]);
        // QEMU aborts where the first chain does not hold the header
        chains.push(await this.place(new Uint8Array(size).fill(0xaa), true));
      }
      this.log.push(`offer ${chains.map((chain) => chain.map(({ len }) => len).join('+'))}`);
      await this.offer(0, chains);
    } else if (what < 5) {
      const frame = this.frame();
      this.log.push(`frame ${frame.length} ${hex(frame.subarray(0, 18))}`);
      await qemu.send(frame);
      await qemu.turn(4);
      if (this.#held.length > 0 || !m.card.receive(frame)) this.#held.push(frame);
    } else if (what < 7) {
      const count = 1 + this.random(3);
      const chains: Segment[][] = [];
      for (let i = 0; i < count; i++) {
        const bytes = Uint8Array.from({ length: m.headerBytes + this.pick([1, 14, 60, 1514]) }, () =>
          this.random(256),
        );
        chains.push(await this.place(bytes, false));
      }
      this.log.push(`transmit ${chains.map((chain) => chain.map(({ len }) => len).join('+'))}`);
      await this.offer(1, chains);
    } else {
      await this.randomCommand();
    }
  }

  async randomCommand(): Promise<void> {
    // mostly what decides over the frames to come
    const group = this.random(3) > 0 ? this.random(3) : this.random(7);
    let data: Uint8Array = Uint8Array.from({ length: this.random(12) }, () => this.random(4));
    const command = this.random(group === 0 ? 7 : 3);
    if (group === 0 && this.random(4) > 0) data = Uint8Array.of(this.random(2));
    if (group === 1 && this.random(4) > 0) data = this.table();
    if (group === 1 && command === 1) data = fromHex(this.pick(ADDRESSES)).slice();
    if (group === 2 && this.random(4) > 0)
      data = Uint8Array.of(this.pick([5, 6, 255]), this.pick([0, 0, 15, 16]));
    await this.command(group, command, data);
  }

  async command(group: number, command: number, data: Uint8Array): Promise<void> {
    this.log.push(`command ${group} ${command} ${hex(data)}`);
    const out = await this.place(Uint8Array.of(group, command, ...data), false);
    const into = await this.place(Uint8Array.of(0xee), true);
    await this.offer(this.m.controlQueue, [[...out, ...into]]);
  }

  table(): Uint8Array {
    const list = (count: number): number[] =>
      Array.from({ length: count }, () => [...fromHex(this.pick(ADDRESSES))]).flat();
    const [unicast, multicast] = [this.random(4), this.random(4)];
    const wrong = this.random(6) === 0 ? 1 : 0;
    const most = this.random(8) === 0 ? 66 : 0;
    return Uint8Array.of(
      unicast + wrong,
      0,
      0,
      0,
      ...list(unicast),
      multicast + most,
      0,
      0,
      0,
      ...list(multicast + most),
    );
  }

  /** Every place where they differ. */
  async compare(): Promise<string[]> {
    const { m, qemu } = this;
    let found: string[] = [];
    // QEMU takes its time with frames from outside
    for (let attempt = 0; attempt < 40; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, attempt === 0 ? 4 : 10));
      found = [];
      for (const [start, end] of [RINGS, BUFFERS]) {
        const theirs = await qemu.read(start, end - start);
        for (let i = 0; i < theirs.length && found.length < 20; i++)
          if (theirs[i] !== m.ram[start + i])
            found.push(`0x${(start + i).toString(16)}: ${theirs[i]}, ours ${m.ram[start + i]}`);
      }
      const ours = m.sink.frames.map(hex);
      const theirs = qemu.frames.map(hex);
      if (ours.join() !== theirs.join()) found.push(`sent: ${theirs.length} frames, ours ${ours.length}`);
      if (found.length === 0 || qemu.ended !== undefined) break;
    }
    m.sink.frames.length = 0;
    qemu.frames.length = 0;
    const isr = await qemu.get('isr');
    await qemu.set('isrAck', isr);
    const mine = m.driver.isr;
    m.driver.acknowledge(mine);
    if (isr !== mine) found.push(`isr: ${isr}, ours ${mine}`);
    const status = await qemu.get('status');
    if (status !== m.live.status) found.push(`status: ${status}, ours ${m.live.status}`);
    const config = hex(await qemu.config(m.driver.config.length));
    if (config !== hex(m.config())) found.push(`config: ${config}, ours ${hex(m.config())}`);
    if (qemu.ended !== undefined) found.push(`QEMU ended: ${qemu.ended}`);
    return found;
  }

  /** The driver takes back what was used. */
  collect(): void {
    for (let queue = 0; queue < 3; queue++) this.m.used(queue);
  }
}

describe.runIf(hasQemu)('a real QEMU does the same', () => {
  test.each(KINDS)('$name', { timeout: 300_000 }, async (kind) => {
    const pair = await Pair.start(kind, SEED);
    try {
      for (let step = 0; step < STEPS; step++) {
        await pair.step();
        const found = step % 4 === 3 ? await pair.compare() : [];
        expect({ found, log: found.length > 0 ? pair.log.slice(-12) : [] }).toEqual({ found: [], log: [] });
        if (step % 4 === 3) pair.collect();
        if (step % 60 === 59) await pair.drive();
        // the filter has nothing to say until then
        if (step % 60 === 10) await pair.command(0, 0, Uint8Array.of(0));
      }
      expect(pair.m.faults).toEqual([]);
      const { rxPackets, rxFiltered, txPackets, ctrlCommands } = pair.m.card.counters;
      expect(Math.min(rxPackets, rxFiltered, txPackets, ctrlCommands)).toBeGreaterThan(STEPS / 100);
    } finally {
      pair.qemu.stop();
    }
  });
});

const FAULTS: readonly (readonly [
  string,
  MachineOptions,
  number,
  readonly (readonly [number, boolean])[],
])[] = [
  ['nothing behind the header', {}, 1, [[12, false]]],
  ['a packet to write', {}, 1, [[100, true]]],
  ['a command without an answer', {}, 2, [[8, false]]],
  [
    'half a command',
    {},
    2,
    [
      [1, false],
      [1, true],
    ],
  ],
  ['a receive buffer to read', { without: [F.MRG_RXBUF] }, 0, [[100, false]]],
];

describe.runIf(hasQemu)('a real QEMU breaks the same way', () => {
  test.each(FAULTS)('%s', { timeout: 30_000 }, async (_name, options, queue, segments) => {
    const pair = await Pair.start({ name: '', options: { ...options, net } }, 1);
    try {
      const chain: Segment[] = [];
      for (const [length, write] of segments) {
        const [segment] = await pair.place(new Uint8Array(length), write, length);
        if (segment !== undefined) chain.push(segment);
      }
      await pair.offer(queue, [chain]);
      if (queue === 0) {
        const frame = pair.frame();
        await pair.qemu.send(frame);
        await pair.qemu.turn(4);
        pair.m.card.receive(frame);
      }
      expect(pair.m.faults).toHaveLength(1);
      expect(await pair.compare()).toEqual([]);
      await pair.offer(1, [await pair.place(new Uint8Array(80), false)]);
      expect(await pair.compare()).toEqual([]);
      await pair.drive();
      await pair.offer(1, [await pair.place(new Uint8Array(80), false)]);
      expect(await pair.compare()).toEqual([]);
    } finally {
      pair.qemu.stop();
    }
  });
});
