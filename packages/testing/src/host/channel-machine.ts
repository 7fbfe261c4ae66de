import { DriverError } from '../spec.ts';
import type { ChannelInstructions } from '../transport/channel-instructions.ts';

/**
 * Channel subsystem as the machine needs it: `ChannelSubsystem` of `@virtkit/transport-ccw`. Instructions answer their
 * condition code, or the name of the program exception that they cause.
 */
export interface ChannelSubsystemLike {
  /** Executes STORE SUBCHANNEL: condition code, or the name of a program exception. */
  stsch(id: number, address: number): number | string;
  /** Executes MODIFY SUBCHANNEL with the SCHIB at `address`. */
  msch(id: number, address: number): number | string;
  /** Executes START SUBCHANNEL with the ORB at `address`. */
  ssch(id: number, address: number): number | string;
  /** Executes TEST SUBCHANNEL: the IRB goes to `address`. */
  tsch(id: number, address: number): number | string;
  /** Executes CLEAR SUBCHANNEL. */
  csch(id: number): number | string;
  /** Executes TEST PENDING INTERRUPTION: the code goes to `address`, or to low core if that is 0. */
  tpi(address: number, cr6: number): number | string;
  /** Executes the hypercall by which a driver notifies a queue: answers general register 2. */
  diagnose500(subcode: number, register2: number, register3: number): number | string;
}

/** Value of control register 6 (low word) that enables interrupts of all subclasses. */
const ALL_SUBCLASSES = 0xff00_0000;
const CCW_NOTIFY = 3;

/**
 * Machine with channel I/O for tests and examples: the instructions of a CPU that is always enabled for all subclasses.
 */
export class ChannelMachine implements ChannelInstructions {
  /** Channel subsystem whose instructions the drivers execute. */
  readonly subsystem: ChannelSubsystemLike;

  constructor(subsystem: ChannelSubsystemLike) {
    this.subsystem = subsystem;
  }

  stsch(schid: number, address: number): number {
    return conditionCode('STORE SUBCHANNEL', this.subsystem.stsch(schid, address));
  }

  msch(schid: number, address: number): number {
    return conditionCode('MODIFY SUBCHANNEL', this.subsystem.msch(schid, address));
  }

  ssch(schid: number, address: number): number {
    return conditionCode('START SUBCHANNEL', this.subsystem.ssch(schid, address));
  }

  tsch(schid: number, address: number): number {
    return conditionCode('TEST SUBCHANNEL', this.subsystem.tsch(schid, address));
  }

  csch(schid: number): number {
    return conditionCode('CLEAR SUBCHANNEL', this.subsystem.csch(schid));
  }

  tpi(address: number): number {
    return conditionCode('TEST PENDING INTERRUPTION', this.subsystem.tpi(address, ALL_SUBCLASSES));
  }

  notify(schid: number, queue: number): number {
    return conditionCode('DIAGNOSE 0x500', this.subsystem.diagnose500(CCW_NOTIFY, schid, queue));
  }
}

function conditionCode(instruction: string, ending: number | string): number {
  if (typeof ending === 'number') return ending;
  throw new DriverError(`${instruction}: program exception (${ending})`);
}
