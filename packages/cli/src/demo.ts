import { fileURLToPath } from 'node:url';
import { examine } from './device.ts';
import { inspect } from './inspect.ts';
import { readInput } from './read.ts';
import { stepsText } from './steps.ts';
import { verify } from './verify.ts';

/** Names of real streams that lie in the repository: a PC with requests in flight, and an s390x with channel I/O. */
const STREAMS = [
  '../../lab/streams/10.0.13/q100-q35-inflight-mq.mig.gz',
  '../../lab/streams/10.0.13/q100-s390-io.mig.gz',
];

for (const stream of STREAMS) {
  const file = fileURLToPath(new URL(stream, import.meta.url));
  const read = await readInput(file, true);
  const blk = examine(read.stream).find(({ device }) => device.name === 'virtio-blk');
  if (blk?.decoded === undefined) throw new Error(`${file}: no virtio-blk that can be read`);
  console.log(`\n=== ${file.split('/').at(-1)} ===\n`);
  console.log(inspect(read, { device: blk.device.section.header.idstr }).text);
  console.log(stepsText(blk, 'save'));
  const { text, clean } = verify(read, false);
  console.log(text);
  console.log(clean ? 'The bytes are equal.' : 'SOMETHING DIFFERS.');
  if (!clean) process.exitCode = 1;
}
