import type { GuestMemory } from '@virtkit/core/live';
import type { ValueOf } from '@virtkit/vmstate';
import type { subchannel } from '../subchannel.ts';
import type { SubchannelAddress } from './address.ts';
import { ACTL, CSTAT, DSTAT, FCTL, ISC_SHIFT, PATH, PMCW, PMCW_CHARS, SCSW_FLAGS, STCTL } from './bits.ts';
import type { ControlUnit } from './control-unit.ts';
import { DataStream } from './data-stream.ts';
import type { ChannelHost, IoInterrupt } from './host.ts';
import { type ProgramState, startFunction } from './program.ts';
import {
  type Ccw,
  IRB_BYTES,
  type Orb,
  orbValid,
  type Pmcw,
  put32,
  readOrb,
  readSchib,
  type Scsw,
  type SenseId,
  schibValid,
  writeSchib,
  writeScsw,
} from './structures.ts';

/** Condition code of an I/O instruction. */
export type ConditionCode = 0 | 1 | 2 | 3;

/** State of a subchannel as it is saved. */
export type SubchannelState = ValueOf<typeof subchannel>;

/** Flags of a subchannel that is operational: device number valid, and enabled. */
const OPERATIONAL = PMCW.DNV | PMCW.ENA;
/**
 * Offset in an IRB of the extended status, which stands behind the SCSW; below it, those of the extended report and the
 * extended control.
 */
const ESW = 12;
const ERW = 16;
const ECW = 32;
/** First word of the extended status as QEMU stores it: path 0 was used; and the same after a data or control check. */
const LOGOUT = { PATH_USED: 0x00800000, CHECKED: 0x04804000 } as const;
/** Bit of the extended report that says that sense bytes are in the extended control word. */
const CONCURRENT_SENSE = 0x01000000;
/** Flags that MODIFY SUBCHANNEL can change. */
const PROGRAM_FLAGS = PMCW.ISC | PMCW.ENA | PMCW.LM | PMCW.MME | PMCW.MP;
const PROGRAM_CHARS = PMCW_CHARS.MBFC | PMCW_CHARS.CSENSE;
/** Activities that end when status is taken. */
const PENDING = ACTL.RESUME_PEND | ACTL.START_PEND | ACTL.HALT_PEND | ACTL.CLEAR_PEND | ACTL.SUSP;

/**
 * Virtual subchannel: the instructions that work on it, each answering its condition code. Programs run to their end
 * inside {@link ssch}, and then an I/O interrupt is pending. Principles of Operation, chapter 14; QEMU `css_do_*`.
 */
export class Subchannel implements SubchannelAddress, ProgramState {
  readonly cssid: number;
  readonly ssid: number;
  schid: number;
  readonly devno: number;
  /** Guest memory that channel programs and their data are in. */
  readonly memory: GuestMemory;
  /** Device behind the subchannel. */
  readonly unit: ControlUnit;
  /** Path management control word, which MODIFY SUBCHANNEL sets. */
  readonly pmcw: Pmcw;
  /** Subchannel status word: which functions are under way, and how the last one ended. */
  readonly scsw: Scsw;
  /** Measurement block address. Nothing is measured; it is kept for the guest. */
  mba = 0n;
  /** Model-dependent area of the subchannel information block, 4 bytes. */
  mda: Uint8Array = new Uint8Array(4);
  readonly senseData: Uint8Array = new Uint8Array(32);
  /** Answer to SENSE ID. */
  id: SenseId;
  /** Guest address of the current channel command. */
  channelProg = 0n;
  lastCmd: Ccw = { cmdCode: 0, flags: 0, count: 0, cda: 0 };
  /** True if {@link lastCmd} is a command of the program that runs. */
  lastCmdValid = false;
  ccwFmt1 = false;
  /** Number of commands without a data address in this program. */
  ccwNoDataCnt = 0;
  orb: Orb = { intparm: 0, ctrl0: 0, lpm: 0, ctrl1: 0, cpa: 0 };
  /** True if the device behind the subchannel uses adapter interrupts. */
  thinintActive = false;
  readonly data: DataStream;
  readonly #host: ChannelHost;
  /** Interrupt that was made last: mostly the next one is the same. */
  #interrupted: IoInterrupt | undefined;

