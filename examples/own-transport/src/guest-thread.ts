import { parentPort, workerData } from 'node:worker_threads';
import { BlkDriver, GuestRam } from '@virtkit/testing';
import { MessageDriver } from './driver.ts';
import { driverEnd, type Post } from './post.ts';

// A guest: it knows its memory and messages, and nothing of the thread where its disk is.
interface GuestSetup {
  readonly ram: SharedArrayBuffer;
  readonly post: Post;
}

const { ram, post } = workerData as GuestSetup;
let bus = driverEnd(post);
const driver = new BlkDriver({
  transport: new MessageDriver(() => bus),
  ram: new GuestRam(new Uint8Array(ram)),
});

/** Writes blocks, and reads them back. */
function work(first: number, count: number): string {
  const pattern = (n: number): Uint8Array => new Uint8Array(4096).fill(n + 1);
  const writes = Array.from({ length: count }, (_, i) => driver.write(8 * (first + i), pattern(first + i)));
  while (driver.pending > 0) driver.service();
  const reads = Array.from({ length: count }, (_, i) => driver.read(8 * (first + i), 8));
  while (driver.pending > 0) driver.service();
  const right = reads.filter(({ data }, i) => data.every((byte) => byte === first + i + 1)).length;
  return `${writes.filter(({ status }) => status === 0).length} written, ${right} read back`;
}

driver.probe();
driver.start();
parentPort?.postMessage(`a disk of ${driver.capacity} sectors behind messages: ${work(0, 16)}`);
parentPort?.on('message', (moved: Post) => {
  bus = driverEnd(moved);
  parentPort?.postMessage(`its device is on another thread now: ${work(16, 16)}`);
  parentPort?.close();
});
