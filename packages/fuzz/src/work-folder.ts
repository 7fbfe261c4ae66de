import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readCorpus } from './corpus.ts';
import type { FuzzTarget } from './target.ts';

const WORK = fileURLToPath(new URL('../.fuzz/', import.meta.url));

/** The folder that the fuzzer puts what it finds for a target into. */
export function workFolder(target: FuzzTarget): string {
  const folder = `${WORK}${target.name}/`;
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Makes the folder of {@link workFolder} with the target's seeds and the inputs that are kept. */
export function seedFolder(target: FuzzTarget): string {
  const folder = workFolder(target);
  const put = (kind: string, inputs: Iterable<Uint8Array>): void => {
    let n = 0;
    for (const input of inputs)
      if (input.length <= target.lengthMax) writeFileSync(`${folder}${kind}-${n++}`, input);
  };
  put('seed', target.seeds());
  put('kept', readCorpus(target.name));
  return folder;
}
