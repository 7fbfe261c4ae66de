// The streams of the corpus.
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const corpus = fileURLToPath(new URL('../../lab/streams', import.meta.url));

/** All of them, as `7.2.22/q72-pc-idle`. */
export const names = readdirSync(corpus).flatMap((version) =>
  readdirSync(join(corpus, version))
    .filter((file) => file.endsWith('.mig.gz'))
    .map((file) => `${version}/${file.slice(0, -'.mig.gz'.length)}`),
);

/** Where the packed file of one is. */
export const pathOf = (name: string): string => join(corpus, `${name}.mig.gz`);

/** A packed file as a browser has it. */
export async function blobOf(name: string): Promise<Blob> {
  return new Blob([await readFile(pathOf(name))]);
}