  constructor(
    address: SubchannelAddress,
    id: SenseId,
    unit: ControlUnit,
    memory: GuestMemory,
    host: ChannelHost,
  ) {
    this.cssid = address.cssid;
    this.ssid = address.ssid;
    this.schid = address.schid;
    this.devno = address.devno;
    this.id = id;
    this.unit = unit;
    this.memory = memory;
    this.data = new DataStream(memory);
    this.#host = host;
    this.scsw = { flags: 0, ctrl: 0, cpa: 0, dstat: 0, cstat: 0, count: 0 };
    this.pmcw = {
      intparm: 0,
      flags: PMCW.DNV,
      devno: address.devno,
      lpm: PATH,
      pnom: 0,
      lpum: 0,
      pim: PATH,
      mbi: 0,
      pom: 0xff,
      pam: PATH,
      chpid: new Uint8Array(8),
      chars: 0,
    };
  }

  /** Resets the subchannel with the I/O system. QEMU: `css_reset_sch`. */
  reset(): void {
    if ((this.pmcw.flags & PMCW.ENA) !== 0) this.unit.disabled();
    Object.assign(this.pmcw, {
      intparm: 0,
      flags: (this.pmcw.flags & ~(PROGRAM_FLAGS | PMCW.TF)) | PMCW.DNV,
      devno: this.devno,
      lpm: PATH,
      pnom: 0,
      lpum: 0,
      pim: PATH,
      mbi: 0,
      pom: 0xff,
      pam: PATH,
      chars: this.pmcw.chars & ~(PROGRAM_CHARS | PMCW_CHARS.XMWME),
    });
    Object.assign(this.scsw, { flags: 0, ctrl: 0, cpa: 0, dstat: 0, cstat: 0, count: 0 });
    this.mba = 0n;
    this.channelProg = 0n;
    this.lastCmdValid = false;
    this.thinintActive = false;
  }

  /** Is the device number valid, and the subchannel enabled? */
  get operational(): boolean {
    return (this.pmcw.flags & OPERATIONAL) === OPERATIONAL;
  }

  /** Is there status that TEST SUBCHANNEL has not taken? */
  get statusPending(): boolean {
    return (this.scsw.ctrl & STCTL.STATUS_PEND) !== 0;
  }

  /** Interruption subclass, 0 to 7. */
  get isc(): number {
    return (this.pmcw.flags & PMCW.ISC) >> ISC_SHIFT;
  }

  /** Subchannel id as interrupts have it. QEMU: `css_build_subchannel_id`. */
  get interruptId(): number {
    const inSet = (this.ssid << 1) | 1;
    return this.#host.mcsse === true ? (this.cssid << 8) | (1 << 3) | inSet : inSet;
  }

  /** Executes STORE SUBCHANNEL: stores 52 bytes. */
  stsch(target: Uint8Array): 0 {
    writeSchib(target, this);
    return 0;
  }

  /** Executes MODIFY SUBCHANNEL with the SCHIB's 52 bytes. */
  msch(bytes: Uint8Array): ConditionCode | 'operand' {
    const schib = readSchib(bytes);
    if (!schibValid(schib)) return 'operand';
    const { pmcw } = this;
    if ((pmcw.flags & PMCW.DNV) === 0) return 0;
    if (this.statusPending) return 1;
    if ((this.scsw.ctrl & FCTL.MASK) !== 0) return 2;
    const wasEnabled = (pmcw.flags & PMCW.ENA) !== 0;
    const { intparm, flags, lpm, mbi, pom, chars } = schib.pmcw;
    Object.assign(pmcw, { intparm, lpm, mbi, pom });
    pmcw.flags = (pmcw.flags & ~PROGRAM_FLAGS) | (flags & PROGRAM_FLAGS);
    pmcw.chars = (pmcw.chars & ~PROGRAM_CHARS) | (chars & PROGRAM_CHARS);
    this.mba = schib.mba;
    if (wasEnabled && (pmcw.flags & PMCW.ENA) === 0) this.unit.disabled();
    return 0;
  }

  /** Executes START SUBCHANNEL with the ORB's 12 bytes: the channel program is run, and an I/O interrupt is pending. */
  ssch(bytes: Uint8Array): ConditionCode | 'operand' {
    const orb = readOrb(bytes);
    if (!orbValid(orb)) return 'operand';
    return this.start(orb);
  }

  /** Executes START SUBCHANNEL as {@link ssch} does, with a valid ORB. */
  start(orb: Orb): ConditionCode {
    if (!this.operational) return 3;
    if (this.statusPending) return 1;
    const { scsw } = this;
    if ((scsw.ctrl & FCTL.MASK) !== 0) return 2;
    this.memory.sync();
    this.orb = orb;
    this.channelProg = BigInt(orb.cpa);
    scsw.ctrl |= FCTL.START | ACTL.START_PEND;
    scsw.flags &= ~SCSW_FLAGS.PNO;
    startFunction(this);
    this.#interrupt();
    return 0;
  }

