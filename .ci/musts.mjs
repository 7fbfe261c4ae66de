// Lists where the sources meet a requirement of the specification: comments `// Virtio 1.3 §2.7.6.1 MUST: …`.
// `node .ci/pnpm.mjs musts [section]`: all of them, by section, or those below one.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const wanted = process.argv[2] ?? '';
const CITATION = /Virtio 1\.\d §([\d.]+\d)((?:[ ,]+(?:MUST|SHOULD|MAY)(?: NOT)?)+):?\s*(.*)/;

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
        const [, section, level, text] = CITATION.exec(line) ?? [];
        return section === undefined
          ? []
          : [
              {
                section,
                level: level?.trim(),
                text: text?.replace(/\s*\*\/$/, ''),
                at: `${path}:${index + 1}`,
              },
            ];
      }),
  )
  .filter(({ section }) => section === wanted || wanted === '' || section.startsWith(`${wanted}.`))
  .sort((a, b) => order(a.section).localeCompare(order(b.section)));

for (const { section, level, text, at } of found) console.log(`§${section}\t${level}\t${text}\t${at}`);
console.log(`${found.length} requirements cited`);

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
