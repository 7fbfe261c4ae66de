import type { Allocator, GuestRam } from '../ram.ts';
import { DriverError } from '../spec.ts';
import type { ChannelInstructions } from './channel-instructions.ts';
import type { Reach } from './transport.ts';

/** How a channel program ended, from the interruption response block. */
export interface ChannelStatus {
  /** Device status: 0x04 device end, 0x08 channel end, 0x02 unit check. */
  readonly device: number;
  /** Subchannel status: 0x20 program check. */
  readonly subchannel: number;
  /** Residual count. */
  readonly count: number;
  /** Status control bits: 0x10 alert, 0x04 primary, 0x01 status pending. */
  readonly control: number;
}

/** An I/O interruption. Principles of Operation, chapter 16 */
export interface IoInterruption {
  /** Subsystem identification: set id and 1, then the subchannel's number. */
  readonly schid: number;
  readonly parm: number;
  readonly isc: number;
  readonly adapter: boolean;
}

const SCHIB_BYTES = 52;
const IRB_BYTES = 96;
/** Low core: where TEST PENDING INTERRUPTION with address 0 stores. */
const LOW_CORE_INTERRUPTION = 0xb8;
const PMCW_ENABLE = 0x0080;
const ORB_FORMAT_1 = 0x0080;
const ORB_PREFETCH = 0x0040;
const DEVICE_END = 0x04;
const STATUS_PENDING = 0x01;
const CC_DONE = 0;
const CC_STATUS_PENDING = 1;

/** Channel commands of one subchannel, built in guest memory and run by START SUBCHANNEL. All big-endian. */
export class ChannelDriver {
  readonly host: Reach<ChannelInstructions>;
  /** Subsystem identification word. */
  readonly schid: number;
  readonly #ram: GuestRam;
  /** SCHIB, ORB or IRB. */
  readonly #block: number;
  readonly #program: number;
  readonly #isc: number;
  /** Interruptions that came while a channel program ran. */
  readonly #others: IoInterruption[] = [];

  constructor(host: Reach<ChannelInstructions>, memory: Allocator, schid: number, isc = 3) {
    this.host = host;
    this.schid = schid;
    this.#ram = memory.ram;
    this.#block = memory.alloc(IRB_BYTES, 8);
    this.#program = memory.alloc(16, 8);
    this.#isc = isc;
  }

  /** Enables the subchannel. False if there is none, or it has no device. */
  enable(): boolean {
    const { stsch, msch } = this.#instructions();
    if (stsch() !== CC_DONE) return false;
    const flags = this.#ram.u16(this.#block + 4, false);
    if ((flags & 1) === 0) return false;
    this.#ram.setU32(this.#block, this.schid, false);
    this.#ram.setU16(this.#block + 4, (flags & ~0x3800) | (this.#isc << 11) | PMCW_ENABLE, false);
    const cc = msch();
    if (cc !== CC_DONE) throw new DriverError(`MODIFY SUBCHANNEL: condition code ${cc}`);
    return true;
  }

  disable(): void {
    const { stsch, msch } = this.#instructions();
    stsch();
    this.#ram.setU16(this.#block + 4, this.#ram.u16(this.#block + 4, false) & ~PMCW_ENABLE, false);
    msch();
  }

  /** The stored SCHIB. */
  schib(): Uint8Array {
    this.#instructions().stsch();
    return this.#ram.read(this.#block, SCHIB_BYTES);
  }

  /**
   * Runs one command and waits for its end.
   *
   * @param data address and length of the command's data
   * @param flags 0x20: a wrong length is no error (SLI)
   */
  run(command: number, data: { readonly at: number; readonly length: number }, flags = 0): ChannelStatus {
    this.#writeCommand(command, data, flags);
    this.#writeOrb();
    let cc = this.host().ssch(this.schid, this.#block);
    if (cc === CC_STATUS_PENDING) {
      // something unsolicited came first: it is taken, and the start tried once more
      const interruption = this.#testPending();
      if (interruption !== undefined) this.#others.push(interruption);
      this.testSubchannel();
      this.#writeOrb();
      cc = this.host().ssch(this.schid, this.#block);
    }
    if (cc !== CC_DONE) throw new DriverError(`START SUBCHANNEL: condition code ${cc}`);
    for (;;) {
      const interruption = this.#testPending();
      if (interruption === undefined)
        throw new DriverError('a channel program ended without an interruption');
      if (interruption.adapter || interruption.schid !== this.schid) {
        this.#others.push(interruption);
        continue;
      }
      const status = this.testSubchannel();
      if (status !== undefined && (status.control & ~0x11) !== 0) return status;
      // unsolicited: only the indicators tell what it was
      this.#others.push(interruption);
    }
  }

  /** The next interruption, of whatever subchannel. Those of this one have been cleared at the subchannel. */
  take(): IoInterruption | undefined {
    const kept = this.#others.shift();
    if (kept !== undefined) return kept;
    const interruption = this.#testPending();
    if (interruption !== undefined && !interruption.adapter && interruption.schid === this.schid)
      this.testSubchannel();
    return interruption;
  }

  /** TEST SUBCHANNEL; undefined if no status was pending. */
  testSubchannel(): ChannelStatus | undefined {
    const cc = this.host().tsch(this.schid, this.#block);
    if (cc === 3) throw new DriverError('TEST SUBCHANNEL: not operational');
    const at = this.#block;
    const control = this.#ram.u16(at + 2, false) & 0x1f;
    if (cc !== CC_DONE || (control & STATUS_PENDING) === 0) return undefined;
    return {
      device: this.#ram.u8(at + 8),
      subchannel: this.#ram.u8(at + 9),
      count: this.#ram.u16(at + 10, false),
      control,
    };
  }

  #instructions(): { stsch: () => number; msch: () => number } {
    return {
      stsch: () => this.host().stsch(this.schid, this.#block),
      msch: () => this.host().msch(this.schid, this.#block),
    };
  }

  #testPending(): IoInterruption | undefined {
    if (this.host().tpi(0) === 0) return undefined;
    const at = LOW_CORE_INTERRUPTION;
    const word = this.#ram.u32(at + 8, false);
    return {
      schid: this.#ram.u32(at, false),
      parm: this.#ram.u32(at + 4, false),
      isc: (word >>> 27) & 7,
      adapter: word >>> 31 === 1,
    };
  }

  /** A CCW of format 1. */
  #writeCommand(
    command: number,
    data: { readonly at: number; readonly length: number },
    flags: number,
  ): void {
    const at = this.#program;
    this.#ram.setU8(at, command);
    this.#ram.setU8(at + 1, flags);
    this.#ram.setU16(at + 2, data.length, false);
    this.#ram.setU32(at + 4, data.at, false);
  }

  #writeOrb(): void {
    const at = this.#block;
    this.#ram.setU32(at, this.schid, false);
    this.#ram.setU16(at + 4, ORB_FORMAT_1 | ORB_PREFETCH, false);
    this.#ram.setU8(at + 6, 0xff);
    this.#ram.setU8(at + 7, 0);
    this.#ram.setU32(at + 8, this.#program, false);
    this.#ram.fill(at + 12, 20, 0);
  }
}

/** Did a channel program end well? */
export function succeeded({ device, subchannel }: ChannelStatus): boolean {
  return subchannel === 0 && (device & 0x02) === 0 && (device & DEVICE_END) !== 0;
}
