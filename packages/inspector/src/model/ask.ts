// Questions about a stream, and about an error text. What answers them is loaded with the first one.
import type { Target } from '@virtkit/compat';
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
  /** Machine there: a domain's XML, or a QEMU command line; absent: the one in a libvirt save file's header, else as at the source. */
  readonly machine?: string;
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
  question: Question,
): Promise<CheckAnswer> {
  const { answerOf, checkStream, unreadable } = await import('@virtkit/compat');
  let target: Target;
  try {
    target = await targetOf(question, opened);
  } catch (error) {
    if (isStateError(error)) return { wrong: error.message };
    throw error;
  }
  const found = checkStream(opened.stream, target, registry);
  const verdicts = opened.error === undefined ? found : [...found, unreadable(opened.error)];
  return {
    answer: answerOf(verdicts),
    verdicts: verdicts.map((verdict) => placed(verdict, opened, devices)),
  };
}

/** Makes the target of a question. @throws StateError for words that are none, and a description that cannot be read */
async function targetOf({ target, devices, machine }: Question, { stream }: Opened): Promise<Target> {
  const { describedTarget, parseTarget } = await import('@virtkit/compat');
  const description = machine ?? savedDomain(stream);
  if (description === undefined) return parseTarget(target, { devices });
  if (!description.trimStart().startsWith('<'))
    return parseTarget(target, { devices, commandLine: description });
  const { describeDomain } = await import('@virtkit/libvirt');
  return describedTarget(target, describeDomain(description), { devices });
}

/** Finds the domain in the header of a libvirt save file; undefined where there is none that names devices. */
export function savedDomain({ libvirt }: Opened['stream']): string | undefined {
  if (libvirt === undefined || !libvirt.xml.includes('<devices')) return undefined;
  return new TextDecoder().decode(Uint8Array.from(libvirt.xml, (char) => char.charCodeAt(0)));
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

/** Lists names of targets: QEMU's versions and releases of distributions. */
export async function targetNames(): Promise<readonly string[]> {
  const { RELEASES, VERSIONS } = await import('@virtkit/compat');
  return [...VERSIONS.map(({ name }) => `qemu-${name}`), ...RELEASES.map(({ name }) => name)];
}
