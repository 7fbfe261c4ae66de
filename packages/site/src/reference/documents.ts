// Documents of the repository as pages, whole or a part of them. Their links lead to the repository.
import { readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { repository } from '../places.ts';

const HOME = 'https://github.com/virtkit/virtkit/blob/main/';

/** `SECURITY.md`: all of it but its title; `ARCHITECTURE.md#Glossary`: what stands under that heading. */
export async function documentPart(name: string): Promise<string> {
  const [path = '', heading] = name.split('#');
  const lines = (await readFile(join(repository, path), 'utf8')).split('\n');
  const start = lines.findIndex((line) =>
    heading === undefined ? line.startsWith('# ') : line === `## ${heading}`,
  );
  if (start < 0) throw new Error(`${path} has no part ${heading}`);
  const length = lines.slice(start + 1).findIndex((line) => heading !== undefined && line.startsWith('## '));
  const part = lines.slice(start + 1, length < 0 ? undefined : start + 1 + length);
  return part
    .map((line) => absolute(path, line))
    .join('\n')
    .trim();
}

/** A line with its relative links made absolute; those to headings of the same document stay. */
function absolute(path: string, line: string): string {
  return line.replaceAll(
    /\]\((?!https?:|#)([^)\s]+)\)/g,
    (_all, to: string) => `](${HOME}${normalize(join(dirname(path), to))})`,
  );
}
