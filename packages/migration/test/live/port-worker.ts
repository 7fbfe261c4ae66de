import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { portDuplex, receiveLive } from '../../src/live.ts';
import { SmallMachine, SmallWorld } from './small.ts';

// A destination in a worker: its disk is memory that both threads share.

const { port, shared } = workerData as { readonly port: MessagePort; readonly shared: SharedArrayBuffer };
const disk = new Uint8Array(shared);
const world = new SmallWorld({
  read: (position, target) => target.set(disk.subarray(position, position + target.length)),
  write: (position, source) => disk.set(source, position),
});
const machine = new SmallMachine(world);
const outcome = await receiveLive(portDuplex(port, { window: 8192 }), machine);
for (let n = 0; n < 100 && world.running === machine; n++) machine.step();
parentPort?.postMessage({
  result: outcome.result,
  rounds: machine.rounds,
  faults: world.faults,
  atResume: machine.atResume,
});
port.close();
