// kill -9 of each command at random moments: nothing is lost, exactly one side can run, and no file has its name that is not whole.
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  captureRunningGuest,
  delay,
  FAILING_DISK,
  findLab,
  PARKED_WRITER,
  parkedGoesOn,
  type Qemu,
  untilParked,
} from '@virtkit/lab';
import { parseStream } from '@virtkit/migration';
import { beforeAll, describe, expect, test } from 'vitest';
import { binary, ended, listening, migrate, runs, statusOf, until, useMigrating } from './migrating.ts';
import { violations } from './schema.ts';

/** In all five commands together: VIRTKIT_KILLS=200, by hand. */
const KILLS = Number(process.env['VIRTKIT_KILLS'] ?? (process.env['VIRTKIT_SLOW'] === undefined ? 15 : 100));
const POINTS = Math.ceil(KILLS / 5);
const SEED = Number(process.env['VIRTKIT_SEED']);
const TIMEOUT_MS = 300_000 + 20_000 * POINTS;

let state = SEED;
/** 0 to 1, by the seed that is printed. */
function random(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
}

const migrating = useMigrating();
const { guest, close, virtkit } = migrating;
beforeAll(() => console.log(`kill points by VIRTKIT_SEED=${SEED}`));

/** Slow enough for the moments to lie inside. */
const SLOWLY = { bandwidth: 4 << 20, capabilities: ['return-path'] };

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
      const [socket, file] = [join(migrating.home(), `s${++round}`), join(migrating.home(), `g${round}.mig`)];
      const receiving = virtkit('receive', `unix:${socket}`, '-o', file);
      await listening(receiving);
      await migrate(source, socket, SLOWLY);
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
      const [from, to] = [join(migrating.home(), `f${++round}`), join(migrating.home(), `t${round}`)];
      // as every manager starts it: it runs when it is told that the source does not
      const destination = await guest({ incoming: true, paused: true });
      await destination.qmp.execute('migrate-incoming', { uri: `unix:${to}` });
      const between = virtkit('proxy', `unix:${from}`, `unix:${to}`);
      await listening(between);
      await migrate(source, from, SLOWLY);
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
    const file = join(migrating.home(), 'guest.mig');
    const vm = await guest();
    writeFileSync(file, await vm.migrate({ capabilities: [] }));
    await close(vm);
    const bytes = readFileSync(file);
    let round = 0;
    const send = async (killAfter?: number): Promise<string> => {
      const door = join(migrating.home(), `d${++round}`);
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
      ...{ blockdev: FAILING_DISK, blk: 'rerror=stop,werror=stop', guest: PARKED_WRITER, until: untilParked },
      afterCapture: async (vm, { stream }) => {
        const [input, output, image] = [
          join(migrating.home(), 'in.mig'),
          join(migrating.home(), 'out.mig'),
          join(migrating.home(), 'disk.img'),
        ];
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
        for (const part of partsIn(migrating.home())) rmSync(join(migrating.home(), part));
        copyFileSync(image, original);
        await parkedGoesOn(vm, readFileSync(output));
        await killedConverts(input, right);
      },
    });
  });
});

/** `convert` over the same stream. */
async function killedConverts(input: string, visited: Uint8Array): Promise<void> {
  const output = join(migrating.home(), 'converted.mig');
  const run = async (killAfter?: number): Promise<void> => {
    const converting = virtkit('convert', input, output, '--to', 'qemu-7.2,capabilities=x-ignore-shared');
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
