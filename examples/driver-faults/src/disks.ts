import type { LiveDevice } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { faultyDevice, faultyDisk, parseFaults } from '@virtkit/testing/faults';
import { serveVhostUser, type VhostUserServer } from '@virtkit/vhost-user';
import type { DriverTest } from './faults.ts';

const DISK_BYTES = 1 << 20;

/** Serves the disk of a test. Tells the kind of each fault that it had. */
export function serveFaulty(test: DriverTest, path: string, told: (kind: string) => void): VhostUserServer {
  const plan = parseFaults(test.faults);
  const backend = faultyDisk(memoryDisk(DISK_BYTES), plan, ({ kind }) => told(kind));
  const disk = new BlkDevice({ backend, serial: test.name });
  const server: VhostUserServer = serveVhostUser(
    faultyDevice(disk, plan, { device: (): LiveDevice => server.device }),
    {
      path,
      onEvent: ({ name, facts }) => {
        if (name === 'fault-injected') told(String(facts?.['kind']));
      },
    },
  );
  return server;
}

/** Words for QEMU, one disk each. */
export function wordsFor(tests: readonly DriverTest[], pathOf: (name: string) => string): string[] {
  return tests.flatMap(({ name }) => [
    '-chardev',
    `socket,id=${name},path=${pathOf(name)}`,
    '-device',
    `vhost-user-blk-pci,chardev=${name},num-queues=1`,
  ]);
}
