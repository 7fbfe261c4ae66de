/**
 * Linux in v86: the parts of a machine from the cache that `prepare.sh i386` fills, an initramfs that ends in a shell on the
 * serial line, and a client of that shell. Booting takes 15 s, so tests start from a snapshot that the first of them makes.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { V86, type V86Options } from 'v86';
import { buildInitramfs, cacheDir, findGuestKit, type GuestKit } from './guest.ts';

export type V86KitLookup =
  | { readonly ok: true; readonly kit: V86Kit }
  | { readonly ok: false; readonly reason: string };

/** Parts that a v86 boots Linux from. */
export interface V86Kit {
  readonly kernel: Uint8Array;
  readonly initramfs: Uint8Array;
  readonly bios: Uint8Array;
  readonly vgaBios: Uint8Array;
  readonly wasmPath: string;
  /** Text that changes when any of the parts does. */
  readonly key: string;
}

/** Bytes of guest memory. v86 puts the initramfs at 64 MiB, so that less than 80 does not do. */
export const V86_MEMORY = 128 << 20;

/** `cryptomgr.notests` alone saves five seconds. */
const COMMAND_LINE =
  'console=ttyS0 tsc=reliable mitigations=off random.trust_cpu=on nokaslr cryptomgr.notests quiet panic=1';
const MODULES = [
  'virtio_pci',
  'virtio_blk',
  'virtio_net',
  'virtio-rng',
  'virtio_console',
  'ext4',
  'crc32c_generic',
  'sd_mod',
  'ata_piix',
];

/** Programs beside busybox, and the libraries that they load. */
const PROGRAMS = ['sbin/mke2fs', 'sbin/e2fsck', 'sbin/resize2fs'];
const LIBRARIES = [
  'ld-linux.so.2',
  'libc.so.6',
  'libcom_err.so.2',
  'libe2p.so.2',
  'libext2fs.so.2',
  'libblkid.so.1',
  'libuuid.so.1',
];

/** Looks for everything; says what is missing otherwise. */
export function findV86Kit(): V86KitLookup {
  const found = findGuestKit('i386');
  if (!found.ok) return found;
  const root = join(cacheDir(), 'i386');
  const biosDir = join(root, 'usr/share/seabios');
  if (!existsSync(join(biosDir, 'bios.bin')))
    return { ok: false, reason: `no bios.bin in ${biosDir}; run packages/lab/prepare.sh` };
  const require = createRequire(import.meta.url);
  const initramfs = makeInitramfs(found.kit, root);
  const kernel = readFileSync(found.kit.kernelPath);
  const wasmPath = join(dirname(require.resolve('v86/package.json')), 'build/v86.wasm');
  const hash = createHash('sha256');
  for (const part of [kernel, initramfs, readFileSync(wasmPath), COMMAND_LINE]) hash.update(part);
  return {
    ok: true,
    kit: {
      kernel,
      initramfs,
      wasmPath,
      bios: readFileSync(join(biosDir, 'bios.bin')),
      vgaBios: readFileSync(join(biosDir, 'vgabios-stdvga.bin')),
      key: hash.digest('hex').slice(0, 16),
    },
  };
}

function makeInitramfs(kit: GuestKit, root: string): Uint8Array {
  const files: Record<string, Uint8Array> = {};
  for (const path of PROGRAMS) files[path] = readFileSync(join(root, path));
  for (const name of LIBRARIES) {
    const path = ['lib', 'usr/lib'].map((dir) => join(root, dir, 'i386-linux-gnu', name)).find(existsSync);
    if (path === undefined) throw new Error(`no ${name} in the i386 guest cache`);
    files[`lib/${name}`] = readFileSync(path);
  }
  return buildInitramfs(kit, {
    modules: MODULES,
    disk: false,
    network: false,
    files,
    commands: [
      'export PATH=/sbin:/bin PS1= PS2=',
      'mount -t tmpfs tmp /tmp',
      'ip link set lo up',
      'mkdir -p /mnt',
    ],
    // the shell gets a terminal of its own, which does not repeat what it is told
    afterReady: [
      'while :; do setsid sh -c "stty -echo; echo LAB:SHELL; exec sh" </dev/ttyS0 >/dev/ttyS0 2>&1; done',
    ],
  });
}

/** Options of a `V86` that boots the kit. */
export function v86Options(kit: V86Kit, more: Partial<V86Options> = {}): V86Options {
  const buffer = ({ buffer, byteOffset, byteLength }: Uint8Array): { buffer: ArrayBuffer } => ({
    buffer: (buffer as ArrayBuffer).slice(byteOffset, byteOffset + byteLength),
  });
  return {
    wasm_path: kit.wasmPath,
    memory_size: V86_MEMORY,
    vga_memory_size: 1 << 20,
    bios: buffer(kit.bios),
    vga_bios: buffer(kit.vgaBios),
    bzimage: buffer(kit.kernel),
    initrd: buffer(kit.initramfs),
    cmdline: COMMAND_LINE,
    acpi: false,
    autostart: false,
    disable_speaker: true,
    ...more,
  } as V86Options;
}

