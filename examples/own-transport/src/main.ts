import { once } from 'node:events';
import { MessageChannel, Worker } from 'node:worker_threads';
import type { DeviceSetup } from './device-thread.ts';
import { type Post, portsOf } from './post.ts';

// The host program: it starts the guest on one thread and the guest's disk on another, and moves the disk to a third.

const ram = new SharedArrayBuffer(4 << 20);
const disk = new SharedArrayBuffer(1 << 20);

/** A way between two threads: the driver's end, and the device's. */
function post(): readonly [driver: Post, device: Post] {
  const calls = new MessageChannel();
  const events = new MessageChannel();
  const answered = new SharedArrayBuffer(4);
  return [
    { calls: calls.port1, events: events.port1, answered },
    { calls: calls.port2, events: events.port2, answered },
  ];
}

function start<T extends { readonly post: Post }>(file: string, workerData: T): Worker {
  const transferList = portsOf(workerData.post);
  // a worker does not inherit the loader of TypeScript; compiled programs say `new Worker(new URL(file, import.meta.url), …)`
  const program = JSON.stringify(new URL(file, import.meta.url).href);
  const load = `import('tsx/esm/api').then(({ register }) => (register(), import(${program})))`;
  return new Worker(load, { eval: true, workerData, transferList });
}

async function next(worker: Worker): Promise<unknown> {
  const [message] = await once(worker, 'message');
  return message;
}

const [driverSide, deviceSide] = post();
const first = start<DeviceSetup>('device-thread.ts', { post: deviceSide, ram, disk });
const guest = start('guest-thread.ts', { post: driverSide, ram });
console.log(`guest: ${await next(guest)}`);

// the device stops, and its state goes to another thread: 4 bytes of the transport's, and core's and the disk's
first.postMessage('stop');
const state = (await next(first)) as Uint8Array;
await first.terminate();
console.log(`host: the device has stopped; ${state.length} bytes of state`);
const [driverMoved, deviceMoved] = post();
const second = start<DeviceSetup>('device-thread.ts', { post: deviceMoved, ram, disk, state });
guest.postMessage(driverMoved, portsOf(driverMoved));
console.log(`guest: ${await next(guest)}`);
await second.terminate();

const bytes = new Uint8Array(disk);
const right = Array.from({ length: 32 }, (_, n) => bytes.subarray(4096 * n, 4096 * (n + 1))).filter(
  (block, n) => block.every((byte) => byte === n + 1),
).length;
console.log(`host: ${right} of 32 blocks are on the disk as the guest wrote them`);
if (right !== 32) process.exitCode = 1;
