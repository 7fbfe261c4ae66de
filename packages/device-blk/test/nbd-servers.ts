// NBD servers that people run, for the tests: qemu-nbd, qemu-storage-daemon, nbdkit, nbd-server.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Why a program cannot be run; undefined if it can. */
export function missing(program: string): string | undefined {
  const { error } = spawnSync(program, ['--version'], { stdio: 'ignore', timeout: 30_000 });
  return error === undefined ? undefined : `${program} is not installed`;
}

export interface Made {
  readonly command: readonly string[];
  readonly socket: string;
  /** Of one that goes to the background by itself. */
  readonly pidFile?: string;
}

/** Command lines of servers of an image, on a socket, in a folder. */
export const SERVERS: Readonly<Record<string, (dir: string, image: string) => Made>> = {
  'qemu-nbd': qemuNbd,
  'qemu-storage-daemon': (dir, image) => {
    const socket = join(dir, 'storage-daemon.sock');
    return {
      socket,
      command: [
        'qemu-storage-daemon',
        ...['--blockdev', `driver=file,node-name=f,filename=${image},discard=unmap`],
        ...['--nbd-server', `addr.type=unix,addr.path=${socket}`],
        ...['--export', 'type=nbd,id=e,node-name=f,name=disk0,writable=on'],
      ],
    };
  },
  nbdkit: (dir, image) => nbdkit(dir, [], ['file', image]),
  'nbdkit, simple replies': (dir, image) => nbdkit(dir, ['--no-sr'], ['file', image]),
  'nbdkit, blocks of 4096 bytes': (dir, image) =>
    nbdkit(
      dir,
      ['--filter=blocksize-policy'],
      [
        'file',
        image,
        'blocksize-minimum=4096',
        'blocksize-preferred=64K',
        'blocksize-maximum=1M',
        'blocksize-error-policy=error',
      ],
    ),
  'nbd-server': (dir, image) => {
    const [socket, config] = [join(dir, 'nbd-server.sock'), join(dir, 'nbd-server.conf')];
    writeFileSync(
      config,
      `[generic]\nunixsock = ${socket}\nallowlist = true\n[disk0]\nexportname = ${image}\nflush = true\nfua = true\ntrim = true\n`,
    );
    // in the foreground it ends with its first client
    const pidFile = join(dir, 'nbd-server.pid');
    return { socket, pidFile, command: ['nbd-server', '-C', config, '-p', pidFile] };
  },
};

export function qemuNbd(dir: string, image: string): Made {
  const socket = join(dir, 'qemu-nbd.sock');
  return {
    socket,
    command: ['qemu-nbd', '-t', '-k', socket, '-e', '8', '-f', 'raw', '--discard=unmap', image],
  };
}

export function nbdkit(dir: string, options: readonly string[], plugin: readonly string[]): Made {
  const socket = join(dir, 'nbdkit.sock');
  return { socket, command: ['nbdkit', '-f', '-U', socket, ...options, ...plugin] };
}

/** A server that runs; it can be killed and started again. */
export class NbdServer {
  readonly made: Made;
  #child: ChildProcess | undefined;
  #errors = '';

  constructor(made: Made) {
    this.made = made;
  }

  uri(exportName = '', parameters = ''): string {
    return `nbd+unix:///${exportName}?socket=${this.made.socket}${parameters}`;
  }

  /** Resolves when it takes connections. */
  async start(): Promise<void> {
    const [program = '', ...args] = this.made.command;
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.on('data', (text: Buffer) => {
      this.#errors += text;
    });
    let ended = false;
    child.once('exit', (code) => {
      ended = code !== 0 || this.made.pidFile === undefined;
    });
    this.#child = child;
    while (!(await isListening(this.made.socket))) {
      if (ended) throw new Error(`${program} ended: ${this.#errors}`);
      await sleep(20);
    }
  }

  /** Stops it as it is. Resolves when each of its threads stands still: until then one may still answer. */
  async freeze(): Promise<void> {
    this.#child?.kill('SIGSTOP');
    const tasks = `/proc/${this.#child?.pid}/task`;
    const stands = (task: string): boolean => /\) T /.test(readFileSync(`${tasks}/${task}/stat`, 'latin1'));
    while (!readdirSync(tasks).every(stands)) await sleep(5);
  }

  /** Has it go on. */
  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    const { pidFile, socket } = this.made;
    // it and its children, each of which has a client
    if (pidFile !== undefined) process.kill(-Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    // what is left of it answers nobody
    rmSync(socket, { force: true });
  }
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}
