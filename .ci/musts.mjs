// The device requirements of the specification: musts.txt says of each whether it is met, at which line and by which test, and
// why not. `node .ci/pnpm.mjs musts` counts them by section and lists those that are not met; `musts 2.7` prints the rows of a
// part. It fails where a requirement has no row, where a row names a source or a test that is not there, and where a comment
// `// Virtio 1.3 §2.7.6.1 MUST: …` of the sources cites what has no row. `--ledger FILE` reads another ledger.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { nameOf, readLedger } from './musts-ledger.mjs';
import { packageFiles, root } from './package-files.mjs';

/** @typedef {import('./musts-ledger.mjs').Row} Row */
/** @typedef {import('./musts-ledger.mjs').Section} Section */
/** @typedef {{ version: string, section: string, levels: string[], path: string, at: string, text: string }} Citation */

const { values, positionals } = parseArgs({
  options: { ledger: { type: 'string' } },
  allowPositionals: true,
});
const { sections, complaints } = readLedger(values.ledger ?? `${root}/.ci/musts.txt`);
const rows = sections.flatMap((section) => section.rows);
/** Files that were read. @type {Map<string, string | undefined>} */
const texts = new Map();
/** Guest drivers have requirements of their own. */
const DRIVERS = 'packages/testing/';
const cited = packageFiles('src', '.ts').flatMap(citations);
const ofDevices = cited.filter(({ path }) => !path.startsWith(DRIVERS));

for (const row of rows) {
  const wrong = checked(row);
  if (wrong !== undefined) complaints.push(`${row.place}: ${wrong}`);
}
for (const citation of ofDevices) checkCitation(citation);

const wanted = positionals[0];
if (wanted === undefined) printAll();
else printPart(wanted);
for (const complaint of complaints) console.error(`musts: ${complaint}`);
if (complaints.length > 0) process.exitCode = 1;

/** What is wrong with a row. @param {Row} row @returns {string | undefined} */
function checked({ verdict, rest: [first = '', second = ''], section }) {
  if (verdict === 'met') return sourceProblem(section, first) ?? testProblem(second);
  if (verdict === 'met, no test') return sourceProblem(section, first);
  if (verdict !== 'reworded') return undefined;
  const [name, number] = first.split('/');
  const other = sections.find((one) => nameOf(one) === name);
  return other?.rows.some((row) => row.number === Number(number)) ? undefined : `there is no ${first}`;
}

/**
 * `core/src/live/device-core.ts`, which cites the section, or `core/src/live/device-core.ts: part of one line`.
 *
 * @param {Section} section @param {string} source
 */
function sourceProblem(section, source) {
  const [path = '', excerpt] = divided(source);
  const text = textOf(`packages/${path}`);
  if (text === undefined) return `there is no packages/${path}`;
  if (excerpt === undefined) {
    const has = ofDevices.some((one) => one.path === `packages/${path}` && nameOf(one) === nameOf(section));
    return has ? undefined : `packages/${path} does not cite ${nameOf(section)}`;
  }
  const lines = text.split('\n').filter((line) => line.includes(excerpt)).length;
  return lines === 1 ? undefined : `${lines} lines of packages/${path} have “${excerpt}”`;
}

/** `core/test/live/device.test.ts: title or part of it`. @param {string} test */
function testProblem(test) {
  const [path = '', title] = divided(test);
  const suite = path.startsWith('testing/src/suite/');
  if (!suite && !path.endsWith('.test.ts')) return `packages/${path} is no test`;
  const text = textOf(`packages/${path}`);
  if (text === undefined) return `there is no packages/${path}`;
  if (title === undefined) return `no title of a test in packages/${path}`;
  const named = text.split('\n').some((line) => literals(line).some((literal) => literal.includes(title)));
  return named ? undefined : `packages/${path} has no test “${title}”`;
}

