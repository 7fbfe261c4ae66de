// Reads musts.txt, the ledger of the specification's device requirements. Its head says how it is written.
import { readFileSync } from 'node:fs';

/**
 * One requirement.
 *
 * @typedef {object} Row
 * @property {Section} section
 * @property {number} number within its section, from 1
 * @property {string} level `MUST`, `MUST NOT`, `SHOULD`, `SHOULD NOT`
 * @property {string} what what it asks, in our words
 * @property {string} verdict one of {@link VERDICTS}
 * @property {string[]} rest source and test, source, reason, or another requirement, as the verdict wants
 * @property {string} place `musts.txt:12`
 */

/**
 * @typedef {object} Section
 * @property {string} version `1.3`
 * @property {string} section `2.7.6.1`
 * @property {string} title
 * @property {number} count requirements that it has; 0: it is no section of device requirements, and only cited
 * @property {string[]} cited levels that sources may cite of such a section
 * @property {Row[]} rows
 */

/** Each verdict, and how many columns follow it. */
export const VERDICTS = new Map([
  ['met', 2],
  ['met, no test', 1],
  ['not met', 1],
  ['not applicable', 1],
  ['reworded', 1],
]);

const HEADER = /^== Virtio (1\.\d) §([\d.]+\d) (.+): (?:(\d+)|cited for (.+))$/;
const LEVEL = /^(MUST|SHOULD)( NOT)?$/;

/**
 * @param {string} path
 * @returns {{ sections: Section[], complaints: string[] }} complaints: lines that cannot be read, and numbers that are not there
 */
export function readLedger(path) {
  /** @type {Section[]} */
  const sections = [];
  /** @type {string[]} */
  const complaints = [];
  for (const [index, line] of readFileSync(path, 'utf8').split('\n').entries()) {
    if (line === '' || line.startsWith('#')) continue;
    const place = `musts.txt:${index + 1}`;
    const section = line.startsWith('==') ? header(line) : undefined;
    if (section !== undefined) {
      sections.push(section);
      continue;
    }
    const current = sections.at(-1);
    const row = current === undefined ? undefined : rowOf(line, current, place);
    if (row === undefined) complaints.push(`${place}: cannot be read: ${line}`);
    else row.section.rows.push(row);
  }
  return { sections, complaints: [...complaints, ...sections.flatMap(missing), ...twice(sections)] };
}

/** `1.3 §2.7.6.1` @param {Section} section */
export const nameOf = ({ version, section }) => `${version} §${section}`;

/** @param {string} line @returns {Section | undefined} */
function header(line) {
  const [, version, section, title, count, cited] = HEADER.exec(line) ?? [];
  if (version === undefined || section === undefined || title === undefined) return undefined;
  return { version, section, title, count: Number(count ?? 0), cited: cited?.split(', ') ?? [], rows: [] };
}

/** @param {string} line @param {Section} section @param {string} place @returns {Row | undefined} */
function rowOf(line, section, place) {
  const [number = '', level = '', what = '', verdict = '', ...rest] = line.split(' | ');
  const wrong = !/^\d+$/.test(number) || !LEVEL.test(level) || what === '';
  if (wrong || rest.length !== VERDICTS.get(verdict) || rest.includes('')) return undefined;
  return { section, number: Number(number), level, what, verdict, rest, place };
}

/** Numbers from 1 to the section's count that have no row, or more than one. @param {Section} section */
function missing(section) {
  /** @type {string[]} */
  const complaints = [];
  const found = section.rows.map(({ number }) => number);
  for (let number = 1; number <= Math.max(section.count, ...found); number++) {
    const rows = found.filter((other) => other === number).length;
    if (rows === 0) complaints.push(`${nameOf(section)}: requirement ${number} has no row`);
    if (rows > 1) complaints.push(`${nameOf(section)}: requirement ${number} has ${rows} rows`);
  }
  if (found.length > section.count)
    complaints.push(`${nameOf(section)} has ${section.count} requirements, and ${found.length} rows`);
  return complaints;
}

/** @param {readonly Section[]} sections */
function twice(sections) {
  const names = sections.map(nameOf);
  return names.filter((name, index) => names.indexOf(name) !== index).map((name) => `${name} is there twice`);
}
