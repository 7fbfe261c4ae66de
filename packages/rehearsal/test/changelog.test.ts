// What `changeset version` would make of the changes that wait for a release.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { repository, Workspace } from '../src/workspace.ts';

/** So many packages may have the same words in their change logs. */
const COPIES_MAX = 3;

let home = '';
let before: Record<string, string> = {};
let after: Record<string, string> = {};
/** What is new in the change log of each package that gets another version. */
const news = new Map<string, string>();

const changelog = (root: string, name: string) =>
  readFile(join(root, 'packages', name.replace('@virtkit/', ''), 'CHANGELOG.md'), 'utf8').catch(() => '');

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'virtkit-changelog-'));
  const workspace = await Workspace.copy(join(home, 'workspace'));
  before = await workspace.versions();
  await workspace.version();
  after = await workspace.versions();
  for (const name of Object.keys(after).filter((name) => after[name] !== before[name])) {
    const [old, made] = [await changelog(repository, name), await changelog(workspace.root, name)];
    news.set(name, made.slice(0, made.length - old.replace(/^# .*\n/, '').length));
  }
}, 600_000);

afterAll(async () => {
  if (home !== '') await rm(home, { recursive: true, force: true });
});

test('packages that a changeset names get another version, and no others but those that need them', async () => {
  const named = new Set<string>();
  for (const file of await readdir(join(repository, '.changeset'))) {
    if (!file.endsWith('.md')) continue;
    const [, head = ''] = (await readFile(join(repository, '.changeset', file), 'utf8')).split('---');
    for (const [, name = ''] of head.matchAll(/^["'](.*)["']: *(?:major|minor|patch)/gm)) named.add(name);
  }
  for (const name of named) expect(news.has(name), name).toBe(true);
  for (const [name, text] of news) expect(named.has(name) || text.includes('\n- Needs `'), name).toBe(true);
});

test('a first release is 1.0.0', () => {
  for (const name of news.keys()) {
    if (before[name]?.startsWith('0.'))
      expect(after[name], `${name}: its changeset has to say "major"`).toBe('1.0.0');
  }
});

test('no change log is a copy of others', () => {
  const places = new Map<string, string[]>();
  for (const [name, text] of news) {
    for (const line of text
      .split('\n')
      .filter((line) => /^ *(?:- )?\S.{30}/.test(line) && !line.includes('- Needs `'))) {
      places.set(line, [...(places.get(line) ?? []), name]);
    }
  }
  const copied = [...places].filter(([, names]) => names.length > COPIES_MAX);
  expect(copied.map(([line, names]) => `${line.slice(0, 100)}… in ${names.join(', ')}`)).toEqual([]);
});
