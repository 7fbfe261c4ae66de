import { checkStream, parseTarget, type Verdict } from '@virtkit/compat';
import pc from 'picocolors';
import type { Read } from './read.ts';
import { registry } from './registry.ts';

/** What `virtkit check` prints, and whether the target refuses the stream. */
export interface Checked {
  readonly text: string;
  readonly refused: boolean;
}

/** Will the target load this stream? */
export function check(read: Read, target: string, json: boolean): Checked {
  const verdicts = checkStream(read.stream, parseTarget(target), registry);
  const refused = verdicts.some(({ severity }) => severity === 'refused');
  if (json)
    return {
      refused,
      text: `${JSON.stringify({ format: 1, target, loads: !refused, verdicts }, null, 2)}\n`,
    };
  const last = refused
    ? pc.red(`${target} refuses this stream`)
    : verdicts.some(({ severity }) => severity === 'depends')
      ? pc.yellow(`${target} loads this stream, if what is said above holds`)
      : `${target} loads this stream, with the devices that the source had`;
  return { refused, text: `${[...verdicts.map(verdictText), last].join('\n')}\n` };
}

/** One verdict in lines. */
export function verdictText(verdict: Verdict): string {
  const { severity, path, reason, qemuSays, feature, property, machine, spec, advice, convertible } = verdict;
  const color = severity === 'refused' ? pc.red : severity === 'depends' ? pc.yellow : pc.dim;
  const lines = [
    `${color(severity)}: ${path}: ${reason}`,
    ...(qemuSays === undefined ? [] : [`  QEMU says: ${qemuSays}`]),
    ...(feature === undefined && property === undefined
      ? []
      : [
          `  ${[feature, property === undefined ? undefined : `property ${property}`, machine === undefined ? undefined : `on since machine ${machine}`, spec].filter((part) => part !== undefined).join(', ')}`,
        ]),
    ...(advice === undefined ? [] : [`  What to do: ${advice}`]),
    ...(convertible === true ? ['  virtkit convert makes it load'] : []),
  ];
  return lines.join('\n');
}
