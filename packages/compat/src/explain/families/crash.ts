import type { Family } from '../family.ts';

/** Messages of a QEMU that ended by itself: assertions, signals, the kernel's out-of-memory killer. */
export const crashFamilies: readonly Family[] = [
  {
    code: 'assertion',
    pattern:
      /(?<![\w./-])(?<file>[\w./-]{1,120}\.[ch]):(?<number>\d+): (?:\w[\w ]* )?(?<function>\w+): Assertion [`'](?<condition>.{1,200}?)' failed|ERROR:(?<file2>[\w./-]{1,120}\.[ch]):(?<number2>\d+):(?<function2>\w+): (?:assertion failed|code should not be reached)/,
    meaning:
      'QEMU ended itself: something was the case that its authors hold for impossible ({file}{file2}, {function}{function2}: {condition}). That is a defect of this QEMU, or a stream that does not fit and was not recognised as such.',
    advice: [
      'Update QEMU on this host (search its bug tracker for the function and the condition), and compare machine type and devices of both sides; the VM runs on at the source if it was the destination that ended.',
    ],
  },
  {
    code: 'killed',
    pattern:
      /terminating on signal (?<signal>\d+)(?: from pid (?<pid>\d+) \((?<by>[^)]*)\))?|[Oo]ut of memory: Kill(?:ed)? process (?<killed>\d+)|oom-kill|oom_reaper|killed by signal (?<signal2>\d+)|reason=crashed|OOMKilled|segfault at|core dumped|shutting down, reason=(?:destroyed|crashed)/,
    role: 'consequence',
    meaning: 'QEMU was ended from outside or crashed (signal {signal}{signal2} {by}).',
    advice: [
      'After a failed migration libvirt ends the other QEMU itself (signal 15): then the reason stands before it, or on the other side. Out of memory: give the host or the pod more.',
    ],
  },
];
