import type { Gpa, GuestMemory } from '@virtkit/core/live';
import { ACTL, CCW_FLAG, COMMAND, CSTAT, DSTAT, ORB0, PATH, SCSW_FLAGS, STCTL } from './bits.ts';
import type { CommandEnding, ControlUnit } from './control-unit.ts';
import type { DataStream } from './data-stream.ts';
import {
  CCW_BYTES,
  type Ccw,
  type Orb,
  type Pmcw,
  readCcw,
  type Scsw,
  SENSE_BYTES,
  SENSE_ID_BYTES,
  type SenseId,
  writeSenseId,
} from './structures.ts';

/** Largest number of commands without a data address in a program. */
const NO_DATA_LIMIT = 255;
/**
 * Largest number of transfers in channel in a program. QEMU has it since 10.0.13; before, a guest could keep it running
 * for ever.
 */
const TIC_LIMIT = 255;
/** Largest number of commands in a program. QEMU has no such limit: memory full of NOOPs is one program. */
const COMMAND_LIMIT = 4096;

/**
 * Address that commands of format 0 are below: those of 24 bits; the next constant is that of format 1, for 31 bits.
 */
const LIMIT_FORMAT_0 = 1n << 24n;
const LIMIT_FORMAT_1 = 1n << 31n;
/** First byte of the sense data if the control unit does not know the command. */
const SENSE_COMMAND_REJECT = 0x80;

/** Result of a program's step: the next command, or an end. */
type Step = CommandEnding | 'next' | 'suspended';

/** Part of a subchannel that a channel program works on. */
export interface ProgramState {
  readonly memory: GuestMemory;
  readonly unit: ControlUnit;
  /** Data area of the current command. */
  readonly data: DataStream;
  /** Operation request block of the start function. */
  readonly orb: Orb;
  readonly pmcw: Pmcw;
  readonly scsw: Scsw;
  /** Answer to SENSE ID. */
  readonly id: SenseId;
  /** Answer to BASIC SENSE, which clears it: 32 bytes. */
  readonly senseData: Uint8Array;
  /** Guest address of the current channel command. */
  channelProg: bigint;
  /** Command before the current one, if {@link lastCmdValid}. */
  lastCmd: Ccw;
  lastCmdValid: boolean;
  /** True if commands have format 1. */
  ccwFmt1: boolean;
  /** Number of commands without a data address in this program. */
  ccwNoDataCnt: number;
}

/** Counters of one run of a program. */
interface Run {
  readonly suspendAllowed: boolean;
  tics: number;
}

/** Runs the channel program of a started or resumed subchannel to its end. QEMU: `sch_handle_start_func_virtual`. */
export function startFunction(sch: ProgramState): void {
  const { scsw, orb } = sch;
  let suspendAllowed = true;
  if ((scsw.ctrl & ACTL.SUSP) === 0) {
    scsw.cstat = 0;
    scsw.dstat = 0;
    sch.pmcw.intparm = orb.intparm;
    if ((orb.lpm & PATH) === 0) {
      // no path that is allowed: deferred condition code 3
      scsw.flags |= SCSW_FLAGS.CC;
      scsw.ctrl = (scsw.ctrl & ~STCTL.MASK) | STCTL.ALERT | STCTL.STATUS_PEND;
      return;
    }
    sch.ccwFmt1 = (orb.ctrl0 & ORB0.FMT) !== 0;
    if (sch.ccwFmt1) scsw.flags |= SCSW_FLAGS.FMT;
    sch.ccwNoDataCnt = 0;
    suspendAllowed = (orb.ctrl0 & ORB0.SPND) !== 0;
  } else {
    scsw.ctrl &= ~(ACTL.SUSP | ACTL.RESUME_PEND);
  }
  sch.lastCmdValid = false;
  endProgram(sch, runCommands(sch, { suspendAllowed, tics: 0 }));
}

function runCommands(sch: ProgramState, run: Run): Step {
  for (let commands = 0; commands < COMMAND_LIMIT; commands++) {
    const step = runCommand(sch, run);
    if (step !== 'next') return step;
  }
  return 'program-check';
}

