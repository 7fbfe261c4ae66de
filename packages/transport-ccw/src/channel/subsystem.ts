import { type Gpa, type GuestMemory, guestMemory, type MemoryMap } from '@virtkit/core/live';
import type { CssState } from '../companions.ts';
import type { SubchannelAddress } from './address.ts';
import { type ChannelDevice, CSSID_MAX, DeviceMap, SSID_MAX, VIRTUAL_CSSID } from './devices.ts';
import type { ChannelHost, IoInterrupt } from './host.ts';
import { InterruptQueue, interruptWord, type PendingInterrupt } from './interrupts.ts';
import { ChannelReports, CRW } from './reports.ts';
import {
  IRB_BYTES,
  ORB_BYTES,
  orbValid,
  put16,
  put32,
  readOrb,
  readSchib,
  SCHIB_BYTES,
  schibValid,
} from './structures.ts';
import type { ConditionCode, Subchannel } from './subchannel.ts';

/** Program interruption that an instruction causes instead of a condition code. */
export type ProgramException =
  | 'operand'
  | 'specification'
  /**
   * Interruption because the operand cannot be accessed. The {@link OperandAccess} knows which access exception it is.
   */
  | 'addressing';

/** Ending of an I/O instruction. */
export type InstructionEnding = ConditionCode | ProgramException;

/** Access of instructions to their operands in storage. */
export interface OperandAccess {
  /** Copies bytes out of storage. Answers false for an access exception. */
  read(address: number, target: Uint8Array): boolean;
  /** Copies bytes into storage. Answers false, with nothing written, for an access exception. */
  /** @param source lent for the call */
  write(address: number, source: Uint8Array): boolean;
  /** Could {@link write} write here? */
  writable(address: number, length: number): boolean;
}

/** Options of a channel subsystem: what it needs of its machine. */
export interface ChannelSubsystemOptions {
  /** Guest memory, in which interruption codes are stored. */
  readonly memory: MemoryMap;
  /**
   * Access to operands. Default: operand addresses are absolute addresses in `memory`. An emulator that translates
   * addresses brings its own.
   */
  readonly operands?: OperandAccess;
  /** Is told that an I/O interrupt became pending: look at {@link ChannelSubsystem.interruptPending}. */
  readonly onInterrupt?: () => void;
  /** Is told that a channel report is pending: the machine check that tells so is due. */
  readonly onChannelReport?: () => void;
}

/** Offset in the low core where the I/O interruption code is stored. */
const LOWCORE_IO_CODE = 0xb8;
/** Subcodes of diagnose 0x500. */
const SUBCODE = { NOTIFY: 0, CCW_NOTIFY: 3 } as const;
const EINVAL = -22;
/** Description of channel path 0, as devices use it: virtual, type 0x32. */
const VIRTIO_PATH = { inUse: 1, type: 0x32, isVirtual: 1 };
const NO_PATH = { inUse: 0, type: 0, isVirtual: 0 };

/**
 * Channel subsystem for emulators that have none: I/O instructions with the operands that the guest's program gives,
 * pending I/O interrupts, channel reports and the notification hypercall. Principles of Operation, chapters 14 to 17;
 * QEMU `target/s390x/ioinst.c`, `hw/s390x/css.c`.
 *
 * Each instruction answers its condition code, or the program exception that it causes instead. `id` is the low word of
 * general register 1. The machine does what comes before: privilege, the operand's address.
 */
export class ChannelSubsystem implements ChannelHost {
  /** Queue of pending I/O interrupts. */
  readonly interrupts: InterruptQueue = new InterruptQueue();
  readonly #memory: GuestMemory;
  readonly #operands: OperandAccess;
  readonly #onInterrupt: (() => void) | undefined;
  readonly #devices = new DeviceMap();
  /** Last interrupt of each subchannel, by id and number: mostly the next one is the same. */
  readonly #last = new Map<number, PendingInterrupt>();
  // what instructions store: one at a time
  readonly #irb = new Uint8Array(IRB_BYTES);
  readonly #code = new Uint8Array(12);
  readonly #shortCode = this.#code.subarray(0, 8);
  readonly #reports: ChannelReports;
  /** Fields of the saved state that nothing here works with. */
  #kept: Pick<CssState, 'seiPending' | 'chnmonActive' | 'chnmonArea' | 'css' | 'defaultCssid'>;

