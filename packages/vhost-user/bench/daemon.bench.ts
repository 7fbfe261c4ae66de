// Our disk beside qemu-storage-daemon's, with the same front end and no guest: `qemu-img bench` by libblkio, the two in turns. It needs a folder in
// VIRTKIT_QEMU_ROOTS with a Debian (trixie or later) that has qemu-utils and qemu-block-extra.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BlkDevice } from '@virtkit/device-blk';
import { fileDisk } from '@virtkit/device-blk/node';
import { serveVhostUser } from '@virtkit/vhost-user';

const ROUNDS = 5;
const IMAGE_BYTES = 64 << 20;
/** Linux: USER_HZ. */
const TICKS_PER_SECOND = 100;
const LIBRARIES = 'usr/lib/x86_64-linux-gnu';

interface Case {
  readonly name: string;
  readonly bytes: number;
  readonly depth: number;
  readonly requests: number;
  readonly write: boolean;
}

const CASES: readonly Case[] = [
  { name: 'read 4 KiB, 32 at a time', bytes: 4096, depth: 32, requests: 30_000, write: false },
  { name: 'read 4 KiB, 1 at a time', bytes: 4096, depth: 1, requests: 5000, write: false },
  { name: 'write 4 KiB, 32 at a time', bytes: 4096, depth: 32, requests: 30_000, write: true },
  { name: 'read 64 KiB, 32 at a time', bytes: 65_536, depth: 32, requests: 10_000, write: false },
  { name: 'read 64 KiB, 1 at a time', bytes: 65_536, depth: 1, requests: 3000, write: false },
];

/** A disk that is served: its socket, and the processor time that its process has used, in seconds. */
interface Disk {
  readonly path: string;
  cpu(): number;
}

const root = (process.env['VIRTKIT_QEMU_ROOTS'] ?? '')
  .split(':')
  .find((folder) => folder !== '' && existsSync(join(folder, LIBRARIES, 'qemu/block-blkio.so')));

function program(
  from: string,
  name: string,
  args: readonly string[],
): readonly [string, string[], NodeJS.ProcessEnv] {
  const libraries = join(from, LIBRARIES);
  return [
    join(from, 'lib64/ld-linux-x86-64.so.2'),
    ['--library-path', libraries, join(from, 'usr/bin', name), ...args],
    { ...process.env, QEMU_MODULE_DIR: join(libraries, 'qemu') },
  ];
}

/** Seconds of one run. */
async function run(from: string, { path }: Disk, { bytes, depth, requests, write }: Case): Promise<number> {
  const options = `driver=virtio-blk-vhost-user,path=${path},cache.direct=on`;
  const words = ['bench', '-c', `${requests}`, '-d', `${depth}`, '-s', `${bytes}`, '-t', 'none'];
  const [command, args, env] = program(from, 'qemu-img', [
    ...words,
    ...(write ? ['-w'] : []),
    '--image-opts',
    options,
  ]);
  const { stdout } = await promisify(execFile)(command, args, { env });
  const [, seconds] = /Run completed in ([\d.]+) seconds/.exec(stdout) ?? [];
  if (seconds === undefined) throw new Error(stdout);
  return Number(seconds);
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

async function compare(from: string, ours: Disk, theirs: Disk): Promise<void> {
  for (const each of CASES) {
    const seconds: [number[], number[]] = [[], []];
    const cpu: [number[], number[]] = [[], []];
    for (let round = 0; round < ROUNDS; round++) {
      for (const [index, disk] of [ours, theirs].entries()) {
        const before = disk.cpu();
        seconds[index]?.push(await run(from, disk, each));
        cpu[index]?.push(disk.cpu() - before);
      }
    }
    const rate = (index: 0 | 1): number => Math.round(each.requests / median(seconds[index]));
    const micros = (index: 0 | 1): string => ((1e6 * median(cpu[index])) / each.requests).toFixed(1);
    console.log(
      `${each.name}: ${rate(0)}/s, the daemon ${rate(1)}/s: ${(rate(0) / rate(1)).toFixed(2)}; CPU ${micros(0)} µs a request, the daemon ${micros(1)}`,
    );
  }
}

function cpuOf(child: ChildProcess): number {
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

async function main(from: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vu-'));
  const images = [join(folder, 'ours.img'), join(folder, 'theirs.img')] as const;
  for (const image of images) writeFileSync(image, new Uint8Array(IMAGE_BYTES).fill(7));
  const server = serveVhostUser(new BlkDevice({ backend: fileDisk(images[0]) }), {
    path: join(folder, 'ours'),
  });
  const blockdev = `driver=file,node-name=f,filename=${images[1]}`;
  const device = `type=vhost-user-blk,id=e,node-name=f,addr.type=unix,addr.path=${join(folder, 'theirs')},writable=on`;
  const [command, args, env] = program(from, 'qemu-storage-daemon', [
    '--blockdev',
    blockdev,
    '--export',
    device,
  ]);
  const daemon = spawn(command, args, { env, stdio: 'inherit' });
  try {
    while (!existsSync(join(folder, 'theirs'))) await new Promise((resolve) => setTimeout(resolve, 20));
    const cpu = (): number => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    };
    await compare(
      from,
      { path: server.path, cpu },
      { path: join(folder, 'theirs'), cpu: () => cpuOf(daemon) },
    );
  } finally {
    server.close();
    daemon.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

if (root === undefined)
  console.log('no folder of VIRTKIT_QEMU_ROOTS has qemu-block-extra: nothing to compare with');
else await main(root);
