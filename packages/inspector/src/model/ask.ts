// Questions about a stream, and about an error text. What answers them is loaded with the first one.
import type { Diagnosis } from '@virtkit/compat';
import type { Verdict } from '@virtkit/core/qemu';
import { titleOf } from '@virtkit/migration';
import type { Examined } from '@virtkit/migration/inspect';
import { isStateError } from '@virtkit/vmstate';
import type { Opened } from './read.ts';
import { registry } from './registry.ts';

/** Question about a target, in the words of `virtkit check`. */
export interface Question {
  /** Name of the target: `qemu-11.1`, `rhel-9.6`, with `,machine=…` and others behind it. */
  readonly target: string;
  /** Properties of devices that are not as at the source: `virtio-blk-pci,num-queues=1`. */
  readonly devices: readonly string[];
}

/** Verdict, and where its field is. */
export type PlacedVerdict = Verdict & {
  /** Number of the device's section; absent where the verdict is about no device. */
  readonly section?: number;
  /** Path of the verdict's field in the section. */
  readonly field?: string;
};

/** Answer to the question whether a target loads a stream, or why the question is none. */
export type CheckAnswer =
  | {
      readonly answer: 'refused' | 'unknown' | 'depends' | 'loads';
      readonly verdicts: readonly PlacedVerdict[];
    }
  | { readonly wrong: string };

/** Answers whether a target will load a stream, as `virtkit check` does. */
export async function checkOpened(
  opened: Opened,
  devices: readonly Examined[],
  { target, devices: words }: Question,
): Promise<CheckAnswer> {
  const { answerOf, checkStream, parseTarget, unreadable } = await import('@virtkit/compat');
  try {
    const found = checkStream(opened.stream, parseTarget(target, { devices: words }), registry);
    const verdicts = opened.error === undefined ? found : [...found, unreadable(opened.error)];
    return {
      answer: answerOf(verdicts),
      verdicts: verdicts.map((verdict) => placed(verdict, opened, devices)),
    };
  } catch (error) {
    if (isStateError(error) && error.code === 'target') return { wrong: error.message };
    throw error;
  }
}

/** Finds the device and the field that a verdict's path names: `virtio-blk@0000:00:02.0 / queues[0].num`. */
function placed(verdict: Verdict, { stream }: Opened, devices: readonly Examined[]): PlacedVerdict {
  const [title, field] = verdict.path.split(' / ');
  const found = devices.find(({ device }) => titleOf(device) === title);
  if (found === undefined) return verdict;
  return {
    ...verdict,
    section: stream.sections.indexOf(found.device.section),
    ...(field !== undefined && { field }),
  };
}

/** Explains an error text, as `virtkit explain` does. */
export async function explained(text: string): Promise<readonly Diagnosis[]> {
  const { diagnose } = await import('@virtkit/compat');
  return diagnose(text);
}

/** Lists names of targets: QEMU's versions and releases of distributions. */
export async function targetNames(): Promise<readonly string[]> {
  const { RELEASES, VERSIONS } = await import('@virtkit/compat');
  return [...VERSIONS.map(({ name }) => `qemu-${name}`), ...RELEASES.map(({ name }) => name)];
}