  /**
   * Executes the first half of TEST SUBCHANNEL: stores the IRB's 64 bytes. {@link takeStatus} must follow when they are
   * stored.
   */
  irb(target: Uint8Array): 0 | 1 | 3 {
    if (!this.operational) return 3;
    const { scsw, pmcw } = this;
    let { flags } = scsw;
    target.fill(0, 0, IRB_BYTES);
    if (this.statusPending) {
      const checked = (scsw.cstat & (CSTAT.DATA_CHECK | CSTAT.CHN_CTRL_CHECK | CSTAT.INTF_CTRL_CHECK)) !== 0;
      if (checked) flags |= SCSW_FLAGS.ESWF;
      put32(target, ESW, checked ? LOGOUT.CHECKED : LOGOUT.PATH_USED);
      if ((scsw.dstat & DSTAT.UNIT_CHECK) !== 0 && (pmcw.chars & PMCW_CHARS.CSENSE) !== 0) {
        flags |= SCSW_FLAGS.ESWF | SCSW_FLAGS.ECTL;
        put32(target, ERW, CONCURRENT_SENSE | (this.senseData.length << 8));
        target.set(this.senseData, ECW);
      }
    }
    writeScsw(target, 0, scsw, flags);
    return this.statusPending ? 0 : 1;
  }

  /**
   * Executes the second half of TEST SUBCHANNEL: takes the status that {@link irb} told. QEMU:
   * `css_do_tsch_update_subch`.
   */
  takeStatus(): void {
    if (!this.statusPending) return;
    const { scsw } = this;
    const { ctrl } = scsw;
    const suspended = (ctrl & ACTL.SUSP) !== 0;
    scsw.ctrl &= ~STCTL.MASK;
    if ((ctrl & STCTL.MASK) !== (STCTL.INTERMEDIATE | STCTL.STATUS_PEND)) {
      scsw.ctrl &= ~(FCTL.MASK | PENDING);
      scsw.flags &= ~SCSW_FLAGS.PNO;
    } else if (suspended) {
      const halted = (ctrl & FCTL.HALT) !== 0;
      if (halted) scsw.ctrl &= ~FCTL.MASK;
      if ((ctrl & FCTL.START) !== 0) {
        scsw.flags &= ~SCSW_FLAGS.PNO;
        scsw.ctrl &= ~(halted ? PENDING : ACTL.RESUME_PEND);
      }
    }
    if ((this.pmcw.chars & PMCW_CHARS.CSENSE) !== 0) this.senseData.fill(0);
  }

  /** Executes TEST SUBCHANNEL in one step. */
  tsch(target: Uint8Array): 0 | 1 | 3 {
    const cc = this.irb(target);
    if (cc === 0) this.takeStatus();
    return cc;
  }

  /** Executes CLEAR SUBCHANNEL. */
  csch(): 0 | 3 {
    if (!this.operational) return 3;
    const { scsw, pmcw } = this;
    scsw.ctrl = (scsw.ctrl & ~(FCTL.MASK | ACTL.MASK)) | FCTL.CLEAR | STCTL.STATUS_PEND;
    scsw.flags &= ~SCSW_FLAGS.PNO;
    scsw.dstat = 0;
    scsw.cstat = 0;
    pmcw.pom = 0xff;
    this.#forgetProgram();
    this.#interrupt();
    return 0;
  }

  /** Executes HALT SUBCHANNEL. */
  hsch(): ConditionCode {
    if (!this.operational) return 3;
    const { scsw } = this;
    const { ctrl } = scsw;
    if ((ctrl & STCTL.MASK) === STCTL.STATUS_PEND) return 1;
    if ((ctrl & (STCTL.PRIMARY | STCTL.SECONDARY | STCTL.ALERT)) !== 0) return 1;
    if ((ctrl & (FCTL.HALT | FCTL.CLEAR)) !== 0) return 2;
    const active = (ctrl & (ACTL.SUBCH_ACTIVE | ACTL.DEVICE_ACTIVE)) !== 0;
    const suspended = (ctrl & ACTL.SUSP) !== 0;
    scsw.ctrl = (ctrl & ~(FCTL.START | ACTL.HALT_PEND)) | FCTL.HALT | STCTL.STATUS_PEND;
    if (active || ((ctrl & ACTL.START_PEND) === 0 && !suspended)) scsw.dstat = DSTAT.DEVICE_END;
    if (active || suspended) scsw.cpa = Number(BigInt.asUintN(32, this.channelProg + 8n));
    scsw.cstat = 0;
    this.#forgetProgram();
    this.#interrupt();
    return 0;
  }

