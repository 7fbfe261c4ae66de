// A machine of 512 MiB, half of it zeros, moves over TCP on this host, source and destination in one process: bytes of memory a second,
// and how long the guest stood still. Beside it the same bytes through the same kind of socket, without a migration.
import { connect, createServer, type Socket } from 'node:net';
import { type LiveMachine, receiveLive, sendLive } from '@virtkit/migration/live';
import { streamDuplex } from '@virtkit/migration/node';

const BYTES = 512 << 20;
const ROUNDS = 3;

function makeMachine(fill: boolean): LiveMachine {
  const bytes = new Uint8Array(BYTES);
  // every other page has content
  if (fill) for (let at = 0; at < BYTES; at += 8192) bytes.fill(1 + (at >>> 13), at, at + 4096);
  let dirty: number[] = [];
  return {
    name: 'bench',
    ram: {
      blocks: [{ name: 'ram', length: BYTES, bytes: () => bytes }],
      startLog: () => {
        dirty = [];
      },
      stopLog: () => {},
      takeDirty: (visit) => {
        // as much as a guest at work: 1 MiB in each round
        dirty = Array.from({ length: 256 }, (_, page) => 4096 * page);
        for (const offset of dirty) visit(0, offset, 4096);
      },
    },
    sections: [],
    pause: () => {},
    resume: () => {},
  };
}

async function sockets(): Promise<readonly [Socket, Socket]> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const near = connect(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1');
  const far = await accepted;
  server.close();
  return [near, far];
}

async function copy(bytes: number): Promise<number> {
  const [near, far] = await sockets();
  const start = performance.now();
  const reading = (async () => {
    let left = bytes;
    for await (const chunk of far) {
      left -= (chunk as Uint8Array).length;
      if (left <= 0) break;
    }
  })();
  const duplex = streamDuplex(near);
  for (let sent = 0; sent < bytes; sent += 65536) await duplex.write(new Uint8Array(65536));
  await reading;
  near.destroy();
  return performance.now() - start;
}

for (let round = 0; round < ROUNDS; round++) {
  const [near, far] = await sockets();
  const [source, destination] = [makeMachine(true), makeMachine(false)];
  const start = performance.now();
  const [sent] = await Promise.all([
    sendLive(streamDuplex(near), source),
    receiveLive(streamDuplex(far), destination),
  ]);
  const ms = performance.now() - start;
  const plain = await copy(sent.progress.sentBytes);
  const standstill = sent.result === 'moved' ? sent.downtimeMs.toFixed(0) : '-';
  console.log(
    `${sent.result}: ${(BYTES / 1e6 / (ms / 1000)).toFixed(0)} MB/s of memory (${(sent.progress.sentBytes / 1e6).toFixed(0)} MB sent in ${ms.toFixed(0)} ms), ` +
      `standstill ${standstill} ms; the same bytes copied: ${plain.toFixed(0)} ms`,
  );
}
