import { type DeviceEvent, type DeviceModel, type Gpa, MappedMemory } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import {
  CcwDevice,
  type CcwOptions,
  ChannelSubsystem,
  type ChannelSubsystemOptions,
  type InstructionEnding,
} from '../src/index.ts';

export const RAM_BYTES = 1 << 20;
/** Subchannel 0 of set 0. */
export const FIRST = 0x10000;
export const ALL_SUBCLASSES = 0xff000000;
/** Where the guest has things. */
export const AT = { operand: 0x1000, program: 0x2000, data: 0x3000, list: 0x4000, classic: 0x5000 } as const;

export const SLI = 0x20;
export const CC = 0x40;
export const DC = 0x80;
export const IDA = 0x04;
export const SKIP = 0x10;
export const SUSPEND = 0x02;
/** ORB, first control halfword. */
export const FMT1 = 0x0080;
export const C64 = 0x0002;
export const I2K = 0x0001;
export const SPND = 0x0800;

export interface Command {
  readonly code: number;
  readonly flags?: number;
  readonly count?: number;
  readonly cda?: number;
}

/** An interruption response block. */
export interface Irb {
  readonly cc: InstructionEnding;
  readonly flags: number;
  readonly fctl: number;
  readonly actl: number;
  readonly stctl: number;
  readonly cpa: number;
  readonly dstat: number;
  readonly cstat: number;
  readonly count: number;
  readonly erw: number;
  readonly sense: Uint8Array;
}

/** How a program ended, as the tables of tests say it. */
export type Ended = 'done' | 'reject' | 'check' | 'none';

/** A guest without a kernel: memory, a channel subsystem, and one disk. */
export class Guest {
  readonly ram: Uint8Array = new Uint8Array(RAM_BYTES);
  readonly memory: MappedMemory = new MappedMemory([{ gpa: 0, bytes: this.ram }]);
  readonly view: DataView = new DataView(this.ram.buffer);
  readonly css: ChannelSubsystem;
  readonly ccw: CcwDevice;
  readonly events: DeviceEvent[] = [];

  constructor(
    options: Partial<CcwOptions> = {},
    model: DeviceModel = disk(),
    css: Omit<ChannelSubsystemOptions, 'memory'> = {},
  ) {
    const { memory } = this;
    this.css = new ChannelSubsystem({ memory, ...css });
    this.ccw = new CcwDevice(model, {
      memory,
      host: this.css,
      devno: 1,
      onEvent: (event) => this.events.push(event),
      ...options,
    });
    this.css.attach(this.ccw);
  }

  /** Enables the subchannel, with concurrent sense and subclass 3. */
  enable(chars = 1): this {
    this.msch(0x1880, chars);
    return this;
  }

  msch(flags: number, chars = 1, intparm = 0xabcd): InstructionEnding {
    this.view.setUint32(AT.operand, intparm);
    this.view.setUint16(AT.operand + 4, flags);
    this.ram.fill(0, AT.operand + 6, AT.operand + 52);
    this.ram[AT.operand + 8] = 0x80;
    this.view.setUint32(AT.operand + 24, chars);
    return this.css.msch(FIRST, AT.operand);
  }

  /** Writes channel commands of format 1. */
  program(commands: readonly Command[], at: number = AT.program): void {
    commands.forEach(({ code, flags = 0, count = 0, cda = AT.data }, index) => {
      const place = at + 8 * index;
      this.view.setUint8(place, code);
      this.view.setUint8(place + 1, flags);
      this.view.setUint16(place + 2, count);
      this.view.setUint32(place + 4, cda);
    });
  }

  /** START SUBCHANNEL. */
  start(ctrl0 = FMT1, { cpa = AT.program as number, lpm = 0xff, ctrl1 = 0 } = {}): InstructionEnding {
    this.view.setUint32(AT.operand, 0x1234);
    this.view.setUint16(AT.operand + 4, ctrl0);
    this.view.setUint8(AT.operand + 6, lpm);
    this.view.setUint8(AT.operand + 7, ctrl1);
    this.view.setUint32(AT.operand + 8, cpa);
    return this.css.ssch(FIRST, AT.operand);
  }

  /** TEST SUBCHANNEL. */
  tsch(): Irb {
    const at = AT.operand;
    const cc = this.css.tsch(FIRST, at);
    const { view } = this;
    const ctrl = view.getUint16(at + 2);
    return {
      cc,
      flags: view.getUint16(at),
      fctl: ctrl & 0x7000,
      actl: ctrl & 0x0fe0,
      stctl: ctrl & 0x001f,
      cpa: view.getUint32(at + 4),
      dstat: view.getUint8(at + 8),
      cstat: view.getUint8(at + 9),
      count: view.getUint16(at + 10),
      erw: view.getUint32(at + 16),
      sense: this.ram.slice(at + 32, at + 64),
    };
  }

  /** Runs commands and takes the status. */
  run(commands: readonly Command[], ctrl0 = FMT1): Irb {
    this.program(commands);
    this.start(ctrl0);
    this.css.interrupts.clear();
    return this.tsch();
  }

  /** Runs one command on data at the usual place. */
  command(code: number, data: readonly number[] | Uint8Array, more: Partial<Command> = {}): Irb {
    this.ram.set(data, AT.data);
    return this.run([{ code, count: data.length, ...more }]);
  }

  data(length: number): number[] {
    return [...this.ram.subarray(AT.data, AT.data + length)];
  }

  /** Sets a revision. */
  revision(revision: number): Irb {
    return this.command(0x83, [0, revision, 0, 0]);
  }

  /** Two-stage indicators, subclass 2, at bit `bit`; summary byte at `0x5100`. */
  adapterIndicators(bit = 0): Irb {
    const block = new Uint8Array(25);
    const view = new DataView(block.buffer);
    view.setBigUint64(0, 0x5100n);
    view.setBigUint64(8, BigInt(AT.classic));
    view.setBigUint64(16, BigInt(bit));
    view.setUint8(24, 2);
    return this.command(0x73, block);
  }

  /** Pending interrupts, taken in their order. */
  interrupts() {
    const taken = [];
    for (let next = this.css.interrupts.take(ALL_SUBCLASSES); next !== undefined; ) {
      taken.push(next);
      next = this.css.interrupts.take(ALL_SUBCLASSES);
    }
    return taken;
  }

  read(gpa: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.memory.read(gpa as Gpa, bytes);
    return bytes;
  }
}

export function disk(): DeviceModel {
  return new BlkDevice({ backend: memoryDisk(1 << 20) }) as DeviceModel;
}

/** How the status says that a program ended. */
export function endOf({ cc, dstat, cstat }: Irb): Ended {
  if (cc !== 0) return 'none';
  if ((cstat & 0x20) !== 0) return 'check';
  if ((dstat & 0x02) !== 0) return 'reject';
  return dstat === 0x0c ? 'done' : 'none';
}
