// The contract folder stands below everything else: a stranger reads it alone, and two versions of it must be able to meet.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

const folder = new URL('../src/contract/', import.meta.url);
const files = readdirSync(folder);

/** What a file imports or re-exports, and whether types alone. */
function importsOf(file: string): { readonly from: string; readonly types: boolean }[] {
  const text = readFileSync(new URL(file, folder), 'utf8');
  return [...text.matchAll(/^(import|export)\s+(type\b)?[^;'"]*?from\s+'([^']+)';/gms)].map(
    ([, , type, from = '']) => ({ from, types: type !== undefined }),
  );
}

describe('the contract', () => {
  test('has the files that it is read by', () => {
    expect(files).toContain('index.ts');
    expect(files.flatMap(importsOf).length).toBeGreaterThan(20);
  });

  test.each(files)('%s imports types only, from the contract itself or from the wire format', (file) => {
    for (const { from, types } of importsOf(file)) {
      expect(types, from).toBe(true);
      expect(from).toMatch(/^(@virtkit\/vmstate$|\.\/[a-z-]+\.ts$)/);
    }
  });
});

test('no source of this package imports itself, over however many others', () => {
  const root = new URL('../src/', import.meta.url);
  const all = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  const open: string[] = [];
  const done = new Set<string>();
  const visit = (url: string): void => {
    expect(open, `${open.join(' → ')} → ${url}`).not.toContain(url);
    if (done.has(url)) return;
    open.push(url);
    const text = readFileSync(new URL(url), 'utf8');
    for (const [, from = ''] of text.matchAll(/\bfrom '(\.[^']+)'/g)) visit(new URL(from, url).href);
    open.pop();
    done.add(url);
  };
  for (const file of all) visit(new URL(file, root).href);
  expect(done.size).toBe(all.length);
});
