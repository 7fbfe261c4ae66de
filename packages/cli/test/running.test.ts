// A QEMU that runs is asked by its QMP socket: what it says is enough to tell where it could move, and it lives on.

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { answerOf, checkRunning, parseTarget } from '@virtkit/compat';
import { findQemus, Qemu, type QemuBinary } from '@virtkit/lab';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { askRunning, featureNames } from '../src/ask-running.ts';
import { checkGuest } from '../src/check.ts';
import { type Monitor, QmpMonitor } from '../src/monitor.ts';
import { whyNotAsked } from '../src/questions.ts';
import { registry } from '../src/registry.ts';

const binaries = [...findQemus('x86_64').values()];
if (binaries.length === 0) console.warn('SKIPPED: check --qmp, for there is no qemu-system-x86_64');

const devices = (...disk: readonly string[]): string[] => [
  ...['-nodefaults', '-blockdev', 'driver=null-co,node-name=d', '-netdev', 'user,id=n'],
  ...['-device', ['virtio-blk-pci,drive=d,id=disk,num-queues=2', ...disk].join(',')],
  ...[
    '-device',
    'virtio-net-pci,netdev=n,id=card,addr=5',
    '-device',
    'virtio-scsi-pci,id=scsi,num_queues=2,addr=6',
  ],
  ...['-device', 'virtio-rng-pci,id=rng,addr=7', '-device', 'virtio-balloon-pci,id=balloon,addr=8'],
  ...['-device', 'virtio-serial-pci,id=serial,addr=9'],
];

/** Keeps what is asked. */
class Listening implements Monitor {
  readonly asked: string[] = [];
  readonly #monitor: Monitor;
  constructor(monitor: Monitor) {
    this.#monitor = monitor;
  }
  execute(command: string, args: object = {}): Promise<unknown> {
    this.asked.push('command-line' in args ? String(args['command-line']) : command);
    return this.#monitor.execute(command, args);
  }
  close(): void {
    this.#monitor.close();
  }
}

let vm: Qemu | undefined;
afterEach(() => vm?.close());

describe.each(binaries.map((binary) => [binary.version, binary] as const))(
  'QEMU %s',
  (version, binary: QemuBinary) => {
    test('says what it is, and what speaks against another one', { timeout: 120_000 }, async () => {
      const minor = version.split('.').slice(0, 2).join('.');
      vm = await Qemu.start({
        arch: 'x86_64',
        binary,
        machine: 'pc',
        sharedMemory: false,
        args: [...devices(), '-qmp', 'unix:second.sock,server=on,wait=off'],
        paused: true,
      });
      const monitor = new Listening(await QmpMonitor.connect(join(vm.dir, 'second.sock')));
      const { running, notAsked, longestMs } = await askRunning(monitor);
      monitor.close();
      expect(running).toMatchObject({ version: minor, cpus: 1, type: `pc-i440fx-${minor}-machine` });
      expect(longestMs).toBeGreaterThan(0);
      // nothing that was not tried with this version
      const names = monitor.asked.filter((name) => !/^(qmp_capabilities|query-version)$/.test(name));
      expect(names.filter((name) => whyNotAsked(name, version) !== undefined)).toEqual([]);
      const tried = whyNotAsked('x-query-virtio-status', version) === undefined;
      expect(names.includes('x-query-virtio-status')).toBe(tried);
      expect(notAsked.length > 0).toBe(!tried);
      expect(running.devices.size).toBe(tried ? 6 : 0);
      // it lives
      expect(await vm.qmp.execute('query-status')).toMatchObject({ status: 'prelaunch' });
      const answer = (...disk: readonly string[]): string => {
        const commandLine = ['qemu-system-x86_64', '-M', 'pc', '-m', '128', ...devices(...disk)];
        const verdicts = checkRunning(running, parseTarget(`qemu-${minor}`, { commandLine }), registry);
        return `${answerOf(verdicts)} ${verdicts.map(({ code, severity }) => (severity === 'note' ? '' : code)).join(' ')}`.trim();
      };
      expect(answer()).toBe('loads');
      const args = JSON.stringify(['qemu-system-x86_64', '-M', 'pc', '-m', '128', ...devices()]);
      const words = { target: `qemu-${minor}`, qmp: join(vm.dir, 'second.sock'), args };
      expect(await checkGuest(words, true)).toMatchObject({ answer: 'loads' });
      await expect(checkGuest({ target: 'qemu-7.2' }, true)).rejects.toThrow(/one of them is needed/);
      expect(answer('num-queues=4')).toMatch(/^refused config-space/);
      expect(answer('addr=11')).toBe('refused no-device');
      expect(answer('page-per-vq=on')).toMatch(/^refused config-space/);
      // no driver has negotiated anything
      expect(answer('event_idx=off')).toBe(tried ? 'loads' : 'unknown feature');
    });
  },
);

