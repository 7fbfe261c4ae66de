import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { delay, findQemu, isObject, type Qemu, type QemuOptions, withQemu } from '@virtkit/lab';
import { parseStream } from '@virtkit/migration';
import { describe, expect, test } from 'vitest';
import { comparedRam, type LiveMachine, type LiveSection, receiveLive, sendLive } from '../../src/live.ts';
import { streamDuplex } from '../../src/node.ts';

const binary = findQemu('x86_64');
if (binary === undefined) console.warn('SKIPPED: no qemu-system-x86_64');

const OPTIONS: QemuOptions = {
  arch: 'x86_64',
  binary,
  machine: 'pc-i440fx-5.2',
  memoryMiB: 32,
  sharedMemory: false,
  args: [
    ...['-blockdev', 'driver=null-co,size=67108864,read-zeroes=on,node-name=d0'],
    ...['-device', 'virtio-blk-pci,drive=d0', '-netdev', 'user,id=n0,restrict=on'],
    ...['-device', 'virtio-net-pci,netdev=n0,romfile='],
  ],
};

/** A machine of QEMU's, with bytes for devices: nothing of it runs here. */
class Halted implements LiveMachine {
  readonly name: string;
  readonly ram;
  readonly sections: readonly LiveSection[];
  running = false;

  /** @param like a stream of such a machine: which blocks and sections it has */
  constructor(like: Uint8Array) {
    const stream = parseStream(like);
    this.name = stream.configuration?.name ?? '';
    this.ram = comparedRam(
      (stream.ram?.blocks ?? []).map(({ name, length }) => {
        const bytes = new Uint8Array(length);
        return { name, length, bytes: () => bytes };
      }),
    );
    this.sections = stream.sections.map(({ header: { idstr, instanceId, versionId }, description }) => {
      let state: Uint8Array = new Uint8Array(0);
      return {
        idstr,
        instanceId,
        versionId,
        save: () => state,
        load: (body) => () => {
          state = body;
        },
        accepts: () => true,
        ...(description !== undefined && { describe: () => description }),
      };
    });
  }

  pause(): void {
    this.running = false;
  }

  resume(): void {
    this.running = true;
  }
}

async function ended(vm: Qemu): Promise<unknown> {
  for (;;) {
    const info = await vm.qmp.execute('query-migrate');
    const status = isObject(info) ? info['status'] : undefined;
    if (typeof status === 'string' && /completed|failed/.test(status)) return status;
    await delay(20);
  }
}

describe.skipIf(binary === undefined)('QEMU speaks the same protocol', { timeout: 120_000 }, () => {
  test('a guest comes from a QEMU and goes on to another one, return paths and all', async () => {
    const like = await withQemu({ ...OPTIONS, paused: true }, (vm) => vm.migrate());
    const machine = new Halted(like);
    await withQemu(OPTIONS, async (source) => {
      const path = join(source.dir, 'here');
      const server = createServer().listen(path);
      const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
      await source.setCapabilities(['return-path']);
      await source.qmp.execute('migrate', { uri: `unix:${path}` });
      const received = await receiveLive(streamDuplex(await accepted), machine);
      server.close();
      expect(received).toMatchObject({ result: 'arrived' });
      expect(received).not.toHaveProperty('unheard');
      expect(await ended(source)).toBe('completed');
    });
    expect(machine.running).toBe(true);
    await withQemu({ ...OPTIONS, incoming: true }, async (destination) => {
      const path = join(destination.dir, 'there');
      await destination.qmp.execute('migrate-incoming', { uri: `unix:${path}` });
      const socket = connect(path);
      const sent = await sendLive(streamDuplex(socket), machine, { handOverTimeoutMs: 60_000 });
      expect(sent).toMatchObject({ result: 'moved' });
      expect(await ended(destination)).toBe('completed');
      expect(await destination.qmp.execute('query-status')).toMatchObject({ running: true });
    });
    expect(machine.running).toBe(false);
  });

  test('a QEMU that is not alike refuses, and the guest stays', async () => {
    const like = await withQemu({ ...OPTIONS, paused: true }, (vm) => vm.migrate());
    const machine = new Halted(like);
    machine.resume();
    await withQemu({ ...OPTIONS, memoryMiB: 64, incoming: true }, async (destination) => {
      const path = join(destination.dir, 'there');
      await destination.qmp.execute('migrate-incoming', { uri: `unix:${path}` });
      const sent = await sendLive(streamDuplex(connect(path)), machine);
      expect(sent).toMatchObject({ result: 'stayed', reason: expect.stringMatching(/refused|closed/) });
    });
    expect(machine.running).toBe(true);
  });
});