/** Resolves when devices exist, and nothing has been executed if nobody has run it. */
export function v86Ready(emulator: V86): Promise<void> {
  const { v86 } = emulator as unknown as { v86?: { cpu?: { devices?: { pci?: unknown } } } };
  // the event comes once
  if (v86?.cpu?.devices?.pci !== undefined) return Promise.resolve();
  return new Promise((resolve) => emulator.add_listener('emulator-ready', () => resolve()));
}

/** The shell on a guest's serial line. Follows the guest when it moves to another instance. */
export class V86Shell {
  /** All that the guest has printed. */
  output = '';
  #emulator: V86 | undefined;
  #commands = 0;
  readonly #listen = (byte: number): void => {
    this.output += String.fromCharCode(byte);
    for (const check of this.#waiting) check();
  };
  readonly #waiting = new Set<() => void>();

  constructor(emulator: V86) {
    this.follow(emulator);
  }

  /** The guest is in another instance now. */
  follow(emulator: V86): void {
    this.#emulator?.remove_listener('serial0-output-byte', this.#listen);
    this.#emulator = emulator;
    emulator.add_listener('serial0-output-byte', this.#listen);
  }

  /** Waits until the output behind `from` matches. @throws Error with the last lines when the time is over */
  waitFor(pattern: RegExp, timeoutMs = 60_000, from = 0): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(check);
      };
      const check = (): void => {
        const match = pattern.exec(this.output.slice(from));
        if (match === null) return;
        finish();
        resolve(match);
      };
      const timer = setTimeout(() => {
        finish();
        reject(new Error(`no ${pattern} within ${timeoutMs} ms; last: ${this.output.slice(-1500)}`));
      }, timeoutMs);
      this.#waiting.add(check);
      check();
    });
  }

  /** Starts a command; the answer comes with {@link RunningCommand.done}. */
  start(command: string, timeoutMs = 60_000): { readonly done: Promise<{ status: number; output: string }> } {
    const id = `${++this.#commands}`;
    const from = this.output.length;
    // in two parts, so that a terminal that repeats the command does not end it
    this.#emulator?.serial0_send(`{ ${command}\n} 2>&1; echo "LAB:""DONE ${id} $?"\n`);
    const done = this.waitFor(new RegExp(`LAB:DONE ${id} (\\d+)\\r?\\n`), timeoutMs, from).then((match) => ({
      status: Number(match[1]),
      output: this.output.slice(from).slice(0, match.index).replaceAll('\r', '').trim(),
    }));
    return { done };
  }

  /** Runs a command and gives what it printed. @throws Error if it fails */
  async run(command: string, timeoutMs = 60_000): Promise<string> {
    const { status, output } = await this.start(command, timeoutMs).done;
    if (status !== 0) throw new Error(`guest: "${command}" ended with ${status}: ${output}`);
    return output;
  }
}

/** Boots the kit up to its shell, without devices. */
export async function bootV86(kit: V86Kit, emulator = new V86(v86Options(kit))): Promise<V86Shell> {
  const shell = new V86Shell(emulator);
  await v86Ready(emulator);
  await emulator.run();
  await shell.waitFor(/LAB:SHELL/, 300_000);
  return shell;
}

/**
 * A guest at its shell, modules loaded, no virtio device: from the cache, or booted once and put there.
 *
 * Devices that are attached behind the restore are found by `echo 1 > /sys/bus/pci/rescan`.
 */
export async function v86Snapshot(kit: V86Kit): Promise<ArrayBuffer> {
  const path = join(cacheDir(), 'i386', `snapshot-${kit.key}.bin`);
  if (!existsSync(path)) {
    const emulator = new V86(v86Options(kit));
    const shell = await bootV86(kit, emulator);
    await shell.run('true');
    await emulator.stop();
    const state = await emulator.save_state();
    await emulator.destroy();
    mkdirSync(dirname(path), { recursive: true });
    const part = `${path}.${process.pid}`;
    writeFileSync(part, new Uint8Array(state));
    renameSync(part, path);
    return state;
  }
  const { buffer, byteOffset, byteLength } = readFileSync(path);
  return (buffer as ArrayBuffer).slice(byteOffset, byteOffset + byteLength);
}

/** An instance that goes on from the snapshot when it is run. */
export async function resumeV86(
  kit: V86Kit,
  snapshot: ArrayBuffer,
): Promise<{ emulator: V86; shell: V86Shell }> {
  const emulator = new V86(v86Options(kit));
  await v86Ready(emulator);
  await emulator.restore_state(snapshot);
  return { emulator, shell: new V86Shell(emulator) };
}

/** Path of the script that prepares the laboratory, for messages. */
export const PREPARE_SCRIPT = fileURLToPath(new URL('../prepare.sh', import.meta.url));
