// A console and an entropy device of a real QEMU: live here, and back in QEMU, in the middle of a write.
import { once } from 'node:events';
import { connect as connectTo, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect } from '@virtkit/core/qemu';
import { virtioConsole } from '@virtkit/device-console';
import { consoleType } from '@virtkit/device-console/type';
import { rng } from '@virtkit/device-rng';
import { rngType } from '@virtkit/device-rng/type';
import { captureRunningGuest, delay, findLab, type Qemu, withQemu } from '@virtkit/lab';
import {
  acceptVirtio,
  RamImage,
  type Registry,
  StreamCollector,
  StreamParser,
  TeeSink,
} from '@virtkit/migration';
import { StreamRewriter } from '@virtkit/migration/rewrite';
import { expect, test } from 'vitest';
import { openStream } from '../src/index.ts';
import { registry } from './corpus.ts';

const TIMEOUT_MS = 200_000;
const known: Registry = { ...registry, devices: [virtioConsole, rng] };
/** Bytes of the half-written buffer that are taken here. */
const TAKEN_HERE = 100;

/** The host's end of the port. */
class Reader {
  text = '';
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes: Buffer) => {
      this.text += bytes.toString('latin1');
    });
  }

  static async open({ dir }: Qemu): Promise<Reader> {
    const socket = connectTo(join(dir, 'port.sock'));
    await once(socket, 'connect');
    return new Reader(socket);
  }

  pause(): void {
    this.#socket.pause();
  }

  /** Reads until there is nothing more for a while. */
  async drain(): Promise<void> {
    this.#socket.resume();
    for (let before = -1; before !== this.text.length; await delay(500)) before = this.text.length;
  }

  async until(bytes: number): Promise<void> {
    while (this.text.length < bytes) await delay(50);
  }

  close(): void {
    this.#socket.destroy();
  }
}

test('a write of QEMU’s guest goes on here, and then in QEMU again, and its random numbers too', {
  timeout: TIMEOUT_MS,
}, async (context) => {
  const lab = findLab('x86_64', process.env['VIRTKIT_QEMU_ROOT']);
  if (!lab.ok) {
    console.warn(`SKIPPED: no x86_64 guest: ${lab.reason}`);
    return context.skip(lab.reason);
  }
  let source: Reader | undefined;
  await captureRunningGuest({
    arch: 'x86_64',
    machine: 'pc',
    binary: lab.binary,
    sharedMemory: false,
    args: [
      '-object',
      'rng-random,filename=/dev/urandom,id=rng',
      '-device',
      'virtio-rng-pci,rng=rng',
      '-chardev',
      'socket,id=port,path=port.sock,server=on,wait=off',
      '-device',
      'virtio-serial-pci,id=serial0',
      '-device',
      'virtserialport,bus=serial0.0,chardev=port,name=org.example.port',
    ],
    guest: {
      modules: ['virtio_blk', 'virtio_net', 'virtio_console', 'virtio-rng'],
      network: false,
      disk: false,
      afterReady: [
        'read line',
        'for port in /dev/vport*p1; do seq 1 100000000 > $port & done',
        'n=0; while dd if=/dev/hwrng of=/dev/null bs=64 count=1 2>/dev/null; do n=$((n + 1)); echo LAB:RANDOM $n; sleep 1; done',
      ],
    },
    until: async (vm) => {
      await vm.waitForConsole(/LAB:READY/, 120_000);
      source = await Reader.open(vm);
      await delay(500);
      vm.writeConsole('\n');
      await source.until(10_000);
      source.pause();
      await vm.waitForConsole(/LAB:RANDOM 2/, 60_000);
    },
    afterCapture: async (vm, { stream }) => {
      if (source === undefined) throw new Error('nobody reads');
      // a QEMU that was stopped goes on writing what its guest has left in the port: it must end before it can
      await vm.qmp.execute('quit');
      await source.drain();
      source.close();
      const { here, written } = throughLiveDevices(stream);
      expect(here.length).toBe(TAKEN_HERE);
      const start = { ...vm.options, binary: vm.binary, incoming: true, paused: true, copyOf: vm };
      await withQemu(start, async (destination) => {
        // what a port writes to a socket without a client is lost in QEMU, and it writes when it loads
        const reader = await Reader.open(destination);
        expect(await destination.load(written)).toEqual({ ok: true });
        await destination.cont();
        await reader.until(50_000);
        const lines = (source?.text + here + reader.text).split('\n').slice(0, -1);
        const wrong = lines.findIndex((line, i) => line !== String(i + 1));
        expect(wrong < 0 ? [] : lines.slice(Math.max(0, wrong - 2), wrong + 3)).toEqual([]);
        expect(lines.length).toBeGreaterThan(5000);
        await destination.waitForConsole(/LAB:RANDOM \d+/, 60_000);
        reader.close();
        expect(destination.console).not.toMatch(/Call Trace|hung|Oops/);
      });
    },
  });
});

/** The stream with what live devices write: of the port's half-written buffer, a part was taken here. */
function throughLiveDevices(stream: Uint8Array): { here: string; written: Uint8Array } {
  const collector = new StreamCollector();
  const ram = new RamImage();
  const options = { accepts: acceptVirtio(known) };
  const first = new StreamParser(new TeeSink(collector, ram), options);
  first.push(stream);
  first.end();
  let here = '';
  let left = TAKEN_HERE;
  const backend = {
    write: (bytes: Uint8Array, start: number, end: number): number => {
      const taken = Math.min(end - start, left);
      left -= taken;
      here += Buffer.from(bytes.subarray(start, start + taken)).toString('latin1');
      return taken;
    },
  };
  const opened = openStream(collector.partial(), ram, known, {
    types: [
      connect(consoleType).to((_title, { ports = [], ...inferred }) => ({
        ...inferred,
        ports: ports.map((port) => ({ ...port, backend })),
      })),
      connect(rngType).to((_title, inferred) => ({ ...inferred, backend: { fill: () => 0 } })),
    ],
  });
  expect(opened.devices.map(({ device }) => device.name).sort()).toEqual(['virtio-console', 'virtio-rng']);
  const bodies = new Map<string, Uint8Array>();
  for (const { device, live, save } of opened.devices) {
    expect(Buffer.compare(save(), device.section.body)).toBe(0);
    // nothing is taken from the rings here: guest memory stays as it is
    live.resume({ rings: false });
    live.pause();
    bodies.set(device.section.header.idstr, save());
  }
  const chunks: Uint8Array[] = [];
  const rewriter = new StreamRewriter((bytes, start, end) => chunks.push(bytes.slice(start, end)), {
    body: ({ idstr }) => bodies.get(idstr),
  });
  const second = new StreamParser(rewriter, options);
  second.push(stream);
  second.end();
  return { here, written: Buffer.concat(chunks) };
}
