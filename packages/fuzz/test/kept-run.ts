// Reads a stream with so many MiB of device state in one section, and says how much memory the process has had at most, KiB.
import { readStream } from '@virtkit/migration';
import { footer, header, join, preamble, ram } from '../../migration/test/made.ts';

const PIECE = 1 << 16;

function* stream(mib: number): Generator<Uint8Array> {
  yield join(preamble(), ram(), header(9, 'x'));
  const piece = new Uint8Array(PIECE).fill(0x7d);
  for (let n = 0; n < mib * 16; n++) yield piece;
  yield join(footer(9), Uint8Array.of(0));
}

const { sections } = await readStream(stream(Number(process.argv[2])));
console.log(`${sections[0]?.body.length} ${process.resourceUsage().maxRSS}`);
