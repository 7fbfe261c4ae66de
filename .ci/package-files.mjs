// Files of the packages, for the ledgers.
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Paths, from the root, of files in a folder that packages have: `packageFiles('test', '.test.ts')`.
 *
 * @param {string} folder @param {string} ending @returns {string[]}
 */
export function packageFiles(folder, ending) {
  return readdirSync(`${root}/packages`).flatMap((name) => {
    const path = `packages/${name}/${folder}`;
    try {
      return readdirSync(`${root}/${path}`, { recursive: true })
        .map((file) => `${path}/${file}`)
        .filter((file) => file.endsWith(ending));
    } catch {
      return [];
    }
  });
}
