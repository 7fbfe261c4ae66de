import { appendFileSync, openSync, readSync, writeSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ByteDuplex, receiveLive, sendLive } from '../../src/live.ts';
import { streamDuplex } from '../../src/node.ts';
import { SmallMachine, SmallWorld } from './small.ts';

// A host with one machine: `host-process.ts source|destination DIR PORT DIE_AT`. It dies (kill -9) when so many bytes went through its
// connection; 0: never. It says what happens in lines of JSON, and does what it is told on standard input.

const [role = '', dir = '', port = '0', dieAt = '0'] = process.argv.slice(2);

/** What happened, for both hosts, in the order in which it did: it is there when the host dies. */
const note = (what: string): void => appendFileSync(join(dir, 'log'), `${role} ${what}\n`);
const say = (line: object): void => void writeSync(1, `${JSON.stringify(line)}\n`);

const file = openSync(join(dir, 'disk'), 'r+');
const world = new SmallWorld({
  read: (position, target) => void readSync(file, target, 0, target.length, position),
  write: (position, source) => void writeSync(file, source, 0, source.length, position),
});
const machine = new SmallMachine(world);
const resume = machine.resume.bind(machine);
machine.resume = () => {
  note('runs');
  resume();
};
const pause = machine.pause.bind(machine);
machine.pause = () => {
  pause();
  note('stops');
};

function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

/** Small pieces, so that there is time to die between them. */
function slowly(duplex: ByteDuplex): ByteDuplex {
  let bytes = 0;
  const count = (length: number): void => {
    bytes += length;
    if (Number(dieAt) > 0 && bytes >= Number(dieAt)) die();
  };
  return {
    write: async (chunk) => {
      for (let at = 0; at < chunk.length; at += 512) {
        const piece = chunk.slice(at, at + 512);
        await duplex.write(piece);
        if (role === 'source') count(piece.length);
        await sleep(1);
      }
    },
    read: async () => {
      const chunk = await duplex.read();
      if (role === 'destination') count(chunk?.length ?? 0);
      return chunk;
    },
    close: () => duplex.close(),
  };
}

/** The guest works whenever its machine runs. */
const working = setInterval(() => {
  if (world.running === machine) machine.step();
}, 1);

/** The guest has so many rounds behind it, and nothing was wrong. */
async function work(): Promise<void> {
  const { rounds } = machine;
  while (machine.rounds < rounds + 40) await sleep(5);
  say({ worked: machine.rounds, faults: world.faults });
}

async function send(): Promise<void> {
  machine.boot();
  const socket: Socket = connect(Number(port), '127.0.0.1');
  await new Promise((resolve) => socket.once('connect', resolve));
  // nothing here depends on how fast this computer is
  const patient = { downtimeLimitMs: 1e6, handOverTimeoutMs: 60_000 };
  const outcome = await sendLive(slowly(streamDuplex(socket)), machine, patient);
  say({ result: outcome.result, message: 'message' in outcome ? outcome.message : '' });
  if (outcome.result === 'unknown') {
    const answer = await new Promise<string>((resolve) =>
      process.stdin.once('data', (text) => resolve(String(text))),
    );
    if (answer.trim() === 'resume') await outcome.resume();
  }
  if (world.running === machine) await work();
}

async function receive(): Promise<void> {
  const server = createServer().listen(0, '127.0.0.1', () =>
    say({ port: (server.address() as { port: number }).port }),
  );
  const socket = await new Promise<Socket>((resolve) => server.once('connection', resolve));
  server.close();
  say({ connected: true });
  const outcome = await receiveLive(slowly(streamDuplex(socket)), machine);
  say({ result: outcome.result, message: 'message' in outcome ? outcome.message : '' });
  if (outcome.result === 'arrived') await work();
}

await (role === 'source' ? send() : receive());
clearInterval(working);
process.stdin.destroy();
