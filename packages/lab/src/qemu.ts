/**
 * Runs real QEMUs: finds the programs, starts them in a temporary directory with a QMP socket and a console, migrates to
 * and from files, and never leaves a process behind.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { copyFile, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { delay, isObject, type JsonObject, LabTimeoutError, Qmp, QmpError, withTimeout } from './qmp.ts';

export type QemuArch =
  | 'x86_64'
  | 's390x'
  | 'aarch64'
  | 'ppc'
  | 'ppc64'
  | 'riscv64'
  | 'm68k'
  | 'or1k'
  | 'loongarch64';

/** A QEMU program that was found and could be started. */
export interface QemuBinary {
  readonly arch: QemuArch;
  /** `7.2.22` */
  readonly version: string;
  /** Distribution package as the program prints it, `Debian 1:7.2+dfsg-7+deb12u18`; empty if it prints none. */
  readonly package: string;
  /** The program and the arguments that always come first. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface FindQemuOptions {
  /**
   * Root of another Debian (made by debootstrap) whose QEMU is to run, by that system's own dynamic loader; no chroot and
   * no privileges needed. Default: the environment variable `VIRTKIT_QEMU_ROOT`.
   */
  readonly root?: string | undefined;
}

const LOADERS = [
  'lib64/ld-linux-x86-64.so.2',
  // there, the one above is an absolute link (Debian 11)
  'lib/x86_64-linux-gnu/ld-linux-x86-64.so.2',
  'lib/ld-linux-aarch64.so.1',
  'lib/ld64.so.1',
];
const LIBRARY_DIRS = [
  'usr/lib/x86_64-linux-gnu',
  'usr/lib/aarch64-linux-gnu',
  'usr/lib/s390x-linux-gnu',
  'usr/lib',
];

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function candidate(
  arch: QemuArch,
  root: string | undefined,
): { command: string[]; env: Record<string, string> } | undefined {
  const name = `qemu-system-${arch}`;
  if (root !== undefined && root !== '') {
    const program = join(root, 'usr/bin', name);
    const loader = LOADERS.map((path) => join(root, path)).find((path) => existsSync(path));
    if (!isExecutable(program) || loader === undefined) return undefined;
    const libraries = LIBRARY_DIRS.map((path) => join(root, path)).filter((path) => existsSync(path));
    const data = ['usr/share/qemu', 'usr/share/seabios']
      .map((path) => join(root, path))
      .filter((path) => existsSync(path));
    return {
      command: [
        loader,
        '--library-path',
        libraries.join(':'),
        program,
        ...data.flatMap((path) => ['-L', path]),
      ],
      env: { QEMU_MODULE_DIR: join(libraries[0] ?? root, 'qemu') },
    };
  }
  const given = process.env[`VIRTKIT_QEMU_${arch.toUpperCase()}`];
  if (given !== undefined && given !== '')
    return isExecutable(given) ? { command: [given], env: {} } : undefined;
  for (const dir of (process.env['PATH'] ?? '').split(delimiter)) {
    if (dir !== '' && isExecutable(join(dir, name))) return { command: [join(dir, name)], env: {} };
  }
  return undefined;
}

/**
 * Finds `qemu-system-<arch>`: below `root`, or the path in `VIRTKIT_QEMU_<ARCH>` (`VIRTKIT_QEMU_X86_64`), or in `PATH`.
 * `undefined` if there is none that starts.
 */
export function findQemu(arch: QemuArch, options: FindQemuOptions = {}): QemuBinary | undefined {
  const found = candidate(arch, options.root ?? process.env['VIRTKIT_QEMU_ROOT']);
  if (found === undefined) return undefined;
  const [program = '', ...first] = found.command;
  const run = spawnSync(program, [...first, '--version'], {
    encoding: 'utf8',
    timeout: 20_000,
    env: { ...process.env, ...found.env },
  });
  const match = /version (\d+\.\d+\.\d+)(?: \(([^)]*)\))?/.exec(run.stdout ?? '');
  if (match === null) return undefined;
  return { arch, version: match[1] ?? '', package: match[2] ?? '', ...found };
}

