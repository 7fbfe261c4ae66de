import type { FeatureControl } from './feature-control.ts';

/** Meaning of one line that QEMU prints. */
export interface Explanation {
  /** The line, without the program's name and time in front. */
  readonly line: string;
  /** Short name of the kind of message, for programs; it does not change: `features`, `ring-index`, `pci-config`, … */
  readonly code: string;
  /**
   * `cause`: the load or the save has failed for this reason. `consequence`: something failed because something else
   * had, and the advice says where the reason is told. `context`: the line only says where or that the load failed.
   * `warning`: QEMU goes on.
   */
  readonly role: 'cause' | 'consequence' | 'context' | 'warning';
  /** Meaning of the line, in whole sentences. */
  readonly meaning: string;
  /** Things to change, most likely first. */
  readonly advice: readonly string[];
  /** The values of the line by name. */
  readonly facts: Readonly<Record<string, string | number>>;
  /** The VM that the line is about, if the log says so. */
  readonly vm?: string;
  /** The feature bits that the line is about. */
  readonly features?: readonly ExplainedFeature[];
}

/** A feature bit of a message, and what decides over it. */
export type ExplainedFeature = Pick<
  FeatureControl,
  'bit' | 'name' | 'property' | 'machine' | 'needs' | 'spec'
>;

/** Facts that a log tells about where a message comes from: they are in the lines around it, about the same VM. */
export interface LogContext {
  /** Name of the device type that a line names, where its features are known: `virtio-net`. */
  readonly device?: string;
  /** Name of a virtio device of a type whose features are not known. */
  readonly other?: string;
  /** Path of the device: `0000:00:02.0`. */
  readonly path?: string;
  /** The first field of a device that was not loaded: `max_queue_pairs`. */
  readonly field?: string;
  /**
   * Program that wrote the line, as its lines begin: `qemu-kvm`, as RHEL and distributions made from it call it, or
   * `qemu-system-x86_64`.
   */
  readonly program?: string;
  /** The machine type that a command line in the log names: `pc-q35-rhel9.6.0`. */
  readonly machine?: string;
}

/** Rule for a kind of message of QEMU's: a pattern, and what such a message means. */
export interface MessageRule {
  /** True if QEMU does not say what was the matter: the rule holds where no line of the log tells a cause. */
  readonly silent?: true;
  /**
   * True if the pattern is so wide that it is tried only on lines of which is known that QEMU itself wrote them, behind
   * all others.
   */
  readonly broad?: true;
  /** Pattern of a line without program and time in front. */
  readonly pattern: RegExp;
  /** Explains a line that {@link pattern} has matched. Undefined: in this log it is not about what the rule is for. */
  explain(match: RegExpExecArray, context: LogContext): Omit<Explanation, 'line' | 'vm'> | undefined;
}

/** A capture group of a pattern that has matched; empty if the group took no part. */
export function group(match: RegExpExecArray, index: number): string {
  return match[index] ?? '';
}

/**
 * Makes the rule for messages of a device that a driver has broken; the pattern's first group is what QEMU says of the
 * driver.
 */
export function driverMistake(pattern: RegExp): MessageRule {
  return {
    pattern,
    explain: (match) => ({
      code: 'guest-error',
      role: 'cause',
      meaning: `The guest's driver broke the rules of its queue ("${group(match, 1)}"). QEMU stops the device: it works on no request until the driver resets it.`,
      advice: [
        'After a migration: the ring in memory and the device state do not belong together (see the messages before this one).',
        'Without a migration: look for a defect in the guest driver, or for memory corruption in the guest.',
      ],
      facts: { message: group(match, 1) },
    }),
  };
}
