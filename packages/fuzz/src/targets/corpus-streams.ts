// Real streams as inputs to begin with: made small, for what fills them is guest memory that nobody looks at.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import {
  acceptVirtio,
  parseStream,
  StreamParser,
  type StreamSection,
  StreamWriter,
} from '@virtkit/migration';
import { registry } from '../../../cli/src/registry.ts';

const STREAMS = fileURLToPath(new URL('../../../lab/streams/', import.meta.url));
/** Longest files that are read, compressed: there are enough of them. */
const FILE_MAX = 24_000;

const options = { accepts: acceptVirtio(registry) };

/** A writer that leaves pages of memory out. */
class WithoutPages extends StreamWriter {
  override ramPage(): void {}
  override ramData(): void {}
}

function withoutPages(stream: Uint8Array): Uint8Array {
  const pieces: Uint8Array[] = [];
  const parser = new StreamParser(
    new WithoutPages((bytes, start, end) => pieces.push(bytes.slice(start, end))),
    options,
  );
  parser.push(stream);
  parser.end();
  return Buffer.concat(pieces);
}

/** Some streams of each QEMU version, without most of their memory. */
export function* slimStreams(): Generator<Uint8Array> {
  for (const version of readdirSync(STREAMS)) {
    const names = readdirSync(`${STREAMS}${version}`).filter((name) => name.endsWith('.mig.gz'));
    for (const name of names) {
      const packed = readFileSync(`${STREAMS}${version}/${name}`);
      // a mapped-ram file has its memory elsewhere
      if (packed.length <= FILE_MAX && !name.includes('mapped')) yield withoutPages(gunzipSync(packed));
    }
  }
}

/** The sections of these streams that are not memory. */
export function* realSections(): Generator<StreamSection> {
  for (const stream of slimStreams()) yield* parseStream(stream, options).sections;
}