function endProgram(sch: ProgramState, end: Step): void {
  const { scsw } = sch;
  scsw.ctrl &= ~ACTL.START_PEND;
  if (end === 'suspended') {
    scsw.ctrl |= ACTL.SUSP;
    return;
  }
  scsw.ctrl &= ~STCTL.MASK;
  scsw.ctrl |= STCTL.PRIMARY | STCTL.SECONDARY | STCTL.STATUS_PEND;
  scsw.cpa = Number(BigInt.asUintN(32, sch.channelProg + 8n));
  if (end === 'done') {
    scsw.dstat = DSTAT.CHANNEL_END | DSTAT.DEVICE_END;
    return;
  }
  scsw.ctrl |= STCTL.ALERT;
  if (end === 'command-reject') {
    scsw.dstat = DSTAT.UNIT_CHECK;
    sch.senseData[0] = SENSE_COMMAND_REJECT;
  } else {
    scsw.cstat = CSTAT.PROG_CHECK;
  }
}

/** Runs one channel command. QEMU: `css_interpret_ccw`. */
function runCommand(sch: ProgramState, run: Run): Step {
  const ccw = fetchCommand(sch);
  if (ccw === undefined || (ccw.flags & CCW_FLAG.MIDA) !== 0) return 'program-check';
  if ((ccw.flags & CCW_FLAG.SUSPEND) !== 0) return run.suspendAllowed ? 'suspended' : 'program-check';
  if (ccw.cda === 0) {
    if (sch.ccwNoDataCnt === NO_DATA_LIMIT) return 'program-check';
    sch.ccwNoDataCnt++;
  }
  sch.data.start(ccw, sch.orb);
  const step = ccw.cmdCode === COMMAND.TIC ? transfer(sch, ccw, run) : basicCommand(sch, ccw);
  sch.lastCmd = ccw;
  sch.lastCmdValid = true;
  if (step !== 'done' || (ccw.flags & CCW_FLAG.CC) === 0) return step;
  sch.channelProg += BigInt(CCW_BYTES);
  return 'next';
}

/** Fetches the command at the program's address, if it is one. */
function fetchCommand(sch: ProgramState): Ccw | undefined {
  const at = sch.channelProg;
  if (at === 0n || (at & 7n) !== 0n || at >= (sch.ccwFmt1 ? LIMIT_FORMAT_1 : LIMIT_FORMAT_0))
    return undefined;
  const bytes = new Uint8Array(CCW_BYTES);
  if (!sch.memory.read(Number(at) as Gpa, bytes)) return undefined;
  const ccw = readCcw(bytes, sch.ccwFmt1);
  const digit = ccw.cmdCode & 0x0f;
  if (digit === 0 || (digit === COMMAND.TIC && ccw.cmdCode !== COMMAND.TIC)) return undefined;
  if (!sch.ccwFmt1 && ccw.count === 0 && ccw.cmdCode !== COMMAND.TIC) return undefined;
  return ccw;
}

/** Follows a TRANSFER IN CHANNEL. */
function transfer(sch: ProgramState, ccw: Ccw, run: Run): Step {
  if (sch.lastCmdValid && sch.lastCmd.cmdCode === COMMAND.TIC) return 'program-check';
  if (ccw.flags !== 0 || ccw.count !== 0 || run.tics === TIC_LIMIT) return 'program-check';
  run.tics++;
  sch.channelProg = BigInt(ccw.cda);
  return 'next';
}

/** Must the count of a command be exactly right? */
export function checksLength(ccw: Ccw): boolean {
  return (ccw.flags & CCW_FLAG.SLI) === 0 || (ccw.flags & CCW_FLAG.DC) !== 0;
}

function basicCommand(sch: ProgramState, ccw: Ccw): CommandEnding {
  switch (ccw.cmdCode) {
    case COMMAND.NOOP:
      return 'done';
    case COMMAND.BASIC_SENSE: {
      const ending = storeUpTo(sch, ccw, sch.senseData, SENSE_BYTES);
      if (ending === 'done') sch.senseData.fill(0);
      return ending;
    }
    case COMMAND.SENSE_ID: {
      const answer = new Uint8Array(SENSE_ID_BYTES);
      writeSenseId(answer, sch.id);
      // the first byte says that the next three are there
      answer[0] = ccw.count >= 4 ? 0xff : 0;
      return storeUpTo(sch, ccw, answer, SENSE_ID_BYTES);
    }
    default:
      return sch.unit.execute(ccw, sch.data);
  }
}

/** Stores as much of an answer as the command wants. */
function storeUpTo(sch: ProgramState, ccw: Ccw, answer: Uint8Array, length: number): CommandEnding {
  if (checksLength(ccw) && ccw.count !== length) return 'program-check';
  const stored = sch.data.write(answer, Math.min(ccw.count, length));
  sch.scsw.count = sch.data.residual;
  return stored ? 'done' : 'program-check';
}
