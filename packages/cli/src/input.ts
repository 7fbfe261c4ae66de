import { createReadStream, statSync } from 'node:fs';
import { createGunzip } from 'node:zlib';

/** Bytes of a file or, for `-`, of standard input; unpacked if they are gzipped. */
export async function* openInput(file: string): AsyncGenerator<Uint8Array> {
  const raw: AsyncIterable<Uint8Array> =
    file === '-' ? process.stdin : createReadStream(file, { highWaterMark: 1 << 18 });
  const source = raw[Symbol.asyncIterator]();
  const first = await source.next();
  if (first.done === true) return;
  const all = concat(first.value, source);
  if (first.value[0] !== 0x1f || first.value[1] !== 0x8b) {
    yield* all;
    return;
  }
  const gunzip = createGunzip();
  const feeding = feed(all, gunzip);
  yield* gunzip as AsyncIterable<Uint8Array>;
  await feeding;
}

async function* concat(first: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}

async function feed(from: AsyncIterable<Uint8Array>, to: ReturnType<typeof createGunzip>): Promise<void> {
  try {
    for await (const chunk of from) {
      if (!to.write(chunk)) await new Promise((resolve) => to.once('drain', resolve));
    }
    to.end();
  } catch (error) {
    to.destroy(error instanceof Error ? error : new Error(String(error)));
  }
}

/** A line on stderr that says how far a long read has come; nothing unless stderr is a terminal. */
export class Progress {
  readonly #total: number;
  readonly #wanted = process.stderr.isTTY === true;
  #done = 0;
  #shown = Date.now();
  #visible = false;

  constructor(file: string) {
    this.#total = file === '-' ? 0 : (statSync(file, { throwIfNoEntry: false })?.size ?? 0);
  }

  add(bytes: number): void {
    this.#done += bytes;
    if (!this.#wanted || Date.now() - this.#shown < 500) return;
    this.#shown = Date.now();
    this.#visible = true;
    const of = this.#total > this.#done ? ` of ${mebibytes(this.#total)}` : '';
    process.stderr.write(`\r${mebibytes(this.#done)}${of} MiB read `);
  }

  end(): void {
    if (this.#visible) process.stderr.write('\r\x1b[K');
  }
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}
