/**
 * Runs real libvirt daemons: each in directories, process numbers and a network of its own, so that nothing of this machine's libvirt
 * is seen or touched, and everything that it started ends with it.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { delay, LabTimeoutError } from './qmp.ts';

/** Ending of a run of virsh. */
export interface VirshResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of a daemon. */
export interface LibvirtdOptions {
  /**
   * Names of the QEMU programs that the daemon finds: each costs it a second at the start. Default:
   * `qemu-system-x86_64`.
   */
  readonly programs?: readonly string[];
  /** Lines for its `qemu.conf`, such as `save_image_format = "gzip"`. */
  readonly config?: readonly string[];
}

/** Programs beside QEMU that a daemon may run. */
const HELPERS = ['gzip', 'bzip2', 'xz', 'lzop', 'zstd', 'ip', 'qemu-img'];
/** Milliseconds after which a daemon that does not answer is given up. */
const START_MS = 60_000;
/** Root, so that a daemon can have mounts of its own. */
const NEEDED = ['unshare', 'libvirtd', 'virsh'];

function pathOf(program: string): string | undefined {
  const { stdout, status } = spawnSync('sh', ['-c', `PATH="$PATH:/usr/sbin" command -v ${program}`], {
    encoding: 'utf8',
  });
  return status === 0 ? stdout.trim() : undefined;
}

/** Says why no daemon can be started on this machine; undefined: one can. */
export function whyNoLibvirt(): string | undefined {
  const missing = NEEDED.filter((program) => pathOf(program) === undefined);
  if (missing.length > 0) return `${missing.join(', ')} not installed`;
  const { status } = spawnSync('unshare', ['-m', '-p', '-n', '--fork', '--mount-proc', 'true']);
  return status === 0 ? undefined : 'no right to have mounts of its own';
}

/** A libvirt daemon. */
export class Libvirtd {
  readonly directory: string;
  /** Name of the connection for `virsh -c`. */
  readonly uri: string;
  readonly #process: ChildProcess;
  #said = '';

  private constructor(
    directory: string,
    { programs = ['qemu-system-x86_64'], config = [] }: LibvirtdOptions,
  ) {
    this.directory = directory;
    this.uri = `qemu+unix:///system?socket=${directory}/run/libvirt/libvirt-sock`;
    for (const name of ['run/libvirt', 'lib', 'log', 'etc', 'cache', 'bin'])
      mkdirSync(join(directory, name), { recursive: true });
    for (const program of [...programs, ...HELPERS]) {
      const path = pathOf(program);
      if (path !== undefined) symlinkSync(path, join(directory, 'bin', program));
    }
    writeFileSync(join(directory, 'etc', 'qemu.conf'), [...QEMU_CONF, ...config, ''].join('\n'));
    const uuid = crypto.randomUUID();
    writeFileSync(join(directory, 'etc', 'libvirtd.conf'), `host_uuid = "${uuid}"\nauth_unix_rw = "none"\n`);
    const mounts = ['lib', 'log', 'etc', 'cache'].map((name) => {
      const there = name === 'etc' ? '/etc/libvirt' : `/var/${name}/libvirt`;
      return `mkdir -p ${there} && mount --bind '${directory}/${name}' ${there}`;
    });
    const script = [
      `mount --bind '${directory}/run' /run`,
      ...mounts,
      // the shell is the first process, and takes in those whose parent has ended
      `PATH='${directory}/bin' ${pathOf('libvirtd')} & wait`,
    ].join('\n');
    this.#process = spawn(
      'unshare',
      ['-m', '-p', '-n', '--fork', '--kill-child', '--mount-proc', 'sh', '-e', '-c', script],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    for (const stream of [this.#process.stdout, this.#process.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.#said = (this.#said + chunk.toString()).slice(-20_000);
      });
  }

  /** Starts a daemon. @throws Error if it ends before it answers */
  static async start(options: LibvirtdOptions = {}): Promise<Libvirtd> {
    const daemon = new Libvirtd(mkdtempSync(join(tmpdir(), 'vkl-')), options);
    for (const end = Date.now() + START_MS; !(await daemon.#answers()); await delay(50)) {
      if (daemon.#process.exitCode === null && Date.now() < end) continue;
      const said = daemon.#said;
      await daemon.close();
      throw new LabTimeoutError(`libvirtd: ${said}`, START_MS);
    }
    return daemon;
  }

  #answers(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = createConnection(join(this.directory, 'run/libvirt/libvirt-sock'));
      socket.once('connect', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
  }

  /** Runs virsh, whatever it ends with. */
  virsh(...args: readonly string[]): Promise<VirshResult> {
    return new Promise((resolve) => {
      execFile(
        'virsh',
        ['-q', '-c', this.uri, ...args],
        { maxBuffer: 1 << 26, env: { ...process.env, LC_ALL: 'C' } },
        (error, stdout, stderr) => {
          const status = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
          resolve({ status, stdout, stderr });
        },
      );
    });
  }

  /** Runs virsh, and gives what it prints. @throws Error if it fails */
  async ask(...args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.virsh(...args);
    if (status !== 0) throw new Error(`virsh ${args.join(' ')}: ${stderr.trim()}`);
    return stdout;
  }

  /** The log of a domain. */
  log(domain: string): string {
    return readFileSync(join(this.directory, 'log/qemu', `${domain}.log`), 'utf8');
  }

  /** Ends the daemon and all that it has started. */
  async close(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = once(this.#process, 'exit');
      this.#process.kill('SIGKILL');
      await ended;
    }
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }
}

/** Without a system around it: nobody else's rights, groups, or log. */
const QEMU_CONF = [
  'user = "root"',
  'group = "root"',
  'security_driver = "none"',
  'dynamic_ownership = 0',
  'remember_owner = 0',
  'cgroup_controllers = []',
  'namespaces = []',
  'seccomp_sandbox = 0',
  'stdio_handler = "file"',
];
