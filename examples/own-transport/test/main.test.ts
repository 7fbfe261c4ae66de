// The transport under everything that virtkit's own transports have to pass, and its example program.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { MappedMemory, type TransportParts } from '@virtkit/core';
import { BlkDevice, blk } from '@virtkit/device-blk';
import { NetDevice, net } from '@virtkit/device-net';
import {
  allCases,
  blkBench,
  type DeviceBench,
  netBench,
  RING_MODES,
  register,
  type TransportBench,
} from '@virtkit/testing/suite';
import { describe, expect, test } from 'vitest';
import { type MessageBus, MessageDriver } from '../src/driver.ts';
import { type MessageParts, messages } from '../src/layer.ts';
import type { Event, Message } from '../src/messages.ts';
import { MessageDevice } from '../src/transport.ts';

/** Both ends on one thread. Events that the driver has not taken stay on the way when the device is moved. */
class Loop implements MessageBus {
  readonly pending: Event[];
  receive: MessageBus['call'] = () => ({ type: 'REFUSED' });

  constructor(pending: readonly Event[] = []) {
    this.pending = [...pending];
  }

  call(message: Message) {
    return this.receive(message);
  }

  events(): Event[] {
    return this.pending.splice(0);
  }
}

const bench: TransportBench<Loop, MessageParts> = {
  name: 'messages',
  layer: messages,
  modern: true,
  build: (model, { memory, rings, onEvent, from }) => {
    const loop = new Loop(from?.pending);
    const sendEvent = (event: Event): void => void loop.pending.push(event);
    const behind = new MessageDevice(model, { address: 1, memory, rings, onEvent, sendEvent });
    loop.receive = (message) => behind.receive(message);
    return { host: loop, device: behind.device };
  },
  drive: (reach) => new MessageDriver(reach),
};

const devices = [
  blkBench({
    layer: blk,
    make: (backend, queues) => new BlkDevice({ backend, queues, serial: 'example' }),
    timing: 'async',
    queues: 2,
  }),
  netBench({
    layer: net,
    make: (backend, queuePairs) => new NetDevice({ backend, mac: '52:54:00:00:00:01', queuePairs }),
    timing: 'busy',
    pairs: 2,
    // guest memory of the suite is small
    driver: { rxBuffers: 6, rxBytes: 300 },
  }),
] as DeviceBench<unknown>[];

const map = (bytes: Uint8Array): MappedMemory => new MappedMemory([{ gpa: 0, bytes }]);
for (const [index, rings] of RING_MODES.entries())
  for (const device of devices.filter((_, d) => d === index % devices.length))
    register(
      { describe, test },
      `${rings.name} / ${device.name}`,
      allCases({ bench: bench as TransportBench<unknown, TransportParts>, device, rings, map, steps: 12 }),
    );

test('a state of another address is refused', () => {
  const at = (address: number) =>
    new MessageDevice(new BlkDevice({ backend: { size: 512, read() {}, write() {}, flush() {} } }), {
      address,
      memory: map(new Uint8Array(4096)),
      sendEvent: () => {},
    }).device;
  expect(() => at(2).restore(at(1).capture())).toThrow(
    'a device at address 1 of its bus, and this one is at 2',
  );
});

test.each([
  {},
  { type: 'NO_SUCH_MESSAGE' },
  { type: 'SET_DRIVER_FEATURES', features: 1 },
  { type: 'SET_DEVICE_STATUS', status: -1 },
  { type: 'GET_CONFIG', offset: 0, length: 2 ** 31 },
  { type: 'SET_CONFIG', offset: 0, bytes: 'text' },
  { type: 'SET_VQUEUE', queue: 0 },
  { type: 'SET_VQUEUE', queue: 0, ring: { size: 1, desc: 0n, driver: -1n, device: 0n } },
  { type: 'EVENT_AVAIL', queue: 1024 },
  { type: 'EVENT_AVAIL', queue: 0.5 },
])('a message that makes no sense is refused: $type', (message) => {
  const { host } = bench.build(new BlkDevice({ backend: { size: 512, read() {}, write() {}, flush() {} } }), {
    memory: map(new Uint8Array(4096)),
    rings: {},
    onEvent: () => {},
  });
  expect(host.call(message as Message)).toEqual({ type: 'REFUSED' });
});

test('a guest works through messages to another thread, and its device moves', {
  timeout: 60_000,
}, async () => {
  const args = ['--import', 'tsx', '--conditions=@virtkit/source', 'src/main.ts'];
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd });
  expect(stdout).toContain('16 written, 16 read back');
  expect(stdout).toContain('its device is on another thread now: 16 written, 16 read back');
  expect(stdout).toContain('32 of 32 blocks are on the disk');
});