/**
 * Finds QEMUs by version (`7.2`): the one that {@link findQemu} finds outside any root, and those below the directories
 * in `VIRTKIT_QEMU_ROOTS` (`dir:dir`).
 */
export function findQemus(arch: QemuArch): Map<string, QemuBinary> {
  const roots = (process.env['VIRTKIT_QEMU_ROOTS'] ?? '').split(':').filter((root) => root !== '');
  const found = ['', ...roots].flatMap((root) => findQemu(arch, { root }) ?? []);
  return new Map(found.map((binary) => [binary.version.split('.').slice(0, 2).join('.'), binary]));
}

/** Compares dotted versions: negative if `a` is older than `b`. */
export function compareVersions(a: string, b: string): number {
  const [x, y] = [a.split('.').map(Number), b.split('.').map(Number)];
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const difference = (x[i] ?? 0) - (y[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

export interface QemuOptions {
  readonly arch: QemuArch;
  /** Default: {@link findQemu}. */
  readonly binary?: QemuBinary | undefined;
  /** Value of `-M` without a memory backend, e.g. `pc-q35-7.2`. */
  readonly machine: string;
  /** Default 128. */
  readonly memoryMiB?: number | undefined;
  /** Guest RAM in the file `ram.img`, so that the capability `x-ignore-shared` leaves it out of a stream. Default true. */
  readonly sharedMemory?: boolean | undefined;
  readonly args?: readonly string[] | undefined;
  /** Start stopped (`-S`). */
  readonly paused?: boolean | undefined;
  /** Start as the destination of a migration (`-incoming defer`); see {@link Qemu.load}. */
  readonly incoming?: boolean | undefined;
  /** A standing virtual machine of the same shape, whose RAM and disks are copied first. */
  readonly copyOf?: Qemu | undefined;
  /** Files to write to the working directory first. A number makes an empty file of that many bytes. */
  readonly files?: Readonly<Record<string, Uint8Array | number>> | undefined;
  /** QEMU is killed after this time whatever happens, even when this process is gone. Default 10 minutes. */
  readonly lifetimeMs?: number | undefined;
  readonly startTimeoutMs?: number | undefined;
}

export interface MigrateOptions {
  /** Capabilities to switch on; default `x-ignore-shared` when the memory is shared. */
  readonly capabilities?: readonly string[] | undefined;
  readonly parameters?: JsonObject | undefined;
  /** `exec` pipes the stream through `cat` (all versions); `file` writes it seekable (QEMU 8.2 and later; for `mapped-ram`). */
  readonly method?: 'exec' | 'file' | undefined;
  /** Called with each `query-migrate` answer while the migration runs, e.g. to relax its limits in the end. */
  readonly whileActive?: ((info: JsonObject) => Promise<void>) | undefined;
  readonly timeoutMs?: number | undefined;
}

/** Outcome of {@link Qemu.load}. */
export type LoadResult = { readonly ok: true } | { readonly ok: false; readonly error: string };

const running = new Set<Qemu>();
process.on('exit', () => {
  for (const vm of running) vm.kill();
});

/** A running QEMU. Always `close()` it, or use {@link withQemu}. */
export class Qemu {
  readonly binary: QemuBinary;
  /** Working directory; all file names in the command line are relative to it. */
  readonly dir: string;
  /** The command line with relative names. */
  readonly commandLine: readonly string[];
  readonly sharedMemory: boolean;
  readonly options: QemuOptions;
  #process: ChildProcess;
  #qmp: Qmp | undefined;
  #console = '';
  #stderr = '';
  #exited: Promise<void>;
  #exitCode: string | undefined;
  #consoleListeners = new Set<() => void>();

  private constructor(binary: QemuBinary, dir: string, options: QemuOptions) {
    this.binary = binary;
    this.dir = dir;
    this.options = options;
    this.sharedMemory = options.sharedMemory ?? true;
    const args = commandLine(options, this.sharedMemory);
    this.commandLine = [`qemu-system-${binary.arch}`, ...args];
    const seconds = String(Math.ceil((options.lifetimeMs ?? 600_000) / 1000));
    this.#process = spawn('timeout', ['-s', 'KILL', seconds, ...binary.command, ...args], {
      cwd: dir,
      detached: true, // a process group of its own, to be killed as a whole
      env: { ...process.env, ...binary.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#process.stdin?.on('error', () => {});
    this.#process.stdout?.setEncoding('latin1');
    this.#process.stdout?.on('data', (chunk: string) => {
      this.#console += chunk;
      for (const listener of this.#consoleListeners) listener();
    });
    this.#process.stderr?.setEncoding('utf8');
    this.#process.stderr?.on('data', (chunk: string) => {
      this.#stderr += chunk;
    });
    this.#exited = new Promise((resolve) => {
      const ended = (how: string): void => {
        this.#exitCode ??= how;
        running.delete(this);
        this.#qmp?.fail(this.#death());
        for (const listener of this.#consoleListeners) listener();
        resolve();
      };
      this.#process.once('error', (error) => ended(error.message));
      this.#process.once('close', (code, signal) => ended(signal ?? `exit code ${code}`));
    });
    running.add(this);
  }

  static async start(options: QemuOptions): Promise<Qemu> {
    const binary = options.binary ?? findQemu(options.arch);
    if (binary === undefined) throw new Error(`qemu-system-${options.arch} not found`);
    const dir = await mkdtemp(join(tmpdir(), 'virtkit-lab-'));
    try {
      for (const [name, content] of Object.entries(options.files ?? {})) {
        if (typeof content !== 'number') await writeFile(join(dir, name), content);
        else await makeEmptyFile(join(dir, name), content);
      }
      if (options.copyOf !== undefined) {
        const names = Object.keys(options.copyOf.options.files ?? {});
        if (options.copyOf.sharedMemory) names.push('ram.img');
        for (const name of names) await copyFile(join(options.copyOf.dir, name), join(dir, name));
      }
    } catch (error) {
      await rm(dir, { recursive: true, force: true });
      throw error;
    }
    const vm = new Qemu(binary, dir, options);
    try {
      await vm.#connect(options.startTimeoutMs ?? 60_000);
    } catch (error) {
      await vm.close();
      throw error;
    }
    return vm;
  }

  get qmp(): Qmp {
    if (this.#qmp === undefined) throw new Error('QEMU is not connected');
    return this.#qmp;
  }

  /** Text that the guest has written to its console. */
  get console(): string {
    return this.#console;
  }

  /** Text that QEMU has written to its standard error. */
  get stderr(): string {
    return this.#stderr;
  }

  get alive(): boolean {
    return this.#exitCode === undefined;
  }

  writeConsole(text: string): void {
    this.#process.stdin?.write(text);
  }

  /** Waits until the console's text, from character `from` on, matches. */
  async waitForConsole(pattern: RegExp, timeoutMs: number, from = 0): Promise<RegExpExecArray> {
    let listener: (() => void) | undefined;
    try {
      return await withTimeout(
        `console ${String(pattern)}`,
        timeoutMs,
        new Promise((resolve, reject) => {
          listener = () => {
            const match = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, '')).exec(
              this.#console.slice(from),
            );
            if (match !== null) resolve(match);
            else if (!this.alive) reject(this.#death());
          };
          this.#consoleListeners.add(listener);
          listener();
        }),
      );
    } catch (error) {
      const tail = this.#console.slice(-2000);
      throw new Error(`${error instanceof Error ? error.message : String(error)}\nconsole:\n${tail}`, {
        cause: error,
      });
    } finally {
      if (listener !== undefined) this.#consoleListeners.delete(listener);
    }
  }

  /** A command of the human monitor. */
  async hmp(command: string): Promise<string> {
    return String(await this.qmp.execute('human-monitor-command', { 'command-line': command }));
  }

  /** Stops the virtual machine; returns when it stands. */
  async stop(): Promise<void> {
    await this.qmp.execute('stop');
    const status = await this.qmp.execute('query-status');
    if (isObject(status) && status['running'] === true) throw new Error('the virtual machine did not stop');
  }

  async cont(): Promise<void> {
    await this.qmp.execute('cont');
  }

  /** Guest memory by guest-physical address (shared memory only; below the machine's PCI hole). */
  async readMemory(address: number, length: number): Promise<Uint8Array> {
    if (!this.sharedMemory) throw new Error('the guest has no shared memory');
    const file = await open(join(this.dir, 'ram.img'), 'r');
    try {
      const bytes = new Uint8Array(length);
      const { bytesRead } = await file.read(bytes, 0, length, address);
      if (bytesRead !== length) throw new RangeError(`guest address ${address} is beyond its memory`);
      return bytes;
    } finally {
      await file.close();
    }
  }

  async setCapabilities(capabilities: readonly string[]): Promise<void> {
    await this.qmp.execute('migrate-set-capabilities', {
      capabilities: capabilities.map((capability) => ({ capability, state: true })),
    });
  }

  /** Migrates to a file in the working directory and reads it. */
  async migrate(options: MigrateOptions = {}): Promise<Uint8Array> {
    await this.setCapabilities(options.capabilities ?? (this.sharedMemory ? ['x-ignore-shared'] : []));
    if (options.parameters !== undefined)
      await this.qmp.execute('migrate-set-parameters', options.parameters);
    const name = 'stream.mig';
    await this.qmp.execute('migrate', {
      uri: options.method === 'file' ? `file:${name}` : `exec:cat > ${name}`,
    });
    const timeoutMs = options.timeoutMs ?? 120_000;
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const info = await this.qmp.execute('query-migrate');
      const status = isObject(info) ? info['status'] : undefined;
      if (status === 'completed') break;
      if (status === 'failed' || status === 'cancelled') {
        throw new Error(
          `migration ${status}: ${isObject(info) ? String(info['error-desc'] ?? '') : ''}\n${this.#stderr}`,
        );
      }
      if (Date.now() > deadline) throw new LabTimeoutError('migration', timeoutMs);
      if (isObject(info)) await options.whileActive?.(info);
      await delay(20);
    }
    return this.#readStable(join(this.dir, name));
  }

  /**
   * Loads a stream into a QEMU started with `incoming`. A refusal is a result, not an exception; QEMU may be gone then.
   * The virtual machine stands afterwards if the source did, or with `paused`.
   */
  async load(
    stream: Uint8Array,
    options: { capabilities?: readonly string[]; timeoutMs?: number; method?: 'exec' | 'file' } = {},
  ): Promise<LoadResult> {
    const timeoutMs = options.timeoutMs ?? 60_000;
    const deadline = Date.now() + timeoutMs;
    await writeFile(join(this.dir, 'incoming.mig'), stream);
    await this.setCapabilities(options.capabilities ?? (this.sharedMemory ? ['x-ignore-shared'] : []));
    try {
      await this.qmp.execute('migrate-incoming', {
        uri: options.method === 'file' ? 'file:incoming.mig' : 'exec:cat incoming.mig',
      });
      for (;;) {
        const info = await this.qmp.execute('query-migrate');
        const status = isObject(info) ? info['status'] : undefined;
        if (status === 'completed') return { ok: true };
        if (status === 'failed')
          return {
            ok: false,
            error: `${isObject(info) ? String(info['error-desc'] ?? '') : ''}\n${this.#stderr}`.trim(),
          };
        if (Date.now() > deadline) throw new LabTimeoutError('incoming migration', timeoutMs);
        await delay(20);
      }
    } catch (error) {
      if (error instanceof LabTimeoutError || error instanceof QmpError) throw error;
      await withTimeout('end of QEMU', 10_000, this.#exited);
      return { ok: false, error: this.#stderr.trim() || String(this.#exitCode) };
    }
  }

  /** Ends QEMU (politely, then by force) and removes its directory. Safe to call twice. */
  async close(): Promise<void> {
    try {
      if (this.alive && this.#qmp !== undefined) {
        await this.#qmp.execute('quit', {}, 3000).catch(() => {});
        await withTimeout('quit', 3000, this.#exited).catch(() => {});
      }
      if (this.alive) {
        this.kill();
        await withTimeout('kill', 5000, this.#exited).catch(() => {});
      }
    } finally {
      this.#qmp?.close();
      await rm(this.dir, { recursive: true, force: true });
    }
  }

  /** Kills the whole process group at once. */
  kill(): void {
    const pid = this.#process.pid;
    if (pid === undefined || !this.alive) return;
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // already gone
    }
  }

  async #connect(timeoutMs: number): Promise<void> {
    const path = join(this.dir, 'qmp.sock');
    const deadline = Date.now() + timeoutMs;
    while (this.#qmp === undefined) {
      if (!this.alive) throw this.#death();
      if (Date.now() > deadline) throw new LabTimeoutError('QMP socket', timeoutMs);
      try {
        this.#qmp = await Qmp.connect(path, Math.max(1000, deadline - Date.now()));
      } catch (error) {
        const code = error instanceof Error && 'code' in error ? error.code : undefined;
        if (code !== 'ENOENT' && code !== 'ECONNREFUSED') {
          await withTimeout('end of QEMU', 2000, this.#exited).catch(() => {});
          throw this.alive ? error : this.#death();
        }
        await delay(20);
      }
    }
  }

  /** The program behind `exec:` may still be writing when QEMU is done: waits until the file stops growing. */
  async #readStable(path: string): Promise<Uint8Array> {
    let bytes = await readFile(path);
    for (let same = 0; same < 3; ) {
      await delay(30);
      const again = await readFile(path);
      same = again.length === bytes.length ? same + 1 : 0;
      bytes = again;
    }
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #death(): Error {
    return new Error(`QEMU ended (${this.#exitCode ?? 'unknown'}): ${this.#stderr.trim().slice(-2000)}`);
  }
}

async function makeEmptyFile(path: string, size: number): Promise<void> {
  const file = await open(path, 'w');
  try {
    await file.truncate(size);
  } finally {
    await file.close();
  }
}

function commandLine(options: QemuOptions, shared: boolean): string[] {
  const memory = options.memoryMiB ?? 128;
  const args = [
    '-accel',
    'tcg',
    '-M',
    shared ? `${options.machine},memory-backend=ram` : options.machine,
    '-m',
    `${memory}M`,
  ];
  if (shared) args.push('-object', `memory-backend-file,id=ram,size=${memory}M,mem-path=ram.img,share=on`);
  args.push('-display', 'none', '-nodefaults', '-no-user-config', '-qmp', 'unix:qmp.sock,server=on,wait=off');
  args.push('-chardev', 'stdio,id=con,signal=off');
  args.push(
    ...(options.arch === 's390x' ? ['-device', 'sclpconsole,chardev=con'] : ['-serial', 'chardev:con']),
  );
  args.push(...(options.args ?? []));
  if (options.paused === true) args.push('-S');
  if (options.incoming === true) args.push('-incoming', 'defer');
  return args;
}

/** Starts a QEMU, hands it to `use`, and ends it whatever happens. */
export async function withQemu<T>(options: QemuOptions, use: (vm: Qemu) => Promise<T>): Promise<T> {
  const vm = await Qemu.start(options);
  try {
    return await use(vm);
  } finally {
    await vm.close();
  }
}
