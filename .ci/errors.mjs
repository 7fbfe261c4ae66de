// The error texts of a load and a save (errors.txt, a census that errors-census.mjs makes), and what `explain` says to each.
// `node .ci/pnpm.mjs errors` counts them by file: explained, out of scope by a row of errors-scope.txt with its reason, or open.
// It fails where less than 95 % of those in scope are explained, where a row of the scope is about no text, and where a text has
// neither an answer nor a row (`?` as the reason of a row says that it is open). `errors FILE` lists the texts of a file with
// their answers; `--census FILE` and `--scope FILE` read others.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { explain } from '../packages/compat/src/index.ts';
import { root } from './package-files.mjs';

/** Least part of the texts in scope that is explained. */
const LEAST = 0.95;

/** @typedef {{ versions: string, file: string, text: string }} Text */
/** @typedef {{ files: RegExp, texts: RegExp, reason: string, row: string, used: number }} Scope */

const { values, positionals } = parseArgs({
  options: {
    census: { type: 'string', default: `${root}/.ci/errors.txt` },
    scope: { type: 'string', default: `${root}/.ci/errors-scope.txt` },
  },
  allowPositionals: true,
});
const texts = rowsOf(values.census).map(([versions = '', file = '', text = '']) => ({
  versions,
  file,
  text,
}));
const scopes = rowsOf(values.scope).map(([files = '', pattern = '', reason = '']) => ({
  files: new RegExp(`^(?:${files})$`),
  texts: new RegExp(pattern),
  reason,
  row: `${files}\t${pattern}`,
  used: 0,
}));
/** @type {string[]} */
const complaints = [];
/** @type {Map<string, { explained: number, out: number, open: number }>} */
const counts = new Map();
const [wanted] = positionals;
for (const text of texts) count(text);
report();

/** Rows of a table: columns between tabs; what begins with # is a comment. @param {string} path */
function rowsOf(path) {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split('\t'));
}

/** @param {Text} text */
function count(text) {
  const counted = counts.get(text.file) ?? { explained: 0, out: 0, open: 0 };
  counts.set(text.file, counted);
  const scope = scopes.find(({ files, texts: pattern }) => files.test(text.file) && pattern.test(text.text));
  if (scope !== undefined) scope.used++;
  const code = scope === undefined || scope.reason === '?' ? codeOf(text) : undefined;
  if (code !== undefined) counted.explained++;
  else if (scope === undefined) complaints.push(`no answer and no row: ${text.file}: ${text.text}`);
  if (code === undefined && (scope === undefined || scope.reason === '?')) counted.open++;
  if (code === undefined && scope !== undefined && scope.reason !== '?') counted.out++;
  if (wanted !== undefined && text.file.includes(wanted))
    console.log(`${code ?? `– ${scope?.reason ?? 'open'}`}\t${text.versions}\t${text.text}`);
}

/** The kind of the answer to a text, with something in the place of each of its values. @param {Text} text */
function codeOf({ versions, text }) {
  const sample = filled(text);
  const line = versions.startsWith('qemu') ? `qemu-system-x86_64: ${sample}` : sample;
  return explain(line)[0]?.code;
}

/** A text as it may stand in a log. @param {string} text */
function filled(text) {
  return text.replace(
    /%([-+ #0]*)(\d*)(?:\.[\d*]+)?([a-zA-Z])/g,
    (_, /** @type {string} */ flags, /** @type {string} */ width, /** @type {string} */ kind) => {
      if (/[diuxXtf]/.test(kind))
        return `${flags.includes('#') ? '0x' : ''}${'1'.padStart(flags.includes('0') ? Number(width) : 0, '0')}`;
      return kind === 'p' ? '0x1' : 'x0';
    },
  );
}

function report() {
  const sum = { explained: 0, out: 0, open: 0 };
  for (const [file, { explained, out, open }] of counts) {
    if (wanted === undefined)
      console.log(`${file}\t${explained} explained\t${out} out of scope\t${open} open`);
    sum.explained += explained;
    sum.out += out;
    sum.open += open;
  }
  for (const { row, used } of scopes) if (used === 0) complaints.push(`a row about no text: ${row}`);
  const part = sum.explained / Math.max(1, sum.explained + sum.open);
  console.log(
    `\n${texts.length} error texts: ${sum.explained} explained, ${sum.out} out of scope, ${sum.open} open; ${(100 * part).toFixed(1)} % of those in scope`,
  );
  if (part < LEAST) complaints.push(`less than ${100 * LEAST} % of the texts in scope are explained`);
  for (const complaint of complaints) console.error(`errors: ${complaint}`);
  if (complaints.length > 0) process.exitCode = 1;
}
