// A real QEMU with a virtio-net on its memory-mapped transport, driven through its registers by the qtest protocol. The network
// is a pair of UDP sockets: a datagram is a frame.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import dgram from 'node:dgram';
import fs from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MAC } from './machine.ts';

const PROGRAM = 'qemu-system-x86_64';
export const hasQemu: boolean = spawnSync(PROGRAM, ['--version']).status === 0;

/** Registers of virtio-mmio. Virtio 1.3 §4.2.2 */
const REGISTER = {
  hostFeatures: 0x10,
  hostFeaturesSelect: 0x14,
  features: 0x20,
  featuresSelect: 0x24,
  pageSize: 0x28,
  queueSelect: 0x30,
  queueNum: 0x38,
  queueAlign: 0x3c,
  queuePfn: 0x40,
  queueReady: 0x44,
  notify: 0x50,
  isr: 0x60,
  isrAck: 0x64,
  status: 0x70,
  queueDesc: 0x80,
  queueAvail: 0x90,
  queueUsed: 0xa0,
  config: 0x100,
} as const;

const MAGIC = 0x74726976;
const SLOTS_AT = 0xfeb00000;
const SLOT_BYTES = 0x200;
const SLOTS = 32;

export interface QemuOptions {
  readonly legacy?: boolean;
  /** `mrg_rxbuf=off,…` */
  readonly properties?: string;
}

/** Where a queue is. */
export interface Place {
  readonly size: number;
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
}

export class Qemu {
  /** Frames that came out of it. */
  readonly frames: Uint8Array[] = [];
  readonly #child: ChildProcess;
  readonly #socket: net.Socket;
  readonly #wire: dgram.Socket;
  readonly #port: number;
  readonly #waiting: ((line: string) => void)[] = [];
  #text = '';
  #base = 0;
  /** Why it is gone. */
  ended: string | undefined;

