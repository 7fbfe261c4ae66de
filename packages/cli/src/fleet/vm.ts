import type { RunningMachine } from '@virtkit/compat';
import type { MachineDescription } from '@virtkit/libvirt';

/** A machine of a fleet, as its management describes it. */
export interface DescribedVm {
  /** A description, or the text of a QEMU command line. */
  readonly description: MachineDescription | string;
  /** The features that the guest's drivers have negotiated, by the id of the device, where that is known. */
  readonly features?: ReadonlyMap<string, bigint>;
  /** What its QEMU said of itself, where it runs and was asked. */
  readonly running?: RunningMachine;
}

/** One machine of a fleet. */
export interface Vm {
  readonly name: string;
  /** Where it is: a file, a connection, a namespace. */
  readonly source: string;
  /** Reads what there is of it. It may fail: that is said of this machine alone. */
  describe(): Promise<DescribedVm>;
}
