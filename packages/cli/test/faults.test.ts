// Random faults, without a QEMU: each command that writes or speaks is killed, cut off, left without space or without a reader.
// Whatever it is, no half file has its name, nothing is missing that was reported as written, and what was read is as it was.
//
//   VIRTKIT_FAULTS=200 VIRTKIT_SEED=random npx vitest run packages/cli/test/faults.test.ts
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { parkedStream } from '../../visit/test/parked.ts';
import { listening, type Running, useMigrating } from './migrating.ts';

/** All of them; each of four commands gets its part. */
const FAULTS = Number(process.env['VIRTKIT_FAULTS'] ?? 32);
const SEED = Number(process.env['VIRTKIT_SEED']);
const TIMEOUT_MS = 30_000 * (1 + FAULTS);

const DISK_BYTES = 8 << 20;
const WRITES = Array.from({ length: 20 }, (_, index) => ({ sector: 700 * index, byte: index + 1 }));
const stream = parkedStream({ diskBytes: DISK_BYTES, writes: WRITES, moreMemory: 12 << 20 });
/** With a return path, so that the other side says how it went. */
const FIRST_SECTION = Buffer.from(stream).indexOf('\x03ram') - 5;
const answered = Buffer.concat([
  stream.subarray(0, FIRST_SECTION),
  Uint8Array.of(8, 0, 1, 0, 0),
  stream.subarray(FIRST_SECTION),
]);
const TAKEN = Buffer.from('0001000400000000', 'hex');

let state = SEED;
/** 0 to 1, by the seed that is printed. */
function random(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
}
const pick = <T>(list: readonly [T, ...T[]]): T => list[Math.floor(random() * list.length)] ?? list[0];

const migrating = useMigrating();
const at = (name: string): string => join(migrating.home(), name);
beforeAll(() => console.log(`faults by VIRTKIT_SEED=${SEED}`));

const SIGNALS = ['SIGKILL', 'SIGKILL', 'SIGINT', 'SIGTERM'] as const;
type Fault =
  | { readonly kind: 'signal'; readonly signal: NodeJS.Signals; readonly after: number }
  | { readonly kind: 'no reader' }
  | { readonly kind: 'limit'; readonly blocks: number };

/** Up to a little longer than the command takes. */
function randomFault(wholeMs: number): Fault {
  const kind = pick(['signal', 'signal', 'signal', 'limit', 'no reader'] as const);
  if (kind === 'signal') return { kind, signal: pick(SIGNALS), after: Math.round(random() * 1.1 * wholeMs) };
  if (kind === 'no reader') return { kind };
  return { kind, blocks: Math.floor((random() * stream.length) / 512) };
}

/** Runs the command under a fault. Answers its exit code; null: by a signal. */
async function under(fault: Fault | undefined, args: readonly string[]): Promise<number | null> {
  if (fault?.kind === 'limit')
    return migrating.shell(`ulimit -f ${fault.blocks}; exec $V ${args.map((arg) => `'${arg}'`).join(' ')}`)
      .status;
  const running = migrating.virtkit(...args);
  if (fault?.kind === 'no reader') running.child.stdout?.destroy();
  await killed(running, fault);
  return running.child.exitCode;
}

async function killed(running: Running, fault: Fault | undefined): Promise<void> {
  if (fault?.kind !== 'signal') return void (await running.ended);
  const timer = setTimeout(() => running.child.kill(fault.signal), fault.after);
  await running.ended;
  clearTimeout(timer);
}

/** Files that only `kill -9` may leave. */
function expectClean(fault: Fault, shown: string): void {
  const left = readdirSync(migrating.home()).filter((name) => /\.part-|socket/.test(name));
  if (fault.kind !== 'signal' || fault.signal !== 'SIGKILL') expect(left, shown).toEqual([]);
  for (const name of left) rmSync(at(name));
}

/** Runs once without a fault, which says how long it takes, and then with each. */
async function faults(run: (fault: Fault | undefined, shown: string) => Promise<void>): Promise<void> {
  const start = performance.now();
  await run(undefined, 'no fault');
  const whole = performance.now() - start;
  for (let n = 0; n < FAULTS / 4; n++) {
    const fault = randomFault(whole);
    await run(fault, `fault ${n} of VIRTKIT_SEED=${SEED}: ${JSON.stringify(fault)}`);
  }
}

