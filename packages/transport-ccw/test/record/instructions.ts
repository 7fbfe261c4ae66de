/** How each I/O instruction is recorded: operands before, one step, what has changed after. */
import type { Bytes, DataArea, Step } from './format.ts';
import { conditionCode, type Gdb, type Registers } from './rsp.ts';

/** By the function that has the instruction in Linux: its first two bytes. */
export const OPCODES: ReadonlyMap<string, number> = new Map([
  ['csch', 0xb230],
  ['hsch', 0xb231],
  ['msch', 0xb232],
  ['ssch', 0xb233],
  ['stsch', 0xb234],
  ['tsch', 0xb235],
  ['tpi', 0xb236],
  ['rsch', 0xb238],
  ['stcrw', 0xb239],
  ['xsch', 0xb276],
  ['chsc', 0xb25f],
  ['virtio_ccw_kvm_notify', 0x8324],
]);

export interface Instruction {
  readonly name: string;
  /** The instruction has been executed when this is over. */
  record(gdb: Gdb, registers: Registers): Promise<Step>;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const low = (value: bigint | undefined): number => Number((value ?? 0n) & 0xffffffffn);
/** Low core: I/O interruption code. */
const IO_CODE = 0xb8;

export const INTERRUPT: Instruction = {
  name: 'interrupt',
  record: async (gdb) => {
    const code = hex(await gdb.read(IO_CODE, 12));
    await gdb.step();
    return { op: 'interrupt', code };
  },
};

/** The instruction in these four bytes. */
export function instructionAt(name: string, code: Uint8Array): Instruction {
  const base = (code[2] ?? 0) >> 4;
  const displacement = (((code[2] ?? 0) & 0x0f) << 8) | (code[3] ?? 0);
  const operand = ({ general }: Registers): number =>
    Number(base === 0 ? 0n : (general[base] ?? 0n)) + displacement;
  const stepped = async (gdb: Gdb): Promise<number> => {
    await gdb.step();
    return conditionCode((await gdb.registers()).mask);
  };
  const recorders: Record<string, Instruction['record']> = {
    ssch: (gdb, registers) => recordProgram(gdb, registers, operand(registers)),
    msch: async (gdb, registers) => {
      const schib = hex(await gdb.read(operand(registers), 52));
      return { op: 'msch', id: low(registers.general[1]), cc: await stepped(gdb), schib };
    },
    stsch: async (gdb, registers) => {
      const cc = await stepped(gdb);
      const schib = cc === 3 ? undefined : hex(await gdb.read(operand(registers), 52));
      return { op: 'stsch', id: low(registers.general[1]), cc, ...(schib !== undefined && { schib }) };
    },
    tsch: async (gdb, registers) => {
      const cc = await stepped(gdb);
      const irb = cc === 3 ? undefined : hex(await gdb.read(operand(registers), 64));
      return { op: 'tsch', id: low(registers.general[1]), cc, ...(irb !== undefined && { irb }) };
    },
    tpi: async (gdb, registers) => {
      const at = operand(registers);
      const cc = await stepped(gdb);
      const code = cc === 0 ? undefined : hex(await gdb.read(at === 0 ? IO_CODE : at, at === 0 ? 12 : 8));
      return { op: 'tpi', cc, ...(code !== undefined && { code }) };
    },
    stcrw: async (gdb, registers) => {
      const cc = await stepped(gdb);
      return { op: 'stcrw', cc, crw: hex(await gdb.read(operand(registers), 4)) };
    },
    chsc: async (gdb, registers) => {
      // register operand: bits 24 to 27 of the instruction
      const at = Number(registers.general[(code[3] ?? 0) >> 4]);
      const request = Buffer.from(await gdb.read(at, 16));
      await gdb.step();
      const response = Buffer.from(await gdb.read(at + request.readUInt16BE(0), 8));
      return {
        op: 'chsc',
        command: request.readUInt16BE(2),
        request: request.toString('hex', 4),
        response: response.readUInt16BE(2),
      };
    },
    virtio_ccw_kvm_notify: async (gdb, { general }) => {
      const registers = [low(general[1]), low(general[2]), low(general[3])];
      await gdb.step();
      const result = Number(BigInt.asIntN(64, (await gdb.registers()).general[2] ?? 0n));
      return { op: 'diagnose500', registers, result };
    },
  };
  const short = async (gdb: Gdb, registers: Registers): Promise<Step> => ({
    op: name as 'csch',
    id: low(registers.general[1]),
    cc: await stepped(gdb),
  });
  return { name, record: recorders[name] ?? short };
}

/** A channel program with its data, before and after. */
async function recordProgram(gdb: Gdb, { general }: Registers, at: number): Promise<Step> {
  const orb = Buffer.from(await gdb.read(at, 12));
  const format1 = (orb.readUInt16BE(4) & 0x80) !== 0;
  const program: Bytes[] = [];
  const areas: { at: number; length: number }[] = [];
  for (let next = orb.readUInt32BE(8); next !== 0 && program.length < 64; ) {
    const ccw = Buffer.from(await gdb.read(next, 8));
    program.push({ at: next, bytes: ccw.toString('hex') });
    const [flags, count, cda] = format1
      ? [ccw.readUInt8(1), ccw.readUInt16BE(2), ccw.readUInt32BE(4)]
      : [ccw.readUInt8(4), ccw.readUInt16BE(6), ccw.readUInt32BE(0) & 0xffffff];
    if ((flags & 0x04) !== 0) throw new Error('indirect data addresses: not recorded');
    if (ccw.readUInt8(0) === 0x08) {
      next = cda;
      continue;
    }
    if (cda !== 0 && count !== 0) areas.push({ at: cda, length: count });
    next = (flags & 0x40) !== 0 ? next + 8 : 0;
  }
  const before: string[] = [];
  for (const area of areas) before.push(hex(await gdb.read(area.at, area.length)));
  await gdb.step();
  const cc = conditionCode((await gdb.registers()).mask);
  const data: DataArea[] = [];
  for (const [index, area] of areas.entries()) {
    const after = hex(await gdb.read(area.at, area.length));
    const was = before[index] ?? '';
    data.push({ at: area.at, before: was, ...(after !== was && { after }) });
  }
  return { op: 'ssch', id: low(general[1]), cc, orb: orb.toString('hex'), program, data };
}
