// The codes of errors and findings as tables: what they say comes from the sources, what there is to do is said once for each kind.
import { code, plain, table } from '../table.ts';
import { type CodeUse, codeUses } from './error-sources.ts';
import { packages } from './packages.ts';

/** Codes of errors that are thrown, by what a person does about them. The names are those of the tables in `pages/reference/errors.md`. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  damaged: [
    ...[
      'truncated',
      'magic',
      'section-type',
      'section-id',
      'section-twice',
      'section-missing',
      'section-kind',
    ],
    ...['idstr', 'footer', 'rest', 'trailing', 'duplicate-subsection', 'vmdesc', 'mapped-ram', 'changed'],
    ...['ram-block', 'ram-blocks', 'ram-continue', 'ram-compressed', 'ram-end', 'ram-fill', 'ram-flags'],
    ...['ram-missing', 'ram-offset', 'ram-rounds', 'ram-size', 'ram-xbzrle', 'v86-entry'],
  ],
  format: ['format', 'memory-dump', 'libvirt', 'libvirt-compressed', 'qcow2'],
  unknown: [
    'version',
    'unknown-subsection',
    'command',
    'capability',
    'page-bits',
    'ram-encoding',
    'layout',
    'v86-version',
  ],
  machine: [
    ...['machine', 'section', 'device-type', 'transport', 'iommu', 'ram-absent', 'ram-layout', 'disk-size'],
    ...['extra-state', 'v86-devices'],
  ],
  state: ['value', 'count', 'length', 'json', 'missing', 'unexpected'],
  input: ['target', 'xml', 'yaml', 'qm', 'url', 'ram-map', 'overlay', 'pasted'],
  limit: ['limit'],
  order: ['ended', 'hand-over', 'closed'],
};

/** Sentences that a row shows: more are variants of them. */
const SENTENCES_MAX = 3;

/** The tables by name: a kind of errors, or `findings`. @throws Error for a code that is of no kind, and a kind's code that nothing throws */
export async function errorCodes(name: string): Promise<string> {
  const uses = await codeUses((await packages()).map(({ folder }) => folder));
  const thrown = new Set(uses.filter(({ isThrown }) => isThrown).map((use) => use.code));
  const sorted = Object.values(KINDS).flat();
  const strays = [...thrown].filter((each) => !sorted.includes(each));
  const gone = sorted.filter((each) => !thrown.has(each));
  if (strays.length + gone.length > 0)
    throw new Error(
      `error codes of no kind: ${strays.join(', ')}; codes that nothing throws: ${gone.join(', ')}`,
    );
  if (name === 'findings') return rowsOf(uses.filter((use) => !use.isThrown));
  const kind = KINDS[name];
  if (kind === undefined) throw new Error(`there is no kind “${name}” of errors`);
  return rowsOf(uses.filter((use) => use.isThrown && kind.includes(use.code)));
}

function rowsOf(uses: readonly CodeUse[]): string {
  const codes = [...new Set(uses.map((use) => use.code))].sort();
  return table(
    ['code', 'says', 'of package'],
    codes.map((each) => {
      const those = uses.filter((use) => use.code === each);
      const sentences = [...new Set(those.flatMap((use) => use.sentences))].filter((text) => text !== '');
      return [
        code(each),
        plain(sentences.slice(0, SENTENCES_MAX).join(' / ')),
        [...new Set(those.map(({ folder }) => code(folder)))].join(' '),
      ];
    }),
  );
}
