// kill -9 of each command at random moments: nothing is lost, exactly one side can run, and no file has its name that is not whole.
import { type ChildProcess, spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  captureRunningGuest,
  delay,
  findLab,
  findQemu,
  isObject,
  type JsonObject,
  Qemu,
  withQemu,
} from '@virtkit/lab';
import { parseStream } from '@virtkit/migration';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { useCommand } from './command.ts';
import { violations } from './schema.ts';

const binary = findQemu('x86_64', { root: '' });
if (binary === undefined) console.warn('SKIPPED: no qemu-system-x86_64');
/** VIRTKIT_SLOW: the twenty. */
const POINTS = process.env['VIRTKIT_SLOW'] === undefined ? 5 : 20;
const SEED = Number(process.env['VIRTKIT_SEED'] ?? Date.now() % 100_000);
const TIMEOUT_MS = 400_000;
const ARGS = [
  ...['-blockdev', 'driver=null-co,size=67108864,read-zeroes=on,node-name=d0'],
  ...['-device', 'virtio-blk-pci,drive=d0', '-netdev', 'user,id=n0,restrict=on'],
  ...['-device', 'virtio-net-pci,netdev=n0,romfile='],
];

let state = SEED;
/** 0 to 1, by the seed that is printed. */
function random(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
}

const command = useCommand();
let home = '';
const machines: Qemu[] = [];
const children: ChildProcess[] = [];
beforeEach(() => {
  console.log(`kill points by VIRTKIT_SEED=${SEED}`);
  home = mkdtempSync(join(tmpdir(), 'virtkit-kill-'));
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const vm of machines.splice(0)) await vm.close();
  rmSync(home, { recursive: true, force: true });
});

async function guest(options: { incoming?: boolean; paused?: boolean } = {}): Promise<Qemu> {
  if (binary === undefined) throw new Error('no QEMU');
  const vm = await Qemu.start({
    ...{ arch: 'x86_64', binary, machine: 'pc', memoryMiB: 64, sharedMemory: false, args: ARGS },
    ...options,
  });
  machines.push(vm);
  return vm;
}

async function close(vm: Qemu): Promise<void> {
  machines.splice(machines.indexOf(vm), 1);
  await vm.close();
}

interface Running {
  readonly child: ChildProcess;
  stdout(): string;
  stderr(): string;
  readonly ended: Promise<number | null>;
}

