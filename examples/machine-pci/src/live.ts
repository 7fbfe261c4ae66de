import { setTimeout as sleep } from 'node:timers/promises';
import {
  comparedRam,
  type LiveMachine,
  opaqueSection,
  portDuplex,
  receiveLive,
  sendLive,
  virtioSection,
} from '@virtkit/migration/live';
import { block, startGuest } from './guest.js';
import { diskBytes, Machine, RAM_BYTES, underWay } from './machine.js';

// The guest moves to a second machine while it works. The channel could as well be a socket, or WebRTC between two browsers.

const WRITES = 40;

let guestRuns = true;

function liveMachine(machine: Machine): LiveMachine {
  const { ram, bus, disk, card } = machine;
  return {
    name: 'example-1.0',
    // this machine has no log of what its guest writes
    ram: comparedRam([{ name: 'ram', length: ram.length, bytes: () => ram }]),
    sections: [
      virtioSection(disk, { path: '0000:00:02.0' }),
      virtioSection(card, { path: '0000:00:03.0' }),
      // interrupts under way: what an interrupt controller has
      opaqueSection({
        name: 'example-messages',
        version: 1,
        save: () => Buffer.from(JSON.stringify(bus.messages)),
        load: (state) => {
          const messages = JSON.parse(Buffer.from(state).toString()) as typeof bus.messages;
          return () => {
            for (const message of messages) bus.send(message.address, message.data);
          };
        },
      }),
    ],
    pause: async () => {
      guestRuns = false;
      disk.pause();
      card.pause();
      // nothing that was begun here may reach the disk after the other machine has begun
      await Promise.all(underWay);
    },
    resume: () => {
      guest.moveTo(machine);
      here = machine;
      disk.resume();
      card.resume();
      guestRuns = true;
    },
  };
}

const a = new Machine(new Uint8Array(RAM_BYTES));
const b = new Machine(new Uint8Array(RAM_BYTES));
let here = a;
const guest = startGuest(a);
const writes: { readonly sector: number; readonly request: ReturnType<typeof guest.disk.write> }[] = [];
const working = setInterval(() => {
  if (!guestRuns) return;
  const n = writes.length;
  if (n < WRITES && guest.disk.pending < 6) {
    const sector = 8 * n;
    writes.push({ sector, request: guest.disk.write(sector, block(sector)) });
  }
  guest.service();
}, 1);
await sleep(80);
const { port1, port2 } = new MessageChannel();
const [left, came] = await Promise.all([
  sendLive(portDuplex(port1), liveMachine(a), { downtimeLimitMs: 50 }),
  receiveLive(portDuplex(port2), liveMachine(b)),
]);
if (left.result === 'moved')
  console.log(
    `second machine: ${came.result} after ${left.progress.round} rounds, ${left.progress.pages} pages and ${left.progress.zeroPages} of zeros; the guest stood still for ${left.downtimeMs.toFixed(0)} ms`,
  );
const before = writes.filter(({ request }) => request.status === 0).length;
while (writes.length < WRITES || guest.disk.pending > 0) await sleep(5);
clearInterval(working);
port1.close();
const right = writes.every(
  ({ sector, request }) => request.status === 0 && diskBytes.bytes[512 * sector + 9] === block(sector)[9],
);
console.log(
  `guest: ${before} writes done when it had moved, ${writes.length} at the end, data on the disk ${right ? 'right' : 'WRONG'}`,
);
if (left.result !== 'moved' || here !== b || !right) process.exitCode = 1;
