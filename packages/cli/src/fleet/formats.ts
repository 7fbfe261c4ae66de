// What a fleet's check prints: for people, for Prometheus, for what reads JUnit.
import type { Verdict } from '@virtkit/compat';
import { harmless, textOf } from '../output.ts';
import type { Summary } from './causes.ts';
import type { VmResult } from './check-fleet.ts';

/** Number of names of machines that stand in one line of the summary. */
const NAMES_SHOWN = 5;

/** Writes one machine as a line of JSON. Notes are left out: they are the same for all. */
export function jsonLine({ verdicts, ...result }: VmResult): string {
  return `${JSON.stringify({ format: 1, ...result, verdicts: verdicts.filter(isCause) })}\n`;
}

function isCause({ severity }: Verdict): boolean {
  return severity !== 'note';
}

/** Functions that show words that matter: in colours, or as they are. */
export interface Painter {
  readonly bold: (text: string) => string;
  readonly red: (text: string) => string;
  readonly yellow: (text: string) => string;
}

/** Writes the summary that a person reads. */
export function summaryText(summary: Summary, target: string, pc: Painter): string {
  const { refused, unknown, depends, loads } = summary.counts;
  const open = unknown + depends;
  const lines = [
    pc.bold(
      `${summary.total} ${summary.total === 1 ? 'machine' : 'machines'} against ${target}: ${loads} move, ${refused} ${refused === 1 ? 'is' : 'are'} refused, of ${open} it is not known`,
    ),
  ];
  for (const { severity, reason, cure, vms } of summary.causes) {
    const color = severity === 'refused' ? pc.red : pc.yellow;
    const some = vms.slice(0, NAMES_SHOWN).join(', ');
    const more = vms.length > NAMES_SHOWN ? ` and ${vms.length - NAMES_SHOWN} others` : '';
    lines.push(
      `${color(severity)}: ${vms.length} ${vms.length === 1 ? 'machine' : 'machines'}: ${reason}`,
      `  ${some}${more}`,
      `  What to do: ${cure}`,
    );
  }
  const { best } = summary;
  if (best !== undefined)
    lines.push(
      `${best.cured} of ${summary.total - loads} that do not move for certain would by one change: ${best.cure}`,
    );
  return textOf(lines);
}

/** Writes Prometheus' text format: counts by answer, by cause, and a line for each machine. */
export function prometheusText(results: readonly VmResult[], summary: Summary, target: string): string {
  // what would drive a terminal is made harmless first: its backslashes are escaped, too, and those of this format are no others
  const label = (value: string): string =>
    `"${harmless(value).replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;
  const lines = [
    '# HELP virtkit_check_machines Machines by what the target would make of their state.',
    '# TYPE virtkit_check_machines gauge',
    ...Object.entries(summary.counts).map(
      ([answer, count]) => `virtkit_check_machines{target=${label(target)},answer=${label(answer)}} ${count}`,
    ),
    '# HELP virtkit_check_cause_machines Machines by what speaks against their move.',
    '# TYPE virtkit_check_cause_machines gauge',
    ...summary.causes.map(
      ({ severity, code, properties, reason, vms }) =>
        `virtkit_check_cause_machines{target=${label(target)},severity=${label(severity)},code=${label(code)},properties=${label(properties)},reason=${label(reason)}} ${vms.length}`,
    ),
    '# HELP virtkit_check_machine_moves Whether nothing speaks against the move of a machine.',
    '# TYPE virtkit_check_machine_moves gauge',
    ...results.map(
      ({ vm, source, answer }) =>
        `virtkit_check_machine_moves{target=${label(target)},machine=${label(vm)},source=${label(source)},answer=${label(answer)}} ${answer === 'loads' ? 1 : 0}`,
    ),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

/** Writes JUnit's XML: a test case for each machine; what is refused has failed, what is not known is an error. */
export function junitText(results: readonly VmResult[], summary: Summary, target: string): string {
  const { refused, unknown, depends } = summary.counts;
  const cases = results.map(({ vm, source, answer, verdicts }) => {
    const open = `  <testcase name="${xml(vm)}" classname="${xml(source)}"`;
    if (answer === 'loads') return `${open}/>\n`;
    const causes = verdicts.filter(isCause);
    const worst = causes.find(({ severity }) => severity === answer) ?? causes[0];
    const element = answer === 'refused' ? 'failure' : 'error';
    const all = causes.map(({ severity, path, reason }) => `${severity}: ${path}: ${reason}`).join('\n');
    return `${open}>\n    <${element} type="${xml(worst?.code ?? answer)}" message="${xml(worst?.reason ?? answer)}">${xml(all)}</${element}>\n  </testcase>\n`;
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name="virtkit check ${xml(target)}" tests="${summary.total}" failures="${refused}" errors="${unknown + depends}">\n${cases.join('')}</testsuite>\n`;
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Pattern of what XML cannot hold: control characters, and halves of characters. */
const NOT_XML =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** Writes text in XML: what that cannot hold becomes U+FFFD. */
function xml(text: string): string {
  return text
    .replace(/[&<>"]/g, (character) => ENTITIES[character] ?? character)
    .replace(NOT_XML, '\ufffd')
    .replace(/[\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`);
}