test('no question is put to a version with which it was not tried', () => {
  expect(whyNotAsked('x-query-virtio-status', '7.2.22')).toBeUndefined();
  expect(whyNotAsked('x-query-virtio-status', '10.0.13')).toBeUndefined();
  expect(whyNotAsked('x-query-virtio-status', '11.1.2')).toMatch(/does not survive .* aborts/);
  expect(whyNotAsked('info virtio-status', '11.1.2')).toMatch(/does not survive/);
  for (const version of ['8.2.0', '10.1.0', '11.0.0', '11.1.3', '11.2.0', '5.2.0'])
    expect(whyNotAsked('x-query-virtio-status', version)).toMatch(/was not tried/);
  expect(whyNotAsked('info qtree', '9.2.1')).toBeUndefined();
  expect(whyNotAsked('info qtree', '12.0.0')).toMatch(/was not tried/);
  expect(whyNotAsked('anything', '7.2.0')).toMatch(/was not tried/);
});

test('features have names, and numbers where QEMU has no name for them', () => {
  expect(
    featureNames({
      'unknown-dev-features': 2 ** 40,
      'dev-features': ['VIRTIO_NET_F_MAC: Device has given MAC address'],
      transports: ['VIRTIO_RING_F_EVENT_IDX: Used & avail. event fields enabled'],
    }),
  ).toEqual(['VIRTIO_NET_F_MAC', 'VIRTIO_RING_F_EVENT_IDX', 'bit 40']);
});

describe('a socket', () => {
  const homes: string[] = [];
  let server: Server | undefined;
  afterEach(async () => {
    vi.useRealTimers();
    await new Promise((done) => server?.close(done) ?? done(undefined));
    server = undefined;
    for (const home of homes.splice(0)) rmSync(home, { recursive: true, force: true });
  });

  const answering = async (text: string): Promise<string> => {
    const home = mkdtempSync(join(tmpdir(), 'vkq-'));
    homes.push(home);
    const path = join(home, 's');
    server = createServer((socket) => {
      socket.on('error', () => {});
      socket.write(text);
    });
    await new Promise((done) => server?.listen(path, () => done(undefined)));
    return path;
  };

  test.each([
    ['no QMP', 'hello\n', /not QMP: hello/],
    ['JSON that is no greeting', '{}\n', /does not greet/],
    ['more than 64 MiB in one line', 'x'.repeat(65 << 20), /more than 67108864 bytes/],
  ])('with %s', async (_, text, error) => {
    await expect(QmpMonitor.connect(await answering(text))).rejects.toThrow(error);
  });

  test('that is not there, or closes', async () => {
    await expect(QmpMonitor.connect('/nowhere/socket')).rejects.toThrow(/--qmp .nowhere.socket: .*ENOENT/);
  });

  test('that says nothing: not waited for after 30 s', async () => {
    const path = await answering('');
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const failed = expect(QmpMonitor.connect(path)).rejects.toThrow(/no answer to its greeting in time/);
    await vi.advanceTimersByTimeAsync(30_000);
    await failed;
  });
});
