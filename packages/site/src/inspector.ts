// The page that opens a stream, of the package `inspector`: it becomes one of the site's pages where it has been built.
import { cpSync, existsSync } from 'node:fs';
import { output, repository } from './places.ts';

/** Folder of the built page; undefined where there is none. */
export function inspectorPage(): string | undefined {
  const folder = `${repository}packages/inspector/dist/page`;
  return existsSync(`${folder}/index.html`) ? folder : undefined;
}

/** Puts the page into the site, at `inspector/`. It has no addresses but relative ones. */
export function copyInspector(): void {
  const folder = inspectorPage();
  if (folder !== undefined) cpSync(folder, `${output}inspector`, { recursive: true });
}
