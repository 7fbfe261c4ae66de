import { type Diagnosis, diagnose, type Explanation, explain } from '@virtkit/compat';
import { colors as pc, textOf } from './output.ts';

/** Text that `virtkit explain` prints. */
export interface Explained {
  readonly text: string;
  /** False if nothing in the text was a message that virtkit knows. */
  readonly known: boolean;
}

/**
 * Answers a log: for each VM the one cause and the one cure in the first lines, what else there is to say behind them.
 */
export function explainText(input: string, json: boolean): Explained {
  const answers = diagnose(input);
  const known = answers.length > 0;
  if (json)
    return {
      known,
      text: `${JSON.stringify({ format: 2, answers: answers.map(jsonOf), messages: explain(input) }, null, 2)}\n`,
    };
  if (!known) return { known, text: '' };
  return { known, text: answers.map(block).join('\n') };
}

/** Turns an answer into JSON: its message by the line that it stands in, since the messages have all of it. */
function jsonOf({ vms, certainty, cause, cure, from, others, unknown }: Diagnosis): object {
  return {
    vms,
    certainty,
    cause,
    cure,
    ...(from !== undefined && { code: from.code, line: from.line }),
    others: others.map(({ explanation: { code, line }, count }) => ({ code, line, count })),
    unknown,
  };
}

function block(answer: Diagnosis): string {
  const { vms, cause, cure, from, others, unknown } = answer;
  return textOf([
    `${pc.bold(`Cause${vms.length === 0 ? '' : ` (${named(vms)})`}:`)} ${cause}`,
    `${pc.bold('Cure:')} ${cure}`,
    ...(from === undefined ? [] : [`${pc.bold('Said:')} ${from.line}`]),
    ...(from === undefined ? [] : detailsOf(from)),
    ...(others.length === 0 ? [] : ['', '  The log also says:']),
    ...others
      .slice(0, OTHERS_MAX)
      .flatMap(({ explanation: { line, meaning }, count }) => [
        `  - ${pc.dim(line)}${count > 1 ? ` (${count} times)` : ''}`,
        `    ${meaning}`,
      ]),
    ...(others.length > OTHERS_MAX ? [`  - and ${others.length - OTHERS_MAX} more (--json has all)`] : []),
    ...(unknown.length === 0 ? [] : ['', '  Not known to virtkit, and so not part of this answer:']),
    ...unknown.map((line) => `  - ${pc.dim(line)}`),
  ]);
}

/** Largest number of the other messages that are shown. */
const OTHERS_MAX = 20;

/** Writes names of VMs, the first few of many. */
function named(vms: readonly string[]): string {
  const shown = vms.slice(0, 5).join(', ');
  return `${vms.length === 1 ? 'VM' : `${vms.length} VMs:`} ${shown}${vms.length > 5 ? ', …' : ''}`;
}

/** Lists what else there is to do, and the features that it is about. */
function detailsOf({ advice, features = [] }: Explanation): string[] {
  return [
    ...features.map(
      ({ bit, name, property, machine, spec }) =>
        `  ${String(bit).padStart(4)} ${name}${property === undefined ? '' : `  property ${property}`}${machine === undefined ? '' : `, on since machine ${machine}`}  (${spec})`,
    ),
    ...(advice.length < 2 ? [] : ['  Else:', ...advice.slice(1).map((sentence) => `  - ${sentence}`)]),
  ];
}
