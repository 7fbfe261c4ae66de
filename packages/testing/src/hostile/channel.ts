import type { ChannelSubsystemLike } from '../host/channel-machine.ts';
import type { GuestRam } from '../ram.ts';
import type { Random } from '../suite/case.ts';
import { address, number, type Target } from './values.ts';

/** Channel subsystem with the instructions that no driver needs as well. */
export interface WholeChannelSubsystem extends ChannelSubsystemLike {
  /** Executes HALT SUBCHANNEL. */
  hsch(id: number): unknown;
  /** Executes RESUME SUBCHANNEL. */
  rsch(id: number): unknown;
  /** Executes CANCEL SUBCHANNEL. */
  xsch(id: number): unknown;
  /** Executes STORE CHANNEL REPORT WORD: stores the word at `address`. */
  stcrw(address: number): unknown;
}

const COMMANDS: readonly [number, ...number[]] = [
  0x03, 0x04, 0x08, 0xe4, 0x13, 0x33, 0x43, 0x53, 0x73, 0x12, 0x11, 0x22, 0x21, 0x31, 0x32, 0x83, 0x72,
];
const LENGTHS: readonly [number, ...number[]] = [0, 1, 4, 5, 8, 16, 25, 32, 60, 256, 0xffff];
const FLAGS: readonly [number, ...number[]] = [0, 0, 0x20, 0x40, 0x60, 0x10, 0x04, 0x80, 0x02, 0x01];
/** Address of programs and operands: low memory that nobody uses. */
const PROGRAM = 0x400;
const OPERAND = 0x600;
const DATA = 0x800;

/** Executes one I/O instruction, with an operand or a channel program that may be anything. */
export function pokeChannel(
  css: WholeChannelSubsystem,
  schid: number,
  ram: GuestRam,
  random: Random,
  target: Target,
): void {
  const id = random.chance(20) ? number(random) : schid;
  const operand = random.chance(20) ? address(random, target) : OPERAND;
  switch (random.below(14)) {
    case 0:
      css.stsch(id, operand);
      break;
    case 1:
      css.stsch(id, OPERAND);
      if (random.chance(3)) ram.setU8(OPERAND + random.below(52), number(random) & 0xff);
      else ram.setU8(OPERAND + 5, ram.u8(OPERAND + 5) | 0x80);
      css.msch(id, operand);
      break;
    case 2:
    case 3:
      css.tsch(id, operand);
      break;
    case 4:
      css.tpi(random.chance(2) ? 0 : operand, number(random));
      break;
    case 5:
      if (random.chance(4)) random.pick([() => css.csch(id), () => css.hsch(id), () => css.xsch(id)])();
      else css.rsch(id);
      break;
    case 6:
      css.stcrw(operand);
      break;
    case 7:
    case 8:
      css.diagnose500(
        random.chance(10) ? number(random) : 3,
        id,
        random.chance(4) ? number(random) : random.below(4),
      );
      break;
    default:
      writeProgram(ram, random, target);
      css.ssch(id, operand);
      css.tsch(id, OPERAND + 64);
  }
}

function writeProgram(ram: GuestRam, random: Random, target: Target): void {
  for (let i = 0; i < 4; i++) {
    const at = PROGRAM + 8 * i;
    ram.setU8(at, random.chance(10) ? number(random) & 0xff : random.pick(COMMANDS));
    ram.setU8(at + 1, random.pick(FLAGS));
    ram.setU16(at + 2, random.chance(10) ? number(random) & 0xffff : random.pick(LENGTHS), false);
    ram.setU32(at + 4, random.pick([DATA, DATA, PROGRAM, address(random, target) >>> 0]), false);
  }
  for (let i = 0; i < 8; i++) {
    const value = random.chance(2) ? number(random) : address(random, target) >>> 0;
    ram.setU32(DATA + 4 * i, value, false);
  }
  ram.setU32(OPERAND, number(random), false);
  ram.setU16(OPERAND + 4, random.chance(8) ? number(random) & 0xffff : 0x80, false);
  ram.setU8(OPERAND + 6, random.chance(10) ? 0 : 0xff);
  ram.setU8(OPERAND + 7, random.chance(20) ? number(random) & 0xff : 0);
  ram.setU32(OPERAND + 8, random.chance(10) ? number(random) : PROGRAM, false);
}
