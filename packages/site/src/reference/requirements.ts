// What of the specification is met: the ledger of the project, as tables.
import { readLedger, type Section } from '../../../../.ci/musts-ledger.mjs';
import { repository } from '../places.ts';
import { plain, table } from '../table.ts';

const SHOWN: Readonly<Record<string, string>> = {
  met: 'met',
  'met, no test': 'met, without a test',
  'not met': 'not met',
  'not applicable': 'not offered',
  reworded: 'as before',
};

/** `summary`: numbers by section; `not met`: those that are not, with the reason; `all`: everything. */
export function requirements(name: string): string {
  const { sections } = readLedger(`${repository}.ci/musts.txt`);
  const counted = sections.filter(({ count }: Section) => count > 0);
  if (name === 'summary') return summary(counted);
  if (name === 'not met') return notMet(counted);
  if (name === 'all') return counted.map(sectionText).join('\n\n');
  throw new Error(`there is no table “${name}” of requirements`);
}

const title = ({ version, section, title: words }: Section): string =>
  `Virtio ${version} §${section}: ${words}`;

function summary(sections: readonly Section[]): string {
  const rows = sections.map((section) => {
    const of = (...verdicts: string[]): number =>
      section.rows.filter(({ verdict }) => verdicts.includes(verdict)).length;
    return [title(section), of('met'), of('met, no test'), of('not met'), of('not applicable', 'reworded')];
  });
  const sums = [1, 2, 3, 4].map((column) => rows.reduce((sum, row) => sum + Number(row[column]), 0));
  const shown = (row: readonly (string | number)[]): string[] =>
    row.map((each) => (each === 0 ? '' : plain(String(each))));
  return table(
    ['section', 'met', 'met, without a test', 'not met', 'not offered, or as in 1.3'],
    [...rows.map(shown), ['**all**', ...sums.map((sum) => `**${sum}**`)]],
  );
}

function notMet(sections: readonly Section[]): string {
  return table(
    ['requirement', 'level', 'what is asked', 'why not'],
    sections.flatMap((section) =>
      section.rows
        .filter(({ verdict }) => verdict === 'not met')
        .map(({ number, level, what, rest }) => [
          `Virtio ${section.version} §${section.section}/${number}`,
          level,
          plain(what),
          plain(rest[0] ?? ''),
        ]),
    ),
  );
}

function sectionText(section: Section): string {
  const rows = section.rows.map(({ number, level, what, verdict }) => [
    String(number),
    level,
    plain(what),
    SHOWN[verdict] ?? verdict,
  ]);
  return `### ${plain(title(section))}\n\n${table(['', 'level', 'what is asked', ''], rows)}`;
}