  private constructor(child: ChildProcess, socket: net.Socket, wire: dgram.Socket, port: number) {
    this.#child = child;
    this.#socket = socket;
    this.#wire = wire;
    this.#port = port;
    let errors = '';
    child.stderr?.on('data', (data) => {
      errors += String(data);
    });
    const end = (): void => {
      this.ended = errors;
      for (const resolve of this.#waiting.splice(0)) resolve('gone');
    };
    child.once('exit', end);
    socket.on('error', end);
    socket.on('data', (data) => {
      this.#text += String(data);
      const lines = this.#text.split('\n');
      this.#text = lines.pop() ?? '';
      for (const line of lines) if (!line.startsWith('IRQ')) this.#waiting.shift()?.(line);
    });
    wire.on('message', (bytes) => this.frames.push(Uint8Array.from(bytes)));
  }

  static async start({ legacy = false, properties = '' }: QemuOptions): Promise<Qemu> {
    const dir = fs.mkdtempSync(join(tmpdir(), 'virtkit-net-'));
    // a CPU that sleeps: hlt at the reset vector
    const firmware = new Uint8Array(65536).fill(0xf4);
    firmware.set([0xfa, 0xf4, 0xeb, 0xfd], 65536 - 16);
    fs.writeFileSync(join(dir, 'firmware'), firmware);
    const [wire, spare] = [dgram.createSocket('udp4'), dgram.createSocket('udp4')];
    const bound = async (socket: dgram.Socket): Promise<number> => {
      await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
      return socket.address().port;
    };
    const [ours, theirs] = [await bound(wire), await bound(spare)];
    await new Promise<void>((resolve) => spare.close(() => resolve()));
    const server = net.createServer();
    const connected = new Promise<net.Socket>((resolve) => server.once('connection', resolve));
    await new Promise<void>((resolve) => server.listen(join(dir, 'qtest'), resolve));
    const machine = '-M microvm,rtc=off,pit=off,pic=off -accel tcg -m 16M -display none -nodefaults';
    const rest = `-no-user-config -bios firmware -qtest unix:qtest -qtest-log none -global virtio-mmio.force-legacy=${legacy ? 'on' : 'off'}`;
    const more = properties === '' ? '' : `,${properties}`;
    const child = spawn(
      PROGRAM,
      [
        ...`${machine} ${rest}`.split(' '),
        '-netdev',
        `socket,id=n0,udp=127.0.0.1:${ours},localaddr=127.0.0.1:${theirs}`,
        '-device',
        `virtio-net-device,netdev=n0,mac=${MAC}${more}`,
      ],
      { cwd: dir, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    child.once('exit', () => fs.rmSync(dir, { recursive: true, force: true }));
    const qemu = new Qemu(child, await connected, wire, theirs);
    server.close();
    for (let slot = 0; slot < SLOTS; slot++) {
      const at = SLOTS_AT + slot * SLOT_BYTES;
      if ((await qemu.#load(at)) === MAGIC && (await qemu.#load(at + 8)) === 1) qemu.#base = at;
    }
    if (qemu.#base === 0) throw new Error(`no virtio-net found; ${qemu.ended ?? ''}`);
    return qemu;
  }

  stop(): void {
    this.#child.kill();
    this.#wire.close();
    this.#socket.destroy();
  }

  send(frame: Uint8Array): Promise<void> {
    return new Promise((resolve) => this.#wire.send(frame, this.#port, '127.0.0.1', () => resolve()));
  }

  /** Lets it look at its sockets so many times: it reads a frame each time. */
  async turn(times: number): Promise<void> {
    for (let i = 0; i < times; i++) await this.get('status');
  }

  #ask(command: string): Promise<string> {
    if (this.ended !== undefined) return Promise.resolve('gone');
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#socket.write(`${command}\n`);
    });
  }

  async #load(at: number): Promise<number> {
    return Number((await this.#ask(`readl ${at}`)).split(' ')[1]);
  }

  get(register: keyof typeof REGISTER): Promise<number> {
    return this.#load(this.#base + REGISTER[register]);
  }

  async set(register: keyof typeof REGISTER, value: number, offset = 0): Promise<void> {
    await this.#ask(`writel ${this.#base + REGISTER[register] + offset} ${value >>> 0}`);
  }

  async config(length: number): Promise<Uint8Array> {
    const bytes: number[] = [];
    for (let i = 0; i < length; i++)
      bytes.push(Number((await this.#ask(`readb ${this.#base + REGISTER.config + i}`)).split(' ')[1]));
    return Uint8Array.from(bytes);
  }

  /** From reset to DRIVER_OK. */
  async drive(features: bigint, places: readonly Place[], legacy: boolean): Promise<void> {
    for (const status of [0, 1, 3]) await this.set('status', status);
    for (const half of [0, 1]) {
      await this.set('featuresSelect', half);
      await this.set('features', Number((features >> BigInt(32 * half)) & 0xffffffffn));
    }
    if (legacy) await this.set('pageSize', 4096);
    else await this.set('status', 11);
    for (const [index, { size, desc, avail, used }] of places.entries()) {
      await this.set('queueSelect', index);
      await this.set('queueNum', size);
      if (legacy) {
        await this.set('queueAlign', 4096);
        await this.set('queuePfn', desc / 4096);
        continue;
      }
      for (const [register, at] of [
        ['queueDesc', desc],
        ['queueAvail', avail],
        ['queueUsed', used],
      ] as const) {
        await this.set(register, at);
        await this.set(register, 0, 4);
      }
      await this.set('queueReady', 1);
    }
    await this.set('status', legacy ? 7 : 15);
  }

  async write(at: number, bytes: Uint8Array): Promise<void> {
    await this.#ask(`b64write ${at} ${bytes.length} ${Buffer.from(bytes).toString('base64')}`);
  }

  async read(at: number, length: number): Promise<Uint8Array> {
    const text = (await this.#ask(`b64read ${at} ${length}`)).split(' ')[1] ?? '';
    return Uint8Array.from(Buffer.from(text, 'base64'));
  }
}
