// The inputs that are kept: one file a target, gzip over `length in four bytes, bytes` for each.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';

const FOLDER = fileURLToPath(new URL('../corpus/', import.meta.url));
const LENGTH_BYTES = 4;

/** The kept inputs of a target; none if it has no file yet. */
export function readCorpus(name: string): Uint8Array[] {
  const path = `${FOLDER}${name}.gz`;
  if (!existsSync(path)) return [];
  const bytes = gunzipSync(readFileSync(path));
  const inputs: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + LENGTH_BYTES + bytes.readUInt32LE(at);
    inputs.push(new Uint8Array(bytes.subarray(at + LENGTH_BYTES, end)));
    at = end;
  }
  return inputs;
}

/** Replaces the kept inputs of a target. */
export function writeCorpus(name: string, inputs: readonly Uint8Array[]): void {
  const pieces = inputs.flatMap((input) => {
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt32LE(input.length);
    return [length, input];
  });
  writeFileSync(`${FOLDER}${name}.gz`, gzipSync(Buffer.concat(pieces), { level: 9 }));
}