function virtkit(...args: readonly string[]): Running {
  const child = spawn(process.execPath, [join(command.home(), 'dist', 'cli.js'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  let text = '';
  let printed = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    printed += chunk;
  });
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  return {
    child,
    stdout: () => printed,
    stderr: () => text,
    ended: new Promise((resolve) => child.once('close', resolve)),
  };
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within 60 s`);
    await delay(10);
  }
}

async function statusOf(vm: Qemu): Promise<string> {
  const info = await vm.qmp.execute('query-migrate');
  return isObject(info) ? String(info['status']) : '';
}

async function ended(vm: Qemu): Promise<string> {
  await until('migration', async () => /completed|failed|cancelled/.test(await statusOf(vm)));
  return statusOf(vm);
}

const runs = async (vm: Qemu): Promise<boolean> =>
  ((await vm.qmp.execute('query-status')) as JsonObject)['running'] === true;

async function migrate(vm: Qemu, path: string): Promise<void> {
  await vm.setCapabilities(['return-path']);
  await vm.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 4 << 20 });
  await vm.qmp.execute('migrate', { uri: `unix:${path}` });
}

/** How long a run takes that nobody kills; then moments within, and a little behind. */
async function moments(run: () => Promise<unknown>): Promise<number[]> {
  const start = performance.now();
  await run();
  const whole = performance.now() - start;
  return Array.from({ length: POINTS }, () => Math.round(random() * whole * 1.1));
}

function partsIn(dir: string): string[] {
  return readdirSync(dir).filter((name) => name.includes('.part-'));
}

describe.skipIf(binary === undefined)('kill -9', { timeout: TIMEOUT_MS }, () => {
  test('receive: the source runs on, or the whole stream has its name', async () => {
    let source = await guest();
    let round = 0;
    const receive = async (killAfter?: number): Promise<{ file: string; status: string }> => {
      const [socket, file] = [join(home, `s${++round}`), join(home, `g${round}.mig`)];
      const receiving = virtkit('receive', `unix:${socket}`, '-o', file);
      await until('listening', () => receiving.stderr().includes('waiting on'));
      await migrate(source, socket);
      if (killAfter !== undefined) {
        await delay(killAfter);
        receiving.child.kill('SIGKILL');
      }
      await receiving.ended;
      return { file, status: await ended(source) };
    };
    const points = await moments(async () => expect((await receive()).status).toBe('completed'));
    let failed = 0;
    for (const point of points) {
      if (!(await runs(source))) {
        await close(source);
        source = await guest();
      }
      const { file, status } = await receive(point);
      if (status === 'failed') failed++;
      expect([status, await runs(source)], `killed after ${point} ms`).toEqual(
        status === 'failed' ? ['failed', true] : ['completed', false],
      );
      if (status === 'completed') expect(existsSync(file)).toBe(true);
      if (existsSync(file)) expect(parseStream(readFileSync(file)).complete).toBe(true);
    }
    expect(failed).toBeGreaterThan(0);
  });

  test('proxy: the source runs on, or the destination has all', async () => {
    let round = 0;
    const pass = async (source: Qemu, killAfter?: number): Promise<[string, string]> => {
      const [from, to] = [join(home, `f${++round}`), join(home, `t${round}`)];
      // as every manager starts it: it runs when it is told that the source does not
      const destination = await guest({ incoming: true, paused: true });
      await destination.qmp.execute('migrate-incoming', { uri: `unix:${to}` });
      const between = virtkit('proxy', `unix:${from}`, `unix:${to}`);
      await until('listening', () => between.stderr().includes('waiting on'));
      await migrate(source, from);
      if (killAfter !== undefined) {
        await delay(killAfter);
        between.child.kill('SIGKILL');
      }
      await between.ended;
      const result: [string, string] = [await ended(source), await ended(destination).catch(() => 'gone')];
      if (result[0] === 'completed') {
        await destination.cont();
        expect([await runs(source), await runs(destination)]).toEqual([false, true]);
      } else {
        expect(await runs(source), `killed after ${killAfter} ms`).toBe(true);
      }
      await close(destination);
      return result;
    };
    let source = await guest();
    const points = await moments(async () => expect(await pass(source)).toEqual(['completed', 'completed']));
    for (const point of points) {
      if (!(await runs(source))) {
        await close(source);
        source = await guest();
      }
      const [there, here] = await pass(source, point);
      if (there === 'completed') expect(here).toBe('completed');
    }
  });

  test('send: the file is as it was, and can be sent again', async () => {
    const file = join(home, 'guest.mig');
    const vm = await guest();
    writeFileSync(file, await vm.migrate({ capabilities: [] }));
    await close(vm);
    const bytes = readFileSync(file);
    let round = 0;
    const send = async (killAfter?: number): Promise<string> => {
      const door = join(home, `d${++round}`);
      const destination = await guest({ incoming: true, paused: true });
      await destination.qmp.execute('migrate-incoming', { uri: `unix:${door}` });
      const sending = virtkit('send', file, `unix:${door}`);
      if (killAfter !== undefined) {
        await delay(killAfter);
        sending.child.kill('SIGKILL');
      }
      await sending.ended;
      // one that nobody sent to waits; one that got a part of a stream gives up
      let status = '';
      const settled = until('the destination', async () => {
        status = await statusOf(destination).catch(() => 'gone');
        return /completed|failed|gone/.test(status);
      });
      await Promise.race([settled.catch(() => {}), delay(killAfter === undefined ? 60_000 : 1000)]);
      expect(await runs(destination).catch(() => false)).toBe(false);
      await close(destination);
      expect(readFileSync(file).equals(bytes)).toBe(true);
      return status;
    };
    for (const point of await moments(async () => expect(await send()).toBe('completed'))) await send(point);
    expect(await send()).toBe('completed');
  });

  test('visit: executed by the command, killed at any moment, executed again: the guest sees its data', async (context) => {
    const lab = findLab('x86_64', '');
    if (!lab.ok) return context.skip(lab.reason);
    await captureRunningGuest({
      ...{ arch: 'x86_64', machine: 'q35', binary: lab.binary, sharedMemory: false },
      ...{ blockdev: FAILING_DISK, blk: 'rerror=stop,werror=stop', guest: WRITER, until: untilParked },
      afterCapture: async (vm, { stream }) => {
        const [input, output, image] = [join(home, 'in.mig'), join(home, 'out.mig'), join(home, 'disk.img')];
        writeFileSync(input, stream);
        const original = join(vm.dir, 'disk.img');
        const run = async (killAfter?: number): Promise<number | null> => {
          const visiting = virtkit('visit', input, output, '--json', '--disk', image);
          if (killAfter !== undefined) {
            await delay(killAfter);
            visiting.child.kill('SIGKILL');
          }
          const status = await visiting.ended;
          if (killAfter !== undefined) return status;
          expect(status, visiting.stderr()).toBe(0);
          const json = JSON.parse(visiting.stdout()) as { devices: { found: number; executed: number }[] };
          expect(violations('visit', json)).toEqual([]);
          expect(json.devices[0]?.found).toBeGreaterThanOrEqual(8);
          expect(json.devices[0]?.executed).toBe((json.devices[0]?.found ?? 0) - 1);
          return status;
        };
        copyFileSync(original, image);
        const points = await moments(() => run());
        const [right, disk] = [readFileSync(output), readFileSync(image)];
        expect(disk.equals(readFileSync(original))).toBe(false);
        for (const point of points) {
          copyFileSync(original, image);
          rmSync(output);
          await run(point);
          if (existsSync(output)) {
            expect(readFileSync(output).equals(right), `killed after ${point} ms`).toBe(true);
            // what a stream says is done is on the disk
            expect(readFileSync(image).equals(disk)).toBe(true);
          } else await run();
          expect(readFileSync(input).equals(Buffer.from(stream))).toBe(true);
          expect([readFileSync(output).equals(right), readFileSync(image).equals(disk)]).toEqual([
            true,
            true,
          ]);
        }
        for (const part of partsIn(home)) rmSync(join(home, part));
        copyFileSync(image, original);
        await goesOn(vm, readFileSync(output));
        await killedConverts(input, right);
      },
    });
  });
});

/** `convert` over the same stream. */
async function killedConverts(input: string, visited: Uint8Array): Promise<void> {
  const output = join(home, 'converted.mig');
  const run = async (killAfter?: number): Promise<void> => {
    const converting = virtkit('convert', input, output, '--to', 'qemu-7.2');
    if (killAfter !== undefined) {
      await delay(killAfter);
      converting.child.kill('SIGKILL');
    }
    const status = await converting.ended;
    if (killAfter === undefined) expect(status, converting.stderr()).toBe(0);
  };
  const points = await moments(() => run());
  const right = readFileSync(output);
  expect(right.length).toBeGreaterThan(visited.length / 2);
  for (const point of points) {
    rmSync(output, { force: true });
    await run(point);
    if (existsSync(output)) expect(readFileSync(output).equals(right), `killed after ${point} ms`).toBe(true);
  }
}

const WRITES = 10;
/** Fails every write, so that the machine stops and the requests are kept. */
const FAILING_DISK = [
  '-blockdev',
  'driver=file,filename=disk.img,node-name=f0',
  '-blockdev',
  '{"driver":"blkdebug","node-name":"d0","image":"f0","inject-error":[{"event":"none","iotype":"write","errno":5,"once":false}]}',
];
const WRITER = {
  disk: false,
  network: false,
  commands: [
    'n=0; while [ ! -b /dev/vda ] && [ $n -lt 50 ]; do usleep 100000; n=$((n + 1)); done',
    `n=0; while [ $n -lt ${WRITES} ]; do dd if=/dev/urandom of=/data$n bs=4k count=1 2>/dev/null; n=$((n + 1)); done`,
  ],
  afterReady: [
    'read line',
    'dd if=/dev/vda of=/dev/null bs=16k count=1 skip=3000 iflag=direct 2>/dev/null',
    `n=0; while [ $n -lt ${WRITES} ]; do dd if=/data$n of=/dev/vda bs=4k count=1 seek=$((n * 100)) oflag=direct 2>/dev/null & n=$((n + 1)); done`,
    'echo LAB:ISSUED',
    'wait',
    `n=0; while [ $n -lt ${WRITES} ]; do dd if=/dev/vda bs=4k count=1 skip=$((n * 100)) iflag=direct 2>/dev/null | cmp - /data$n || echo LAB:WRONG $n; n=$((n + 1)); done`,
    'echo LAB:VERIFIED',
  ],
};

async function untilParked(vm: Qemu): Promise<void> {
  await vm.waitForConsole(/LAB:READY/, 180_000);
  const none = { bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 };
  await vm.qmp.execute('block_set_io_throttle', {
    id: '/machine/peripheral/blk0/virtio-backend',
    bps: 4096,
    ...none,
  });
  vm.writeConsole('\n');
  await Promise.race([vm.waitForConsole(/LAB:ISSUED/, 8000).catch(() => {}), delay(4000)]);
  await delay(700);
}

/** The destination has the disk without its fault; the guest compares what is on it with what it wrote. */
async function goesOn(vm: Qemu, stream: Uint8Array): Promise<void> {
  const args = (vm.options.args ?? []).map((arg) =>
    arg.startsWith('{"driver":"blkdebug"') ? 'driver=raw,file=f0,node-name=d0' : arg,
  );
  const start = { ...vm.options, args, binary: vm.binary, incoming: true, paused: true, copyOf: vm };
  await withQemu(start, async (destination) => {
    expect(await destination.load(stream)).toEqual({ ok: true });
    await destination.cont();
    await destination.waitForConsole(/LAB:VERIFIED/, 60_000);
    expect(destination.console).not.toMatch(/LAB:WRONG|I\/O error|hung|Call Trace/);
  });
}
