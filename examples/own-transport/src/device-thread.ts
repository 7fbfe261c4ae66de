import { parentPort, workerData } from 'node:worker_threads';
import { MappedMemory, virtioDevice } from '@virtkit/core';
import { BlkDevice, blk, memoryDisk } from '@virtkit/device-blk';
import { messages } from './layer.ts';
import { deviceEnd, type Post } from './post.ts';
import { MessageDevice } from './transport.ts';

/** What a device's thread is started with. */
export interface DeviceSetup {
  readonly post: Post;
  /** The guest's memory, which both threads have. */
  readonly ram: SharedArrayBuffer;
  /** The disk, which outlives the threads. */
  readonly disk: SharedArrayBuffer;
  /** A saved state to go on from. */
  readonly state?: Uint8Array;
}

const { post, ram, disk, state } = workerData as DeviceSetup;
const codec = virtioDevice(messages, blk);
const behind = new MessageDevice(new BlkDevice({ backend: memoryDisk(new Uint8Array(disk)) }), {
  address: 1,
  memory: new MappedMemory([{ gpa: 0, bytes: new Uint8Array(ram) }]),
  sendEvent: (event) => post.events.postMessage(event),
});
if (state !== undefined) {
  behind.device.restore(codec.load(state));
  behind.device.resume();
}
deviceEnd(post, (message) => behind.receive(message));

// the host program: one word from it, and the device stops and hands over its state
parentPort?.once('message', () => {
  behind.device.pause();
  parentPort?.postMessage(codec.encode(behind.device.capture()));
  post.calls.close();
  post.events.close();
});
