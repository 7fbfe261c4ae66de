// One virtio-pci device of 46 KB: decode and encode, beside a straight-line loop that touches the same bytes.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { virtioDevice } from '@virtkit/core';
import { blk } from '@virtkit/device-blk';
import { parseStream } from '@virtkit/migration';
import { pci } from '@virtkit/transport-pci';

const file = new URL('../../lab/streams/7.2.22/q72-pc-idle.mig.gz', import.meta.url);
const section = parseStream(gunzipSync(readFileSync(file))).sections.find(({ header }) =>
  header.idstr.endsWith('virtio-blk'),
);
if (section === undefined) throw new Error('no virtio-blk in the stream');
const { body } = section;
const codec = virtioDevice(pci, blk);
const state = codec.decode(body);

/** Peer: looks at every word of the device once, and sums up. */
function straightRead(): number {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  let sum = 0;
  for (let at = 0; at + 4 <= body.length; at += 4) sum = (sum + view.getInt32(at)) | 0;
  return sum;
}

/** Peer: writes every word of the device once. */
const out = new DataView(new ArrayBuffer(body.length));
function straightWrite(): number {
  for (let at = 0; at + 4 <= body.length; at += 4) out.setInt32(at, at);
  return out.getInt32(0);
}

const cases = {
  decode: () => codec.decode(body),
  encode: () => codec.encode(state),
  straightRead,
  straightWrite,
};
const times: Record<string, number[]> = {};
for (let round = 0; round < 40; round++) {
  for (const [name, run] of Object.entries(cases)) {
    // processor time: somebody else may have the cores as well
    const start = process.cpuUsage();
    for (let i = 0; i < 500; i++) run();
    const { user, system } = process.cpuUsage(start);
    if (round >= 10) times[name] = [...(times[name] ?? []), (user + system) / 500];
  }
}
const median = (name: string): number => (times[name] ?? []).sort((a, b) => a - b)[15] ?? 0;
console.log(`virtio-pci device of ${body.length} bytes, medians of 30 interleaved rounds`);
for (const name of Object.keys(cases)) console.log(`  ${name.padEnd(14)} ${median(name).toFixed(1)} µs`);
console.log(
  `  decode / straightRead ${(median('decode') / median('straightRead')).toFixed(2)}, encode / straightWrite ${(median('encode') / median('straightWrite')).toFixed(2)}`,
);
