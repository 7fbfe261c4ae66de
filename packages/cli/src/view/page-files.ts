// The page of @virtkit/inspector, as it lies where that package is installed.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { isSystemError } from '../system-error.ts';
import { UsageError } from '../usage.ts';
import { isSingleFile } from '../version.ts';

/**
 * Finds the files of the page by their paths, with `index.html` for the page itself. @throws UsageError where it is not
 * installed
 */
export function pageFiles(): ReadonlyMap<string, string> {
  const folder = pageFolder();
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return new Map(
    names
      .map((name) => [name.replaceAll('\\', '/'), join(folder, name)] as const)
      .filter(([, path]) => statSync(path).isFile()),
  );
}

function pageFolder(): string {
  if (isSingleFile)
    throw new UsageError(
      'view is not in the virtkit of a single file: it has no page; npm install --global @virtkit/cli has it',
    );
  const folder = join(packageFolder(), 'dist', 'page');
  if (!existsSync(join(folder, 'index.html')))
    throw new UsageError(`view needs the page of @virtkit/inspector, which is not built: ${folder}`);
  return folder;
}

function packageFolder(): string {
  try {
    return dirname(createRequire(import.meta.url).resolve('@virtkit/inspector/package.json'));
  } catch (error) {
    if (!isSystemError(error) || error.code !== 'MODULE_NOT_FOUND') throw error;
    throw new UsageError('view needs the package @virtkit/inspector: npm install @virtkit/inspector');
  }
}
