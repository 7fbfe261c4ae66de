// Where devices and transports differ from QEMU: the documents of the packages, one after another.
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { repository } from '../places.ts';
import { documentPart } from './documents.ts';
import { packages } from './packages.ts';

/** `DIFFERENCES.md` of all packages that have one, under the names of the packages. */
export async function differences(): Promise<string> {
  const parts: string[] = [];
  for (const { folder, manifest } of await packages()) {
    const path = `packages/${folder}/DIFFERENCES.md`;
    if (!(await exists(join(repository, path)))) continue;
    const text = await documentPart(path);
    parts.push(`## ${manifest.name}`, text.replaceAll(/^(#+) /gm, '#$1 '));
  }
  return parts.join('\n\n');
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
