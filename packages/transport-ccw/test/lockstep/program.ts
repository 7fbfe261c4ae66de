import type { CcwDevice } from '../../src/index.ts';
import type { Operation } from './qemu-machine.ts';
import { Random } from './random.ts';

export const RAM_BYTES = 64 << 20;
/** Memory that is compared: everything that instructions and programs work on. */
export const REGION = { from: 0x10000, to: 0x18000 } as const;
const AT = {
  operand: 0x10000,
  program: 0x11000,
  /** Where a TIC leads to. */
  second: 0x11040,
  /** A piece for each command. */
  data: 0x12000,
  list: 0x13000,
  indicators: 0x14000,
  blocks: 0x15000,
} as const;
/** From one device's program to the next one's. */
const PROGRAM_BYTES = 0x100;
const DATA_BYTES = 0x100;
const COMMANDS = 4;
const CC = 0x40;
const SLI = 0x20;
const SKIP = 0x10;
const IDA = 0x04;
const TIC = 0x08;
const REVISION = 0x83;
const VIRTIO = [
  0x11,
  0x11,
  0x12,
  0x12,
  0x13,
  0x13,
  0x21,
  0x22,
  0x31,
  0x31,
  0x32,
  0x33,
  0x43,
  0x53,
  0x72,
  0x73,
  REVISION,
];
const BASIC = [0x03, 0x04, 0xe4];
const INVALID = [0x00, 0x10, 0x18, 0x1f, 0x77, 0xff];

export interface Write {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** What the guest does: writes into memory, then one instruction. */
export interface Action {
  readonly operation: Operation;
  readonly writes: readonly Write[];
}

interface Ccw {
  readonly code: number;
  readonly flags: number;
  readonly count: number;
  readonly cda: number;
}

/** What a random guest does. The same seed does the same, as long as the devices do. */
export class Program {
  readonly #devices: readonly CcwDevice[];
  readonly #random: Random;
  /** Whose status is looked at next. */
  #started: number | undefined;

  constructor(seed: number, devices: readonly CcwDevice[]) {
    this.#random = new Random(seed);
    this.#devices = devices;
  }

  next(): Action {
    const random = this.#random;
    const started = this.#started;
    this.#started = undefined;
    if (started !== undefined && random.chance(0.7)) return this.#test(0x10000 + started, AT.operand);
    const device = random.below(this.#devices.length);
    const own = 0x10000 + device;
    const id = random.chance(0.04)
      ? random.pick([0, 0x10005, 0x30000, 0xfe090000 + device, 0x01090000])
      : own;
    const at = random.chance(0.04)
      ? random.pick([AT.operand + 2, RAM_BYTES, RAM_BYTES - 32, 0x7fff0000])
      : AT.operand;
    const roll = random.below(100);
    if (roll < 55) {
      this.#started = device;
      return this.#start(device, id, at);
    }
    if (roll < 65) return this.#test(id, at);
    if (roll < 80) return this.#modify(id, at);
    if (roll < 84) return { operation: { op: 'stsch', r1: id, r2: at }, writes: [] };
    if (roll < 88) return { operation: { op: 'tpi', r1: 0, r2: random.pick([0, at]) }, writes: [] };
    if (roll < 89) return { operation: { op: 'stcrw', r1: 0, r2: at }, writes: [] };
    if (roll < 92) return this.#notify(device);
    const op = random.pick(['csch', 'hsch', 'rsch', 'rsch', 'xsch'] as const);
    return { operation: { op, r1: id, r2: 0 }, writes: [] };
  }

  /** For the message of a failure. */
  tell({ op, r1, r2, r3 }: Operation, ram: Uint8Array): string {
    const numbers = [r1, r2, r3 ?? 0].map((value) => value.toString(16)).join(' ');
    if (op !== 'ssch') return `${op} ${numbers}`;
    const hex = (from: number, length: number): string =>
      Buffer.from(ram.subarray(from, from + length)).toString('hex');
    const data = Array.from({ length: COMMANDS }, (_, i) => hex(AT.data + DATA_BYTES * i, 33));
    return `${op} ${numbers} orb ${hex(AT.operand, 12)} program ${hex(AT.program + PROGRAM_BYTES * (r1 & 3), 32)} data ${data.join(' ')}`;
  }

  #test(id: number, at: number): Action {
    return { operation: { op: 'tsch', r1: id, r2: at }, writes: [] };
  }

  /** MODIFY SUBCHANNEL: most of the time enabled, with concurrent sense or without. */
  #modify(id: number, at: number): Action {
    const random = this.#random;
    const schib = Buffer.alloc(52);
    schib.writeUInt32BE(random.word(), 0);
    const enabled = random.chance(0.7) ? 0x80 : 0;
    const odd = random.chance(0.05) ? random.below(0x10000) : 0;
    schib.writeUInt16BE((random.below(8) << 11) | enabled | odd, 4);
    schib.writeUInt8(random.chance(0.9) ? 0x80 : random.below(256), 8);
    for (let i = 9; i < 24; i++) schib[i] = random.below(256);
    schib.writeUInt32BE(random.chance(0.95) ? random.below(2) : random.word(), 24);
    if (random.chance(0.1)) schib.writeUInt32BE(random.word(), 44);
    return { operation: { op: 'msch', r1: id, r2: at }, writes: [{ at: AT.operand, bytes: schib }] };
  }