/** Strings of a line of code that is no import. @param {string} line @returns {string[]} */
function literals(line) {
  if (/^\s*(\/\/|\*|\/\*)/.test(line) || line.includes(" from '")) return [];
  return [...line.matchAll(/(['"`])((?:\\.|(?!\1).)*)\1/g)].map(([, , literal = '']) => literal);
}

/** @param {string} reference @returns {[string, string?]} */
function divided(reference) {
  const at = reference.indexOf(': ');
  return at < 0 ? [reference] : [reference.slice(0, at), reference.slice(at + 2)];
}

/** @param {string} path @returns {string | undefined} */
function textOf(path) {
  if (!texts.has(path)) texts.set(path, read(path));
  return texts.get(path);
}

/** @param {string} path @returns {string | undefined} */
function read(path) {
  try {
    return readFileSync(`${root}/${path}`, 'utf8');
  } catch {
    return undefined;
  }
}

/** `Virtio 1.3 §2.7.5.1 MUST NOT, §2.8.15 MUST NOT: text`: one or more of a line. @param {string} path @returns {Citation[]} */
function citations(path) {
  const LINE = /Virtio (1\.\d) ((?:§[\d.]+\d(?:[ ,]+(?:MUST|SHOULD|MAY)(?: NOT)?)+[, ]*)+):?\s*(.*)/;
  const ONE = /§([\d.]+\d)((?:[ ,]+(?:MUST|SHOULD|MAY)(?: NOT)?)+)/g;
  const text = textOf(path) ?? '';
  return text.split('\n').flatMap((line, index) => {
    const [, version = '', list = '', words = ''] = LINE.exec(line) ?? [];
    return [...list.matchAll(ONE)].map(([, section = '', levels = '']) => ({
      version,
      section,
      levels: levels
        .split(/,\s*/)
        .map((level) => level.trim())
        .filter((level) => level !== ''),
      path,
      at: `${path}:${index + 1}`,
      text: words.replace(/\s*\*\/$/, ''),
    }));
  });
}

/** @param {Citation} citation */
function checkCitation(citation) {
  const section = sections.find((one) => nameOf(one) === nameOf(citation));
  if (section === undefined) {
    complaints.push(`${citation.at}: ${nameOf(citation)} is not in the ledger`);
    return;
  }
  const known = new Set([...section.cited, ...section.rows.map(({ level }) => level)]);
  for (const level of citation.levels)
    if (!known.has(level)) complaints.push(`${citation.at}: ${nameOf(citation)} has no ${level}`);
}

function printAll() {
  for (const version of new Set(sections.map((one) => one.version))) {
    const counted = sections.filter((one) => one.version === version && one.count > 0);
    console.log(version === '1.3' ? `Virtio ${version}` : `\nAdded or changed by Virtio ${version}`);
    for (const section of counted) printCount(`§${section.section}`, section.rows, section.title);
    printCount(
      'together',
      counted.flatMap((section) => section.rows),
    );
  }
  printRows('Not met:', 'not met');
  printRows('Met, and no test says so:', 'met, no test');
  printCitations('Cited at their lines by guest drivers', (path) => path.startsWith(DRIVERS));
  const musts = ofDevices.filter(({ levels }) => levels.some((level) => level.startsWith('MUST'))).length;
  console.log(`\nDevices cite requirements at ${ofDevices.length} lines, ${musts} of them MUST or MUST NOT.`);
}

/** “3 of 4”: met and tested, of those that apply. @param {string} name @param {readonly Row[]} list @param {string} [title] */
function printCount(name, list, title = '') {
  /** @param {string} verdict */
  const count = (verdict) => list.filter((row) => row.verdict === verdict).length;
  const [out, reworded] = [count('not applicable'), count('reworded')];
  const applies = list.length - out - reworded;
  const beside = [
    ...(out > 0 ? [`${out} not applicable`] : []),
    ...(reworded > 0 ? [`${reworded} only reworded`] : []),
  ].join(', ');
  const of = applies === 0 ? '-' : `${count('met')} of ${applies}`;
  console.log([name, of, beside, title].join('\t').trimEnd());
}

/** @param {string} heading @param {string} verdict */
function printRows(heading, verdict) {
  console.log(`\n${heading}`);
  for (const row of rows) if (row.verdict === verdict) printRow(row);
}

/** @param {Row} row */
function printRow({ section, number, level, what, verdict, rest }) {
  console.log(`${nameOf(section)}/${number} ${level}: ${what}\n    ${verdict}: ${rest.join('\n    ')}`);
}

/** @param {string} heading @param {(path: string) => boolean} which */
function printCitations(heading, which) {
  const list = cited.filter(({ path }) => which(path));
  console.log(`\n${heading}:`);
  for (const { version, section, levels, at, text } of list)
    console.log(`${version} §${section} ${levels.join(', ')}\t${text}\t${at}`);
}

/** Rows and citations of a section and those below it. @param {string} part */
function printPart(part) {
  /** @param {{ section: string }} one */
  const inside = ({ section }) => section === part || section.startsWith(`${part}.`);
  for (const row of rows) if (inside(row.section)) printRow(row);
  const list = cited.filter(inside);
  console.log(`\nCited at ${list.length} lines:`);
  for (const { version, section, levels, at, text } of list)
    console.log(`${version} §${section} ${levels.join(', ')}\t${text}\t${at}`);
}
