// Known attacks on QEMU's virtio devices, on their saved state and on the loading of streams: cves.json. Each has a test whose
// name holds its number, or a reason why it cannot concern this project. `node .ci/pnpm.mjs cves` prints the table, and fails
// where an attack has neither, or both, or where a test names one that is not in the list.
import { readFileSync } from 'node:fs';
import { packageFiles, root } from './package-files.mjs';

const NUMBER = /CVE-\d{4}-\d{4,}/g;

/** @type {readonly { readonly cve: string, readonly what: string, readonly why?: string }[]} */
const list = JSON.parse(readFileSync(`${root}/.ci/cves.json`, 'utf8'));

/** Places of each number in the names and tables of tests; comments do not count. @type {Map<string, string[]>} */
const tests = new Map();
for (const path of packageFiles('test', '.test.ts')) {
  for (const [index, line] of readFileSync(`${root}/${path}`, 'utf8').split('\n').entries()) {
    if (/^\s*(\/\/|\*|\/\*)/.test(line)) continue;
    for (const [number] of line.matchAll(NUMBER)) {
      const places = tests.get(number) ?? [];
      places.push(`${path}:${index + 1}`);
      tests.set(number, places);
    }
  }
}

/** @type {string[]} */
const complaints = [];
for (const { cve, what, why } of list) {
  const places = tests.get(cve);
  console.log(
    `${cve}\t${what}\t${places === undefined ? `no test: ${why ?? '?'}` : files(places).join(', ')}`,
  );
  if (places === undefined && why === undefined)
    complaints.push(`${cve}: no test names it, and no reason says why`);
  if (places !== undefined && why !== undefined)
    complaints.push(`${cve}: a test names it, and a reason says why there is none`);
}
const known = new Set(list.map(({ cve }) => cve));
if (known.size !== list.length) complaints.push('cves.json has a number twice');
for (const [cve, places] of tests)
  if (!known.has(cve)) complaints.push(`${cve} is not in cves.json: ${places.join(', ')}`);

const tested = list.filter(({ cve }) => tests.has(cve)).length;
console.log(
  `\n${list.length} known attacks: ${tested} tested, ${list.length - tested} that cannot concern us`,
);
for (const complaint of complaints) console.error(`cves: ${complaint}`);
if (complaints.length > 0) process.exitCode = 1;

/** The first place in each file. @param {readonly string[]} places */
function files(places) {
  return [
    ...new Map([...places].reverse().map((place) => [place.replace(/:\d+$/, ''), place])).values(),
  ].reverse();
}
