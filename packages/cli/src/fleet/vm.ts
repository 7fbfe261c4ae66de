import type { RunningMachine } from '@virtkit/compat';
import type { MachineDescription, MachineOutline } from '@virtkit/libvirt';

/** Machine of a fleet, as its management describes it. */
export interface DescribedVm {
  /** Description or outline of the machine, or the text of a QEMU command line. */
  readonly description: MachineDescription | MachineOutline | string;
  /** Features that the guest's drivers have negotiated, by the id of the device, where that is known. */
  readonly features?: ReadonlyMap<string, bigint>;
  /** Answers of its QEMU, where it runs and was asked. */
  readonly running?: RunningMachine;
}

/** Machine of a fleet that can be read. */
export interface Vm {
  readonly name: string;
  /** Place of the machine: a file, a connection, a namespace. */
  readonly source: string;
  /** Reads the machine's description. It may fail: that is said of this machine alone. */
  describe(): Promise<DescribedVm>;
}
