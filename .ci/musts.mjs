// Lists where the sources meet a requirement of the specification: comments `// Virtio 1.3 §2.7.6.1 MUST: …`.
// `node .ci/pnpm.mjs musts [section]`: all of them, by section, or those below one.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const wanted = process.argv[2] ?? '';
/** `Virtio 1.3 §2.7.5.1 MUST NOT, §2.8.15 MUST NOT: text`: one or more of a line, with one text. */
const CITATION = /Virtio 1\.\d ((?:§[\d.]+\d(?:[ ,]+(?:MUST|SHOULD|MAY)(?: NOT)?)+[, ]*)+):?\s*(.*)/;
const REQUIREMENT = /§([\d.]+\d)((?:[ ,]+(?:MUST|SHOULD|MAY)(?: NOT)?)+)/g;

/** @param {string} section */
const order = (section) =>
  section
    .split('.')
    .map((part) => part.padStart(3, '0'))
    .join('.');

const found = readdirSync(`${root}/packages`)
  .flatMap((name) => sources(`packages/${name}/src`))
  .flatMap((path) =>
    readFileSync(`${root}/${path}`, 'utf8')
      .split('\n')
      .flatMap((line, index) => {
        const [, list = '', text = ''] = CITATION.exec(line) ?? [];
        return [...list.matchAll(REQUIREMENT)].map(([, section = '', level = '']) => ({
          section,
          level: level.trim(),
          text: text.replace(/\s*\*\/$/, ''),
          at: `${path}:${index + 1}`,
        }));
      }),
  )
  .filter(({ section }) => section === wanted || wanted === '' || section.startsWith(`${wanted}.`))
  .sort((a, b) => order(a.section).localeCompare(order(b.section)));

for (const { section, level, text, at } of found) console.log(`§${section}\t${level}\t${text}\t${at}`);

/** @param {{ readonly section: string }} one */
const chapter = ({ section }) =>
  section
    .split('.')
    .slice(0, section.startsWith('2') ? 1 : 2)
    .join('.');
const MUST = /\bMUST\b/;
console.log(`\n${found.length} citations, of them MUST or MUST NOT, by section:`);
for (const name of new Set(found.map(chapter))) {
  const musts = found.filter((one) => chapter(one) === name && MUST.test(one.level));
  // the other side of the wire has requirements of its own
  const driver = musts.filter(({ at }) => at.startsWith('packages/testing/'));
  console.log(`§${name}\t${musts.length - driver.length} of devices\t${driver.length} of drivers`);
}

/** @param {string} folder @returns {string[]} */
function sources(folder) {
  try {
    return readdirSync(`${root}/${folder}`, { recursive: true })
      .map((name) => `${folder}/${name}`)
      .filter((path) => path.endsWith('.ts'));
  } catch {
    return [];
  }
}
