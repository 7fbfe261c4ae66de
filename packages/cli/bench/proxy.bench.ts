// Total time of a migration as QEMU tells it: a guest with 1 GiB of memory that is not zero, straight to its destination and through
// `virtkit proxy`, by UNIX sockets, no limit of bandwidth unless VIRTKIT_BANDWIDTH sets one, rounds interleaved, medians.
// VIRTKIT_ROUNDS: how many, default 5. VIRTKIT_FILLED: MiB that are not zero, default 960; a Linux that has just booted has about 150.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { delay, findQemu, isObject, Qemu } from '@virtkit/lab';

const ROUNDS = Number(process.env['VIRTKIT_ROUNDS'] ?? 5);
/** Bytes a second; default: no limit. QEMU's own default is 134217728. */
const BANDWIDTH = Number(process.env['VIRTKIT_BANDWIDTH'] ?? 2 ** 42);
const FILLED = Number(process.env['VIRTKIT_FILLED'] ?? 960) << 20;
const binary = findQemu('x86_64', { root: '' });
if (binary === undefined) {
  console.log('not run: no qemu-system-x86_64');
  process.exit(0);
}
const home = mkdtempSync(join(tmpdir(), 'virtkit-proxy-bench-'));
process.once('exit', () => rmSync(home, { recursive: true, force: true }));

/** Bytes that no page compresses to zero. */
function fill(path: string): void {
  const chunk = new Uint8Array(1 << 20).map((_, i) => (i * 2654435761) >>> 23);
  const fd = openSync(path, 'w');
  for (let done = 0; done < FILLED; done += chunk.length) writeSync(fd, chunk);
  closeSync(fd);
}
const image = join(home, 'fill');
fill(image);

const common = { arch: 'x86_64', binary, machine: 'pc', memoryMiB: 1024, sharedMemory: false } as const;
const devices = [
  '-blockdev',
  'driver=null-co,size=67108864,read-zeroes=on,node-name=d0',
  '-device',
  'virtio-blk-pci,drive=d0',
];
const guest = (incoming: boolean): Promise<Qemu> =>
  Qemu.start({
    ...common,
    incoming,
    // RAM from 2 MiB on, where no firmware writes
    args: [...devices, ...(incoming ? [] : ['-device', `loader,file=${image},addr=0x200000,force-raw=on`])],
  });

async function info(vm: Qemu): Promise<{ status: string; total: number }> {
  const answer = await vm.qmp.execute('query-migrate');
  if (!isObject(answer)) return { status: '', total: 0 };
  return { status: String(answer['status']), total: Number(answer['total-time'] ?? 0) };
}

function proxyProcess(from: string, to: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['dist/cli.js', 'proxy', `unix:${from}`, `unix:${to}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  return new Promise((resolve, reject) => {
    child.once('exit', () => reject(new Error('the proxy ended')));
    child.stderr?.on('data', (chunk: Buffer) => {
      if (chunk.toString().includes('waiting on')) resolve(child);
    });
  });
}

/** Processor time of a process so far, ms. 0 where there is no /proc, or the process is gone. */
function cpuOf(pid: number | undefined): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return 10 * (Number(fields[11]) + Number(fields[12]));
  } catch {
    return 0;
  }
}
const proxyCpu: number[] = [];

let count = 0;
/** ms of one migration. */
async function migrate(through: 'nothing' | 'proxy'): Promise<number> {
  const [source, destination] = [await guest(false), await guest(true)];
  try {
    const door = join(home, `door${++count}`);
    const way = through === 'proxy' ? join(home, `way${count}`) : door;
    await destination.qmp.execute('migrate-incoming', { uri: `unix:${door}` });
    const child = through === 'proxy' ? await proxyProcess(way, door) : undefined;
    await source.setCapabilities(['return-path']);
    await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': BANDWIDTH });
    await source.qmp.execute('migrate', { uri: `unix:${way}` });
    let cpu = 0;
    for (;;) {
      await delay(50);
      cpu = Math.max(cpu, cpuOf(child?.pid));
      const { status, total } = await info(source);
      if (/failed|cancelled/.test(status)) throw new Error(`migration ${status}`);
      if (status !== 'completed') continue;
      if (child !== undefined && child.exitCode === null)
        await new Promise((resolve) => child.once('exit', resolve));
      if (child !== undefined) proxyCpu.push(cpu);
      return total;
    }
  } finally {
    await source.close();
    await destination.close();
  }
}

const median = (list: number[]): number => list.sort((a, b) => a - b)[list.length >> 1] ?? 0;
const times = { nothing: [] as number[], proxy: [] as number[] };
await migrate('nothing');
await migrate('proxy');
for (let round = 0; round < ROUNDS; round++)
  for (const through of ['nothing', 'proxy'] as const) times[through].push(await migrate(through));
const [direct, proxied] = [median(times.nothing), median(times.proxy)];
console.log(
  `migration of a guest with ${FILLED >> 20} MiB that are not zero, total time by QEMU, medians of ${ROUNDS}`,
);
console.log(`  direct         ${direct} ms   (${times.nothing.join(', ')})`);
console.log(`  virtkit proxy  ${proxied} ms   (${times.proxy.join(', ')})`);
console.log(`  processor time of the proxy, its start included: ${median(proxyCpu)} ms`);
console.log(`  proxy/direct   ${(proxied / direct).toFixed(3)}`);
process.exit(0);