describe('random faults', { timeout: TIMEOUT_MS }, () => {
  test('convert', async () => {
    const [input, output] = [at('in.mig'), at('out.mig')];
    writeFileSync(input, stream);
    let right: Buffer | undefined;
    await faults(async (fault, shown) => {
      // what stood there stays until the new one is whole
      const before = Buffer.from('what was there');
      writeFileSync(output, before);
      const status = await under(fault, [
        'convert',
        input,
        output,
        '--to',
        'qemu-7.2,capabilities=x-ignore-shared',
      ]);
      const after = readFileSync(output);
      right ??= after;
      if (fault === undefined) expect([status, right.length]).toEqual([0, stream.length]);
      else expectClean(fault, shown);
      if (status === 0) expect(after.equals(right), shown).toBe(true);
      expect(after.equals(right) || after.equals(before), shown).toBe(true);
      expect(readFileSync(input).equals(stream), shown).toBe(true);
    });
  });

  test('visit', async () => {
    const [input, output, image] = [at('in.mig'), at('out.mig'), at('disk.img')];
    writeFileSync(input, stream);
    const done = (): number => {
      const bytes = readFileSync(image);
      return WRITES.filter(
        ({ sector, byte }) => bytes[512 * sector] === byte && bytes[512 * sector + 511] === byte,
      ).length;
    };
    let right: Buffer | undefined;
    await faults(async (fault, shown) => {
      writeFileSync(image, '');
      truncateSync(image, DISK_BYTES);
      rmSync(output, { force: true });
      const args = ['visit', input, output, '--disk', image];
      const status = await under(fault, args);
      if (existsSync(output)) {
        // what a stream says is done is on the disk
        right ??= readFileSync(output);
        if (status !== 1) {
          expect(readFileSync(output).equals(right), shown).toBe(true);
          expect(done(), shown).toBe(WRITES.length - 1);
        }
      } else {
        expect(status, shown).not.toBe(0);
        // and once more, from the start
        expect(await under(undefined, args), shown).toBe(0);
        if (right !== undefined) expect(readFileSync(output).equals(right), shown).toBe(true);
        expect(done(), shown).toBe(WRITES.length - 1);
      }
      if (fault !== undefined) expectClean(fault, shown);
      expect(readFileSync(input).equals(stream), shown).toBe(true);
    });
  });

  test('receive', async () => {
    const [socket, output] = [at('socket'), at('out.mig')];
    await faults(async (fault, shown) => {
      rmSync(output, { force: true });
      const running = migrating.virtkit('receive', `unix:${socket}`, '-o', output);
      if (fault?.kind === 'no reader') running.child.stdout?.destroy();
      await Promise.race([listening(running), running.ended]);
      const heard: Buffer[] = [];
      const source = connect({ path: socket }).on('error', () => {});
      source.on('data', (bytes: Buffer) => heard.push(bytes));
      // the third fault is a source that dies in the middle
      const cut = fault?.kind === 'limit' ? Math.floor(random() * answered.length) : answered.length;
      source.write(answered.subarray(0, cut));
      if (cut < answered.length) source.end();
      await killed(running, fault);
      source.destroy();
      const told = Buffer.concat(heard).equals(TAKEN);
      if (fault === undefined) expect(told).toBe(true);
      // a source that hears that all was taken stops its guest for good
      if (told || running.child.exitCode === 0) expect(existsSync(output), shown).toBe(true);
      if (existsSync(output)) expect(readFileSync(output).equals(answered), shown).toBe(true);
      if (fault !== undefined) expectClean(fault, shown);
    });
  });

  test('send', async () => {
    const input = at('in.mig');
    writeFileSync(input, stream);
    await faults(async (fault, shown) => {
      rmSync(at('door'), { force: true });
      const got: Buffer[] = [];
      // so that more is left than fits into buffers
      const most =
        fault?.kind === 'limit' ? Math.floor((random() * stream.length) / 2) : Number.POSITIVE_INFINITY;
      let whole = false;
      const server = createServer({ allowHalfOpen: true }, (peer) => {
        peer.on('error', () => {});
        peer.on('data', (bytes: Buffer) => {
          got.push(bytes);
          if (got.reduce((sum, { length }) => sum + length, 0) > most) peer.destroy();
        });
        peer.on('end', () => {
          whole = Buffer.concat(got).equals(stream);
          peer.end();
        });
      });
      await new Promise<void>((resolve) => server.listen(at('door'), resolve));
      const status = await under(fault?.kind === 'limit' ? undefined : fault, [
        'send',
        input,
        `unix:${at('door')}`,
      ]);
      server.close();
      if (fault === undefined) expect([status, whole]).toEqual([0, true]);
      if (status === 0) expect(whole, shown).toBe(true);
      if (fault?.kind === 'limit') expect(status, shown).toBe(1);
      expect(readFileSync(input).equals(stream), shown).toBe(true);
    });
  });
});
