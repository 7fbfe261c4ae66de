import { buffer, s64, u8, u32, type ValueOf, type VMState, vmstate } from '@virtkit/vmstate';

const timerFields = vmstate('timer', 2)
  .fields({
    /** Time stamp counter, less the host's. */
    cpuTicksOffset: s64,
  })
  .unused(8)
  .fields({
    /** Virtual clock, less the host's, in nanoseconds. */
    cpuClockOffset: s64,
  });

const globalStateFields = vmstate('globalstate', 1).fields({
  /** Bytes of the name with its NUL. */
  size: u32,
  /** Name of the run state, such as `running` or `paused`, padded with zeros. */
  runstate: buffer(32),
  /** The next field says something. */
  hasVmWasSuspended: u8,
  /** The machine was suspended by its guest before it was stopped. */
  vmWasSuspended: u8,
  unused: buffer(66),
});

/** {@link timers}' value. */
export type TimerState = ValueOf<typeof timerFields>;

/** Section `timer`: the clocks of the machine. QEMU: `vmstate_timers`. */
export const timers: VMState<TimerState> = timerFields;

/** {@link globalState}'s value. */
export type GlobalState = ValueOf<typeof globalStateFields>;

/**
 * Section `globalstate`: was the machine running? In the form of QEMU 9.0; before, the name had all 100 bytes, and its
 * zeros mean the same here.
 */
export const globalState: VMState<GlobalState> = globalStateFields;
