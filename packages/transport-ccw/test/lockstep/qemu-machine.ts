import { existsSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { delay, type Qemu } from '@virtkit/lab';
import type { InstructionEnding } from '../../src/index.ts';
import { conditionCode, Gdb } from '../record/rsp.ts';

/** I/O instructions of a machine, with registers as the guest's program has them. */
export interface Operation {
  readonly op:
    | 'ssch'
    | 'msch'
    | 'stsch'
    | 'tsch'
    | 'stcrw'
    | 'tpi'
    | 'csch'
    | 'hsch'
    | 'rsch'
    | 'xsch'
    | 'diagnose500';
  /** General register 1: a subchannel id word, or the subcode of DIAGNOSE. */
  readonly r1: number;
  /** General register 2: the operand's address, or the subchannel id word of DIAGNOSE. */
  readonly r2: number;
  /** General register 3. */
  readonly r3?: number;
}

/** The instruction's ending; for DIAGNOSE what register 2 became. */
export type Ending = InstructionEnding | number;

/** All with operand address in register 2 and no displacement. */
const CODE: Readonly<Record<Operation['op'], number>> = {
  csch: 0xb2300000,
  hsch: 0xb2310000,
  msch: 0xb2322000,
  ssch: 0xb2332000,
  stsch: 0xb2342000,
  tsch: 0xb2352000,
  tpi: 0xb2362000,
  rsch: 0xb2380000,
  stcrw: 0xb2392000,
  xsch: 0xb2760000,
  diagnose500: 0x83240500,
};
/** LCTLG 6,6,0(2) */
const LOAD_CR6 = [0xeb, 0x66, 0x20, 0x00, 0x00, 0x2f];
const CODE_AT = 0x8000;
const CR6_AT = 0x8800;
const HANDLER = 0x9000;
/** Low core: program new PSW, and the interruption's code. */
const PROGRAM_NEW_PSW = 0x1d0;
const PROGRAM_CODE = 0x8e;
/** 64-bit mode, supervisor, no interrupts, no address translation. */
const PSW_MASK = 0x0000_0001_8000_0000n;
const EXCEPTIONS: Readonly<Record<number, InstructionEnding>> = {
  5: 'addressing',
  6: 'specification',
  21: 'operand',
};

/** A real QEMU whose only CPU executes one I/O instruction at a time, on memory that is shared with us. */
export class QemuMachine {
  readonly #gdb: Gdb;
  readonly #ram: number;

  private constructor(gdb: Gdb, ram: number) {
    this.#gdb = gdb;
    this.#ram = ram;
  }

  /** @param vm started stopped, with its gdbstub at `gdb.sock` */
  static async create(vm: Qemu): Promise<QemuMachine> {
    const socket = join(vm.dir, 'gdb.sock');
    while (!existsSync(socket)) await delay(20);
    const machine = new QemuMachine(await Gdb.connect(socket), openSync(join(vm.dir, 'ram.img'), 'r+'));
    await machine.#prepare();
    return machine;
  }

  async #prepare(): Promise<void> {
    const psw = Buffer.alloc(16);
    psw.writeBigUInt64BE(PSW_MASK, 0);
    psw.writeBigUInt64BE(BigInt(HANDLER), 8);
    this.write(PROGRAM_NEW_PSW, psw);
    Object.values(CODE).forEach((code, index) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(code);
      this.write(CODE_AT + 16 * index, bytes);
    });
    // all interruption subclasses, for TPI
    this.write(CR6_AT, Buffer.from('00000000ff000000', 'hex'));
    this.write(CR6_AT + 16, Uint8Array.from(LOAD_CR6));
    await this.#run(CR6_AT + 16, [0n, BigInt(CR6_AT)]);
  }

  close(): void {
    this.#gdb.close();
  }

  write(at: number, bytes: Uint8Array): void {
    writeSync(this.#ram, bytes, 0, bytes.length, at);
  }

  read(at: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    readSync(this.#ram, bytes, 0, length, at);
    return bytes;
  }

  async execute({ op, r1, r2, r3 = 0 }: Operation): Promise<Ending> {
    const index = Object.keys(CODE).indexOf(op);
    // bits that must not matter
    const junk = 0xdead_beef_0000_0000n;
    const low = (value: number): bigint => BigInt(value >>> 0);
    const registers =
      op === 'diagnose500' ? [low(r1), junk | low(r2), BigInt(r3)] : [junk | low(r1), BigInt(r2), junk];
    return this.#run(CODE_AT + 16 * index, registers, op === 'diagnose500');
  }

  /** One instruction, with general registers from 1 on. */
  async #run(at: number, registers: readonly bigint[], answer = false): Promise<Ending> {
    const general = Array.from({ length: 16 }, (_, index) => registers[index - 1] ?? 0n);
    await this.#gdb.setRegisters({ mask: PSW_MASK, address: at, general });
    await this.#gdb.step();
    const after = await this.#gdb.registers();
    const { address, mask } = after;
    if (address === HANDLER) {
      const code = Buffer.from(this.read(PROGRAM_CODE, 2)).readUInt16BE(0);
      const name = EXCEPTIONS[code];
      if (name === undefined) throw new Error(`program interruption 0x${code.toString(16)}`);
      return name;
    }
    return answer ? Number(BigInt.asIntN(64, after.general[2] ?? 0n)) : conditionCode(mask);
  }
}
