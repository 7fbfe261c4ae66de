import type { Allocator, GuestRam } from '../ram.ts';
import { DriverError } from '../spec.ts';
import type { ChannelInstructions } from './channel-instructions.ts';
import { IoInterruptions } from './io-interrupts.ts';
import type { Reach } from './transport.ts';

/** Status of a channel program at its end, from the interruption response block. */
export interface ChannelStatus {
  /** Device status: 0x04 device end, 0x08 channel end, 0x02 unit check. */
  readonly device: number;
  /** Subchannel status: 0x20 program check. */
  readonly subchannel: number;
  /** Residual count: bytes of the command's count that were not moved. */
  readonly count: number;
  /** Status control bits: 0x10 alert, 0x04 primary, 0x01 status pending. */
  readonly control: number;
}

const SCHIB_BYTES = 52;
const IRB_BYTES = 96;
const PMCW_ENABLE = 0x0080;
const ORB_FORMAT_1 = 0x0080;
const ORB_PREFETCH = 0x0040;
const DEVICE_END = 0x04;
const STATUS_PENDING = 0x01;
const ALERT = 0x10;
/** Number of interruptions taken at a time. */
const AT_ONCE = 16;
const CC_DONE = 0;
const CC_STATUS_PENDING = 1;

/**
 * Runner of channel commands of one subchannel, built in guest memory and run by START SUBCHANNEL. All are big-endian.
 */
export class ChannelDriver {
  /** Machine whose instructions are executed. */
  readonly host: Reach<ChannelInstructions>;
  /** Subsystem identification word. */
  readonly schid: number;
  readonly #ram: GuestRam;
  /** Address of the memory for an SCHIB, ORB or IRB. */
  readonly #block: number;
  readonly #program: number;
  readonly #isc: number;
  readonly #interruptions: IoInterruptions;
  /** Number of adapter interruptions that this driver has seen. */
  #adapters: number;
  /** True if something unsolicited came while a channel program ran. */
  #unsolicited = false;

  constructor(host: Reach<ChannelInstructions>, memory: Allocator, schid: number, isc = 3) {
    this.host = host;
    this.schid = schid;
    this.#ram = memory.ram;
    this.#block = memory.alloc(IRB_BYTES, 8);
    this.#program = memory.alloc(16, 8);
    this.#isc = isc;
    this.#interruptions = IoInterruptions.of(memory.ram);
    this.#adapters = this.#interruptions.adapters;
  }

  /** Ends whatever goes on at the subchannel, whoever began it. */
  clear(): void {
    if (this.host().csch(this.schid) === CC_DONE) this.testSubchannel();
  }

  /** Enables the subchannel. Answers false if there is none, or it has no device. */
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

  /** Disables the subchannel. */
  disable(): void {
    const { stsch, msch } = this.#instructions();
    stsch();
    this.#ram.setU16(this.#block + 4, this.#ram.u16(this.#block + 4, false) & ~PMCW_ENABLE, false);
    msch();
  }

  /** Reads the SCHIB by STORE SUBCHANNEL. */
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
      this.#unsolicited = true;
      this.testSubchannel();
      this.#writeOrb();
      cc = this.host().ssch(this.schid, this.#block);
    }
    if (cc !== CC_DONE) throw new DriverError(`START SUBCHANNEL: condition code ${cc}`);
    for (;;) {
      if (this.#interruptions.take(this.schid) === undefined) {
        if (this.#interruptions.poll(this.host())) continue;
        throw new DriverError('a channel program ended without an interruption');
      }
      const status = this.testSubchannel();
      if (status !== undefined && (status.control & ~(ALERT | STATUS_PENDING)) !== 0) return status;
      // only the indicators tell what it was
      this.#unsolicited = true;
    }
  }

  /** Has something interrupted since this was asked last? Status of this subchannel is cleared with it. */
  takeInterruptions(): boolean {
    // not for ever: a device may interrupt as fast as it is asked
    for (let count = 0; count < AT_ONCE && this.#interruptions.poll(this.host()); count++);
    let any = this.#unsolicited || this.#interruptions.adapters > this.#adapters;
    this.#unsolicited = false;
    this.#adapters = this.#interruptions.adapters;
    while (this.#interruptions.take(this.schid) !== undefined) {
      this.testSubchannel();
      any = true;
    }
    return any;
  }

  /** Executes TEST SUBCHANNEL; undefined if no status was pending. */
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

  /** Writes a channel command of format 1. */
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