  constructor(options: ChannelSubsystemOptions) {
    const memory = guestMemory(options.memory);
    this.#memory = memory;
    this.#onInterrupt = options.onInterrupt;
    this.#reports = new ChannelReports(() => options.onChannelReport?.());
    this.#operands = options.operands ?? {
      read: (address, target) => memory.read(address as Gpa, target),
      write: (address, source) => memory.write(address as Gpa, source),
      writable: (address, length) => memory.covers(address as Gpa, length, true),
    };
    const chpids = Array.from({ length: 256 }, (_, chpid) => (chpid === 0 ? VIRTIO_PATH : NO_PATH));
    this.#kept = {
      ...NO_MONITORING,
      css: Array.from({ length: 256 }, (_, cssid) => (cssid === VIRTUAL_CSSID ? { chpids } : null)),
      defaultCssid: VIRTUAL_CSSID,
    };
  }

  // Devices

  /**
   * Puts a device into its subchannel, or the first free one behind it. `hotplugged`: the guest is running, and gets a
   * channel report.
   *
   * @throws HostError if the device number is taken, or the set is full
   */
  attach(device: ChannelDevice, hotplugged = false): void {
    this.#devices.add(device);
    device.plug?.();
    if (hotplugged) this.#report(device.subchannel);
  }

  /**
   * Takes a device out while the guest is running. It is reset and paused: what is under way for it, and what comes for it later, does not
   * reach guest memory. It may be attached again, and goes on as a new one.
   */
  detach(device: ChannelDevice): void {
    if (!this.#devices.remove(device)) return;
    if (device.unplug === undefined) device.reset();
    else device.unplug();
    const { subchannel } = device;
    this.#report(subchannel);
    this.interrupts.forget(subchannel.interruptId, subchannel.schid);
    this.#last.clear();
  }

  /**
   * Resets the channel subsystem with the machine: devices, pending interrupts and reports, and what the guest enabled.
   */
  reset(): void {
    for (const device of this.#devices.all()) device.reset();
    this.interrupts.clear();
    this.#reports.reset();
    this.#devices.maxCssid = 0;
    this.#devices.maxSsid = 0;
    this.#kept = { ...this.#kept, ...NO_MONITORING };
  }

  /** Enables multiple subchannel sets, which the guest asks for by CHSC, set domain attributes, operation code 2. */
  enableMss(): void {
    this.#devices.maxSsid = SSID_MAX;
  }

  /** Enables multiple channel subsystems, which the guest asks for by CHSC, set domain attributes, operation code 0. */
  enableMcsse(): void {
    this.#devices.maxCssid = CSSID_MAX;
  }

  // What devices call

  get mcsse(): boolean {
    return this.#devices.maxCssid > 0;
  }

  ioInterrupt({ id, nr, intparm, isc }: IoInterrupt): void {
    this.interrupts.add(this.#pendingOf(id, nr, intparm, interruptWord(isc, false)));
    this.#onInterrupt?.();
  }

  #pendingOf(id: number, nr: number, parm: number, word: number): PendingInterrupt {
    const key = id * 0x10000 + nr;
    const last = this.#last.get(key);
    if (last !== undefined && last.parm === parm && last.word === word) return last;
    const interrupt = { id, nr, parm, word };
    this.#last.set(key, interrupt);
    return interrupt;
  }

  adapterInterrupt(isc: number): void {
    this.interrupts.addAdapter(isc);
    this.#onInterrupt?.();
  }

  moved(subchannel: SubchannelAddress, from: number): void {
    this.#devices.move(subchannel, from);
  }

  indicatorLength(address: bigint): number | undefined {
    for (const device of this.#devices.all()) {
      for (const { len, addr } of device.indicatorAreas()) if (addr === address) return len;
    }
    return undefined;
  }

  // Instructions

  /** Executes START SUBCHANNEL with the ORB at `address`. The channel program has ended when this returns. */
  ssch(id: number, address: number): InstructionEnding {
    const bytes = this.#fetch(address, ORB_BYTES);
    if (typeof bytes === 'string') return bytes;
    const found = this.#devices.find(id);
    const orb = readOrb(bytes);
    if (found === 'operand' || !orbValid(orb)) return 'operand';
    return typeof found === 'string' ? 3 : found.subchannel.start(orb);
  }

  /** Executes MODIFY SUBCHANNEL with the SCHIB at `address`. */
  msch(id: number, address: number): InstructionEnding {
    const bytes = this.#fetch(address, SCHIB_BYTES);
    if (typeof bytes === 'string') return bytes;
    const found = this.#devices.find(id);
    if (found === 'operand' || !schibValid(readSchib(bytes))) return 'operand';
    return typeof found === 'string' ? 3 : found.subchannel.msch(bytes);
  }

  /** Executes STORE SUBCHANNEL: stores the SCHIB at `address`. */
  stsch(id: number, address: number): InstructionEnding {
    if ((address & 3) !== 0) return 'specification';
    // access exceptions come before all other ends
    if (!this.#writable(address, SCHIB_BYTES)) return 'addressing';
    const found = this.#devices.find(id);
    if (found === 'operand') return 'operand';
    if (found === 'none') return 3;
    const schib = new Uint8Array(SCHIB_BYTES);
    if (found !== 'gap') found.subchannel.stsch(schib);
    return this.#operands.write(address, schib) ? 0 : 'addressing';
  }

  /** Executes TEST SUBCHANNEL: stores the IRB at `address`. */
  tsch(id: number, address: number): InstructionEnding {
    const found = this.#devices.find(id);
    if (found === 'operand') return 'operand';
    if ((address & 3) !== 0) return 'specification';
    if (!this.#writable(address, IRB_BYTES)) return 'addressing';
    if (typeof found === 'string') return 3;
    const irb = this.#irb;
    const cc = found.subchannel.irb(irb);
    if (cc === 3) return 3;
    if (!this.#operands.write(address, irb)) return 'addressing';
    found.subchannel.takeStatus();
    return cc;
  }

  /** Executes CLEAR SUBCHANNEL. */
  csch(id: number): InstructionEnding {
    const found = this.#devices.find(id);
    if (typeof found === 'string') return found === 'operand' ? found : 3;
    return found.subchannel.csch();
  }

  /** Executes HALT SUBCHANNEL. */
  hsch(id: number): InstructionEnding {
    const found = this.#devices.find(id);
    if (typeof found === 'string') return found === 'operand' ? found : 3;
    return found.subchannel.hsch();
  }

  /** Executes RESUME SUBCHANNEL. */
  rsch(id: number): InstructionEnding {
    const found = this.#devices.find(id);
    if (typeof found === 'string') return found === 'operand' ? found : 3;
    return found.subchannel.rsch();
  }

  /** Executes CANCEL SUBCHANNEL. */
  xsch(id: number): InstructionEnding {
    const found = this.#devices.find(id);
    if (typeof found === 'string') return found === 'operand' ? found : 3;
    return found.subchannel.xsch();
  }

  /**
   * Executes TEST PENDING INTERRUPTION: condition code 1, and an interrupt of the subclasses that control register 6
   * (low word) enables is taken: 8 bytes of it to `address`, or with address 0 all 12 into the low core at `prefix`.
   */
  tpi(address: number, cr6: number, prefix = 0): InstructionEnding {
    if ((address & 3) !== 0) return 'specification';
    const interrupt = this.interrupts.take(cr6);
    if (interrupt === undefined) return 0;
    const code = this.#code;
    putInterruption(code, interrupt);
    if (address === 0) {
      this.#memory.sync();
      this.#memory.write((prefix + LOWCORE_IO_CODE) as Gpa, code);
      return 1;
    }
    this.#memory.sync();
    if (this.#operands.write(address, this.#shortCode)) return 1;
    this.interrupts.add(interrupt);
    return 'addressing';
  }

  /** Executes STORE CHANNEL REPORT WORD: stores the word at `address`. */
  stcrw(address: number): InstructionEnding {
    if ((address & 3) !== 0) return 'specification';
    const report = this.#reports.take();
    const word = new Uint8Array(4);
    if (report !== undefined) {
      word.set([report.flags >> 8, report.flags & 0xff, report.rsid >> 8, report.rsid & 0xff]);
    }
    this.#memory.sync();
    if (this.#operands.write(address, word)) return report === undefined ? 1 : 0;
    if (report !== undefined) this.#reports.undo(report);
    return 'addressing';
  }

  /**
   * Executes DIAGNOSE 0x500: general registers 1 (subcode), 2 and 3 as numbers; only the low word of register 2 counts.
   * Answers what register 2 becomes: 0, or a negative error.
   */
  diagnose500(subcode: number, register2: number, register3: number): number | 'specification' {
    if (subcode === SUBCODE.CCW_NOTIFY) return this.#notify(register2 | 0, register3);
    // early console output of old drivers: a place in memory, or nothing
    if (subcode === SUBCODE.NOTIFY) return this.#memory.covers(register2 as Gpa, 1) ? 0 : EINVAL;
    return 'specification';
  }

  /** Notifies a queue for the driver. Virtio 1.3 §4.3.3.2 */
  #notify(id: number, data: number): number {
    // Virtio 1.3 §4.3.3.2.1 MUST: bits 0 to 31 of general register 2 are ignored
    const found = this.#devices.find(id);
    if (typeof found === 'string') return EINVAL;
    const queue = data % 0x10000;
    if (!found.queueExists(queue)) return EINVAL;
    found.kick(queue);
    return 0;
  }

  // Interrupts

  /** Is there an interrupt for a CPU whose control register 6 (low word) has these subclasses enabled? */
  interruptPending(cr6: number): boolean {
    return this.interrupts.pending(cr6);
  }

  /**
   * Interrupts the guest: takes the next pending interrupt and stores its code into the low core at `prefix`. The
   * machine swaps the PSW. False: there is none.
   */
  deliverInterrupt(cr6: number, prefix = 0): boolean {
    return this.tpi(0, cr6, prefix) === 1;
  }

  // State

  /** Takes the state of section `s390_css`. */
  captureCss(): CssState {
    const { maxCssid, maxSsid } = this.#devices;
    return { ...this.#reports.capture(), maxCssid, maxSsid, ...this.#kept };
  }

  /**
   * Takes over the state of section `s390_css`. Pending interrupts are in {@link interrupts}, which has a capture and
   * restore of its own.
   */
  restoreCss(state: CssState): void {
    const { seiPending, chnmonActive, chnmonArea, css, defaultCssid } = state;
    this.#kept = { seiPending, chnmonActive, chnmonArea, css, defaultCssid };
    this.#devices.maxCssid = state.maxCssid;
    this.#devices.maxSsid = state.maxSsid;
    this.#reports.restore(state);
  }

  /** Fetches an operand: its bytes, or why not. */
  #fetch(address: number, length: number): Uint8Array | ProgramException {
    if ((address & 3) !== 0) return 'specification';
    const bytes = new Uint8Array(length);
    this.#memory.sync();
    return this.#operands.read(address, bytes) ? bytes : 'addressing';
  }

  #writable(address: number, length: number): boolean {
    this.#memory.sync();
    return this.#operands.writable(address, length);
  }

  /** Reports a subchannel that came or went. QEMU: `css_generate_sch_crws`. */
  #report({ cssid, ssid, schid }: Subchannel): void {
    const { maxCssid, maxSsid } = this.#devices;
    const single = maxCssid === 0;
    if (ssid > maxSsid || (single && cssid !== VIRTUAL_CSSID)) return;
    const chained = maxSsid > 0 || !single;
    this.#reports.add(CRW.SUBCHANNEL_IPI | (chained ? CRW.CHAINED : 0), schid);
    if (chained) this.#reports.add(CRW.SUBCHANNEL_IPI, ((single ? 0 : cssid) << 8) | (ssid << 4));
  }
}

const NO_MONITORING = { seiPending: false, chnmonActive: false, chnmonArea: 0n };

/** Writes the I/O interruption code, 12 bytes. */
function putInterruption(bytes: Uint8Array, { id, nr, parm, word }: PendingInterrupt): void {
  put16(bytes, 0, id);
  put16(bytes, 2, nr);
  put32(bytes, 4, parm);
  put32(bytes, 8, word);
}