  /** DIAGNOSE: queues that there are, and nothing in them. */
  #notify(device: number): Action {
    const random = this.#random;
    const empty = this.#devices[device]?.device.queue(0)?.desc === 0n;
    const [r2, r3] =
      empty && random.chance(0.6)
        ? ([0x10000 + device, 0] as const)
        : random.pick([
            [0, 0],
            [0x10007, 0],
            [0x10000, 1024],
            [0x30000, 0],
          ] as const);
    return { operation: { op: 'diagnose500', r1: random.pick([3, 3, 3, 7]), r2, r3 }, writes: [] };
  }

  /** START SUBCHANNEL with a channel program. */
  #start(device: number, id: number, at: number): Action {
    const random = this.#random;
    const format1 = random.chance(0.85);
    // of a device always the same: a suspended program may go on after another was written over it
    const wide = device !== 1;
    const place = PROGRAM_BYTES * device;
    const writes: Write[] = [
      { at: AT.operand, bytes: this.#orb(format1, wide, AT.program + place) },
      ...this.#lists(),
    ];
    const program = Buffer.alloc(8 * COMMANDS);
    const put = (target: Buffer, index: number, ccw: Ccw): void => writeCcw(target, 8 * index, format1, ccw);
    const add = (index: number, chain: number): Ccw => {
      const { ccw, data } = this.#command(device, index, chain, wide);
      writes.push({ at: AT.data + DATA_BYTES * index, bytes: data });
      return ccw;
    };
    const unset = (this.#devices[device]?.revision ?? 0) < 0;
    const count = unset ? 1 : 1 + random.below(COMMANDS);
    const tic = !unset && random.chance(0.15);
    for (let i = 0; i < count; i++) {
      const last = i === count - 1;
      if (last && tic) {
        const flags = random.chance(0.1) ? SLI : 0;
        put(program, i, { code: TIC, flags, count: 0, cda: AT.second + place });
      } else put(program, i, add(i, last ? 0 : CC));
    }
    if (tic) {
      const second = Buffer.alloc(8);
      put(second, 0, add(COMMANDS - 1, 0));
      // a TIC to a TIC
      if (random.chance(0.1)) put(second, 0, { code: TIC, flags: 0, count: 0, cda: AT.program + place });
      writes.push({ at: AT.second + place, bytes: second });
    }
    writes.push({ at: AT.program + place, bytes: program });
    return { operation: { op: 'ssch', r1: id, r2: at }, writes };
  }

  #orb(format1: boolean, wide: boolean, program: number): Uint8Array {
    const random = this.#random;
    const orb = Buffer.alloc(12);
    orb.writeUInt32BE(random.word(), 0);
    const format = (format1 ? 0x80 : 0) | (wide ? 2 : 0) | random.below(2);
    const other = (random.below(16) << 12) | ((random.below(16) << 5) & 0x360);
    const suspend = random.chance(0.3) ? 0x800 : 0;
    orb.writeUInt16BE(format | other | suspend | (random.chance(0.02) ? 4 : 0), 4);
    orb.writeUInt8(random.chance(0.97) ? 0x80 | random.below(256) : random.below(128), 6);
    orb.writeUInt8(random.chance(0.97) ? random.pick([0, 0x80, 1]) : random.below(256), 7);
    const wrong = [0, program + 4, 0x80000000, RAM_BYTES, 0x01011000, 0x7ffffff8];
    orb.writeUInt32BE(random.chance(0.97) ? program : random.pick(wrong), 8);
    return orb;
  }

  /** A list of indirect addresses. No data runs over the end of a block: QEMU moves the wrong bytes there. */
  #lists(): Write[] {
    const random = this.#random;
    const list = Buffer.alloc(32);
    const first = AT.blocks + random.pick([0, 8, 100, 1024]);
    list.writeBigUInt64BE(BigInt(first), 0);
    list.writeBigUInt64BE(BigInt(random.chance(0.9) ? 0x17000 : 0x7000_0000), 8);
    list.writeBigUInt64BE(0x16000n, 16);
    const block = Uint8Array.from({ length: 16 }, () => random.below(4));
    return [
      { at: AT.list, bytes: list },
      { at: first, bytes: block },
    ];
  }

  /** A command, with the data that it wants. */
  #command(device: number, index: number, chain: number, wide: boolean): { ccw: Ccw; data: Buffer } {
    const random = this.#random;
    const unset = (this.#devices[device]?.revision ?? 0) < 0 && random.chance(0.7);
    const kind = random.chance(0.95) ? (random.chance(0.12) ? BASIC : VIRTIO) : INVALID;
    const code = unset ? REVISION : random.pick(kind);
    const data = Buffer.alloc(64);
    const length = this.#fill(device, code, data);
    let count = length;
    let flags = chain;
    const sometimes = (share: number, flag: number): number => (random.chance(share) ? flag : 0);
    flags |= sometimes(0.25, SLI);
    if (random.chance(0.12)) count = Math.max(0, length + random.pick([-1, 1, 3, -length]));
    flags |= sometimes(0.03, 0x80) | sometimes(0.03, 0x08) | sometimes(0.03, 0x02) | sometimes(0.01, 0x01);
    // what QEMU reads with SKIP is not what is there
    if (code !== 0x12 && code !== 0x32) flags |= sometimes(0.05, SKIP);
    let cda: number = AT.data + DATA_BYTES * index;
    // where sense cannot be stored, QEMU 7.2 says that it was
    const movable = code !== 0x04 && code !== 0xe4;
    // and QEMU's configuration space takes zeros from where there is no memory
    if (movable && code !== 0x21 && random.chance(0.06)) cda = random.pick([0, RAM_BYTES, 0x7fff_fff0]);
    // indirect addresses of format 1 always fail in a little-endian QEMU; and for adapter interrupts, what stands there
    // would be bits that no memory has
    if (movable && wide && code !== 0x73 && code !== 0x21 && random.chance(0.4)) {
      flags |= IDA;
      cda = random.chance(0.95) ? AT.list : AT.list + 4;
    }
    return { ccw: { code, flags, count, cda }, data };
  }

  /** Puts a command's data in place, and says how long it is. */
  #fill(device: number, code: number, data: Buffer): number {
    const random = this.#random;
    const address = BigInt(AT.indicators + 8 * random.below(64));
    switch (code) {
      case 0x04:
        return 32;
      case 0xe4:
        return 256;
      case 0x11:
        data.writeUInt32LE(random.pick([0, 1, 1, 0x10000000, 0x30000a54, random.word()]), 0);
        data[4] = random.pick([0, 0, 1, 1, 2]);
        // VERSION_1, mostly
        if (data[4] === 1 && random.chance(0.8)) data.writeUInt32LE(1, 0);
        return 5;
      case 0x12:
        data[4] = random.below(4);
        return 5;
      case 0x13:
        return this.#queue(device, data);
      case 0x21:
      case 0x22:
        data[32] = random.below(2);
        return random.pick([60, 60, 33, 8, 12, 100]);
      case 0x31:
        data[0] = random.pick([0, 1, 3, 3, 7, 0x0b, 0x0b, 0x0f, 0x0f, 0x80, random.below(256)]);
        return 1;
      case 0x32:
        data.writeUInt16BE(random.pick([0, 0, 1, 1023, 1024, 0xffff]), 0);
        return 4;
      case 0x43:
      case 0x53:
        data.writeBigUInt64BE(random.chance(0.95) ? address : 0x7000_0000n, 0);
        return 8;
      case 0x72:
        return 1;
      case 0x73:
        data.writeBigUInt64BE(BigInt(AT.indicators + 0x400), 0);
        data.writeBigUInt64BE(address, 8);
        data.writeBigUInt64BE(BigInt(random.below(100)), 16);
        data[24] = random.below(8);
        return 25;
      case REVISION:
        data.writeUInt16BE(random.pick([0, 1, 2, 2, 2, 3]), 0);
        data.writeUInt16BE(random.chance(0.9) ? 0 : 3, 2);
        return 4;
      default:
        return random.pick([0, 1]);
    }
  }

  #queue(device: number, data: Buffer): number {
    const random = this.#random;
    const index = random.pick([0, 0, 0, 1, 2, 1023, 1024]);
    const place = random.chance(0.3) ? 0 : 0x20000 + 0x1000 * random.below(16);
    data.writeBigUInt64BE(BigInt(place), 0);
    data.writeUInt16BE(index, 12);
    data.writeUInt16BE(random.pick([256, 256, 64, 16, 255, 257, 0]), 14);
    if ((this.#devices[device]?.revision ?? 0) < 1) {
      data.writeUInt32BE(random.chance(0.9) ? 4096 : 64, 8);
      return 16;
    }
    data.writeUInt32BE(random.word(), 8);
    // over the end of memory, behind it, or where it is
    const avail = random.chance(0.1) ? RAM_BYTES - random.pick([0x100, 0x100, 0, -0x1000]) : place + 0x20000;
    data.writeBigUInt64BE(BigInt(avail), 16);
    data.writeBigUInt64BE(BigInt(place + 0x40000), 24);
    return 32;
  }
}

function writeCcw(target: Buffer, at: number, format1: boolean, { code, flags, count, cda }: Ccw): void {
  if (format1) {
    target.writeUInt8(code, at);
    target.writeUInt8(flags, at + 1);
    target.writeUInt16BE(count, at + 2);
    target.writeUInt32BE(cda, at + 4);
    return;
  }
  target.writeUInt32BE(((code << 24) | (cda & 0xffffff)) >>> 0, at);
  target.writeUInt8(flags, at + 4);
  target.writeUInt16BE(count, at + 6);
}