  /** Executes RESUME SUBCHANNEL: the suspended program goes on. */
  rsch(): ConditionCode {
    if (!this.operational) return 3;
    if (this.statusPending) return 1;
    const { scsw } = this;
    if ((scsw.ctrl & FCTL.MASK) !== FCTL.START) return 2;
    if ((scsw.ctrl & ACTL.RESUME_PEND) !== 0 || (scsw.ctrl & ACTL.SUSP) === 0) return 2;
    this.memory.sync();
    scsw.ctrl |= ACTL.RESUME_PEND;
    startFunction(this);
    this.#interrupt();
    return 0;
  }

  /** Executes CANCEL SUBCHANNEL for a start that has not begun, or is suspended. */
  xsch(): ConditionCode {
    if (!this.operational) return 3;
    const { scsw } = this;
    if ((scsw.ctrl & STCTL.MASK) !== 0) return 1;
    const waiting = ACTL.RESUME_PEND | ACTL.START_PEND | ACTL.SUSP;
    if ((scsw.ctrl & FCTL.MASK) !== FCTL.START || (scsw.ctrl & waiting) === 0) return 2;
    if ((scsw.ctrl & ACTL.SUBCH_ACTIVE) !== 0) return 2;
    scsw.ctrl &= ~(FCTL.START | waiting);
    scsw.dstat = 0;
    scsw.cstat = 0;
    this.channelProg = 0n;
    this.lastCmdValid = false;
    return 0;
  }

  /** Makes alert status and an interrupt, unless status is pending already. QEMU: `css_conditional_io_interrupt`. */
  alert(): void {
    if ((this.pmcw.flags & PMCW.ENA) === 0 || this.statusPending) return;
    this.scsw.ctrl = (this.scsw.ctrl & ~STCTL.MASK) | STCTL.ALERT | STCTL.STATUS_PEND;
    this.#interrupt();
  }

  /** Forgets the program, after a clear or a halt. */
  #forgetProgram(): void {
    this.channelProg = 0n;
    this.lastCmdValid = false;
    this.pmcw.lpum = PATH;
  }

  #interrupt(): void {
    const { interruptId: id, schid: nr, isc } = this;
    const { intparm } = this.pmcw;
    let last = this.#interrupted;
    if (last?.id !== id || last.nr !== nr || last.intparm !== intparm || last.isc !== isc) {
      last = { id, nr, intparm, isc };
      this.#interrupted = last;
    }
    this.#host.ioInterrupt(last);
  }

  /** Takes the saved state. Without `orb`: as machines before 2.10 wrote it. */
  capture(withOrb: boolean): SubchannelState {
    return {
      cssid: this.cssid,
      ssid: this.ssid,
      migratedSchid: this.schid,
      devno: this.devno,
      thinintActive: this.thinintActive,
      currStatus: {
        pmcw: { ...this.pmcw, chpid: this.pmcw.chpid.slice() },
        scsw: { ...this.scsw },
        mba: this.mba,
        mda: this.mda.slice(),
      },
      senseData: this.senseData.slice(),
      channelProg: this.channelProg,
      lastCmd: this.lastCmd,
      lastCmdValid: this.lastCmdValid,
      id: this.id,
      ccwFmt1: this.ccwFmt1,
      ccwNoDataCnt: this.ccwNoDataCnt,
      ...(withOrb && { orb: this.orb }),
    };
  }

  /** Takes over a checked state. */
  restore(state: SubchannelState): void {
    const from = this.schid;
    const { pmcw, scsw, mba, mda } = state.currStatus;
    Object.assign(this.pmcw, pmcw, { chpid: pmcw.chpid.slice() });
    Object.assign(this.scsw, scsw);
    this.mba = mba;
    this.mda = mda.slice();
    this.senseData.set(state.senseData);
    this.channelProg = state.channelProg;
    this.lastCmd = state.lastCmd;
    this.lastCmdValid = state.lastCmdValid;
    this.id = state.id;
    this.ccwFmt1 = state.ccwFmt1;
    this.ccwNoDataCnt = state.ccwNoDataCnt;
    if (state.orb !== undefined) this.orb = state.orb;
    this.thinintActive = state.thinintActive;
    this.schid = state.migratedSchid;
    if (from !== this.schid) this.#host.moved?.(this, from);
  }
}
