// A docstring says what a thing is, for a reader who has not read its neighbours: it begins with a noun or a verb. This test knows the
// openings that refer to a neighbour ("The same over IPv6"), or that leave the thing out ("What was thrown", "Which queue").
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const DOCSTRING = /\/\*\*(?!\*)(.*?)\*\//gs;

/** Words at the beginning of a docstring that have no thing in them. */
const OPENINGS = [
  // of a thing that was named before
  'The (?:same|other|others|latter|former)\\b',
  '(?:Same|Ditto|Likewise|Another|Others|Also|And|Or|But|Then|So)\\b',
  '(?:One|Those|Each|All|Both|Some|Most|None) (?:of|among) (?:it|them|these|those)\\b',
  '(?:It|They|This|That|These|Those|Such|Its|Their|Whose|Which|Whom)\\b',
  '(?:Of|For|With|By|In|To|From|On|As|Like|At) (?:it|them|this|that|these|those|what|whom|the above)\\b',
  // of a thing that is not named at all
  '(?:What|How|Where|When|Who|Why|Whether|Whatever|Wherever)\\b',
  '(?:Undefined|Null|True|False|None|-?\\d+):',
  'Undefined (?:for|if|where|while)\\b',
  '(?:Of|As|With|As with|As in|As after) (?:a|an|the|each|every|all)\\b',
].map((words) => new RegExp(`^${words}`));

interface Docstring {
  readonly place: string;
  readonly text: string;
}

function docstringsOf(file: string, source: string): Docstring[] {
  let line = 1;
  let from = 0;
  return Array.from(source.matchAll(DOCSTRING), ({ 1: inner = '', index }) => {
    line += source.slice(from, index).split('\n').length - 1;
    from = index;
    const text = inner.replace(/\s*\n\s*\*?\s*/g, ' ').trim();
    return { place: `${file}:${line}`, text };
  });
}

const refersToNeighbour = ({ text }: Docstring): boolean => OPENINGS.some((opening) => opening.test(text));

function sourcesOf(name: string): string[] {
  const folder = `packages/${name}/src`;
  if (!existsSync(ROOT + folder)) return [];
  return readdirSync(ROOT + folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.tsx?$/.test(file))
    .map((file) => `${folder}/${file}`);
}

const docstrings = readdirSync(`${ROOT}packages`)
  .flatMap(sourcesOf)
  .flatMap((file) => docstringsOf(file, readFileSync(ROOT + file, 'utf8')));

test('docstrings stand alone: each names its thing, and none begins with a word for a neighbour', () => {
  expect(docstrings.length).toBeGreaterThan(5000);
  const wrong = docstrings.filter(refersToNeighbour);
  expect(wrong.map(({ place, text }) => `${place} ${text.slice(0, 80)}`)).toEqual([]);
});

test.each([
  'The same over IPv6.',
  'Its place among the chains of its queue.',
  'One of those.',
  'What was thrown.',
  'How many were sent.',
  'Which of several sections of this name it is.',
  'Another owner: nobody has a chain.',
  'Undefined: the device type keeps no chains.',
  'Of a page of the record besides the page.',
  'As with a reset.',
])('found: %s', (text) => {
  const [found] = docstringsOf('a.ts', `const a = 1;\n\n/**\n * ${text}\n */\nconst b = 2;\n`);
  expect(found).toEqual({ place: 'a.ts:3', text });
  expect(found !== undefined && refersToNeighbour(found)).toBe(true);
});

test.each([
  'Number of frames that were sent.',
  'Is the page all zeros?',
  'True if the guest has broken the device.',
  'Thesaurus of the reader.',
  'None of the features is offered.',
])('not found: %s', (text) => {
  expect(refersToNeighbour({ place: '', text })).toBe(false);
});
