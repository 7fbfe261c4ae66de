import { buffer, s64, u8, u32, type ValueOf, type VMState, vmstate } from '@virtkit/vmstate';

const timerFields = vmstate('timer', 2)
  .fields({
    /** Time stamp counter of the guest, less the host's, in ticks. */
    cpuTicksOffset: s64,
  })
  .unused(8)
  .fields({
    /** Virtual clock of the guest, less the host's, in nanoseconds. */
    cpuClockOffset: s64,
  });

const globalStateFields = vmstate('globalstate', 1).fields({
  /** Length in bytes of the run state's name with its NUL. */
  size: u32,
  /** Name of the run state, such as `running` or `paused`, padded with zeros. */
  runstate: buffer(32),
  /** Flag that says whether {@link vmWasSuspended} means something. */
  hasVmWasSuspended: u8,
  /** Flag that says that the machine was suspended by its guest before it was stopped. */
  vmWasSuspended: u8,
  unused: buffer(66),
});

/** Type of the value that {@link timers} decodes. */
export type TimerState = ValueOf<typeof timerFields>;

/** Section `timer`: the clocks of the machine. QEMU: `vmstate_timers`. */
export const timers: VMState<TimerState> = timerFields;

/** Type of the value that {@link globalState} decodes. */
export type GlobalState = ValueOf<typeof globalStateFields>;

/**
 * Section `globalstate`, which says whether the machine was running, in the form of QEMU 9.0. Before, the name had all
 * 100 bytes, and its zeros mean the same here.
 */
export const globalState: VMState<GlobalState> = globalStateFields;
