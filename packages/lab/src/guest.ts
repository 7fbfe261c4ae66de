/**
 * The guests of the laboratory: a Debian kernel and busybox from the cache that `prepare.sh` fills, and an initramfs whose
 * init loads modules, drives the disk and the network and reports on the console by lines that start with `LAB:`.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';

export type GuestArch = 'x86_64' | 's390x';
/** Guests of QEMU, and of v86. */
export type KitArch = GuestArch | 'i386';

/** Parts that are needed to boot a guest. */
export interface GuestKit {
  readonly arch: KitArch;
  readonly kernelPath: string;
  /** `6.1.0-56-cloud-amd64` */
  readonly kernelRelease: string;
  readonly modulesDir: string;
  readonly busyboxPath: string;
}

export type GuestKitLookup =
  | { readonly ok: true; readonly kit: GuestKit }
  | { readonly ok: false; readonly reason: string };

export function cacheDir(): string {
  const given = process.env['VIRTKIT_LAB_CACHE'];
  return given !== undefined && given !== '' ? given : join(homedir(), '.cache', 'virtkit-lab');
}

/** Looks the guest's parts up in the cache; says what is missing otherwise. */
export function findGuestKit(arch: KitArch): GuestKitLookup {
  const root = join(cacheDir(), arch);
  const missing = (what: string): GuestKitLookup => ({
    ok: false,
    reason: `no ${what} in the ${arch} guest cache; run packages/lab/prepare.sh`,
  });
  if (!existsSync(join(root, '.complete'))) return missing('complete package set');
  const modulesDir = ['lib/modules', 'usr/lib/modules']
    .flatMap((dir) => list(join(root, dir)).map((release) => join(root, dir, release)))
    .find((dir) => existsSync(join(dir, 'kernel')));
  if (modulesDir === undefined) return missing('kernel modules');
  const release = basename(modulesDir);
  const kernelPath = [join(root, 'boot', `vmlinuz-${release}`), join(modulesDir, 'vmlinuz')].find((path) =>
    existsSync(path),
  );
  if (kernelPath === undefined) return missing(`kernel image of ${release}`);
  const busyboxPath = ['bin/busybox', 'usr/bin/busybox']
    .map((path) => join(root, path))
    .find((path) => existsSync(path));
  if (busyboxPath === undefined) return missing('busybox');
  return { ok: true, kit: { arch, kernelPath, kernelRelease: release, modulesDir, busyboxPath } };
}

function list(dir: string): string[] {
  return existsSync(dir) ? readdirSync(dir).sort() : [];
}

function walk(dir: string): string[] {
  const files: string[] = [];
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) files.push(...walk(path));
    else if (entry.isFile()) files.push(path);
  }
  return files;
}

const plain = (name: string): string => name.replaceAll('-', '_');

/** The `depends=` entry of a module's `.modinfo` section. */
function dependencies(module: Uint8Array): string[] {
  const match = /(?:^|\0)depends=([^\0]*)\0/.exec(Buffer.from(module).toString('latin1'));
  return (match?.[1] ?? '').split(',').filter((name) => name !== '');
}

/**
 * The modules with all they depend on, in the order to load them. Modules that are built into the kernel are left out;
 * one that does not exist at all is an error.
 */
export function moduleClosure(
  kit: GuestKit,
  names: readonly string[],
): { name: string; content: Uint8Array }[] {
  const files = new Map<string, string>();
  for (const path of walk(kit.modulesDir)) {
    if (path.endsWith('.ko')) files.set(plain(basename(path, '.ko')), path);
  }
  const builtinList = join(kit.modulesDir, 'modules.builtin');
  const builtinKnown = existsSync(builtinList); // not in every kernel package
  const builtin = new Set(
    builtinKnown
      ? readFileSync(builtinList, 'utf8')
          .split('\n')
          .map((line) => plain(basename(line, '.ko')))
      : [],
  );
  const result = new Map<string, Uint8Array>();
  const visiting = new Set<string>();
  const visit = (name: string): void => {
    const key = plain(name);
    if (builtin.has(key) || visiting.has(key)) return;
    visiting.add(key);
    const path = files.get(key);
    if (path === undefined && !builtinKnown) return;
    if (path === undefined) throw new Error(`kernel ${kit.kernelRelease} has no module ${name}`);
    const content = readFileSync(path);
    for (const dependency of dependencies(content)) visit(dependency);
    result.set(key, content);
  };
  for (const name of names) visit(name);
  return [...result].map(([name, content]) => ({ name, content }));
}

interface ArchiveEntry {
  readonly name: string;
  readonly mode: number;
  readonly content?: Uint8Array | undefined;
  readonly device?: readonly [major: number, minor: number] | undefined;
}

/** An archive in cpio's "newc" format. */
export function cpioArchive(entries: readonly ArchiveEntry[]): Uint8Array {
  const parts: Buffer[] = [];
  const pad = (length: number): Buffer => Buffer.alloc((4 - (length % 4)) % 4);
  const add = (
    inode: number,
    { name, mode, content = new Uint8Array(0), device = [0, 0] }: ArchiveEntry,
  ): void => {
    const numbers = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, device[0], device[1], name.length + 1, 0];
    const header = `070701${numbers.map((value) => value.toString(16).padStart(8, '0')).join('')}${name}\0`;
    parts.push(Buffer.from(header, 'latin1'), pad(header.length), Buffer.from(content), pad(content.length));
  };
  entries.forEach((entry, index) => {
    add(index + 1, entry);
  });
  add(0, { name: 'TRAILER!!!', mode: 0 });
  return Buffer.concat(parts);
}

export interface GuestProgram {
  /** Modules to load (with their dependencies). Default: blk and net. */
  readonly modules?: readonly string[] | undefined;
  /** Parameters given to `insmod`, by module: `{ virtio_pci: 'force_legacy=1' }`. */
  readonly moduleParameters?: Readonly<Record<string, string>> | undefined;
  /** Read and write /dev/vda for ever. Default true. */
  readonly disk?: boolean | undefined;
  /** Bring eth0 up (10.0.2.15/24) and send pings and UDP for ever. Default true. */
  readonly network?: boolean | undefined;
  /** More shell lines, run once before the loads start. */
  readonly commands?: readonly string[] | undefined;
  /** More files for the initramfs, by path without the leading slash; all executable. */
  readonly files?: Readonly<Record<string, Uint8Array>> | undefined;
  /** Shell lines run after the guest has reported itself ready. */
  readonly afterReady?: readonly string[] | undefined;
}

export const DEFAULT_MODULES: readonly string[] = ['virtio_blk', 'virtio_net'];

const DISK_LOOP = `
(
  n=0
  while :; do
    dd if=/dev/urandom of=/dev/vda bs=16k count=32 seek=$((n % 8 * 32)) oflag=direct 2>/dev/null
    dd if=/dev/vda of=/dev/null bs=64k count=64 iflag=direct 2>/dev/null
    n=$((n + 1))
    echo LAB:DISK $n
  done
) &
(
  while :; do
    dd if=/dev/vda of=/dev/null bs=4k count=256 skip=2048 iflag=direct 2>/dev/null
    dd if=/dev/zero of=/dev/vda bs=4k count=256 seek=2048 oflag=direct 2>/dev/null
  done
) &
`;

const NETWORK_LOOP = `
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ping -c 1 -W 10 10.0.2.2 >/dev/null && echo LAB:NET 1
(while :; do ping -i 0.01 -c 100 -s 1400 10.0.2.2 >/dev/null; done) &
(while :; do ping -A -c 100 -s 56 10.0.2.2 >/dev/null; done) &
syslogd -n -R 10.0.2.2:514 &
(
  text=$(seq -s . 1 200)
  while :; do logger "$text"; done
) &
`;

/** Reports each virtio device as `LAB:VIRTIO name|path|device|status|features|driver`. */
const REPORT = `
for d in /sys/bus/virtio/devices/*; do
  [ -e "$d" ] || continue
  path=$(readlink -f "$d")
  driver=$(readlink "$d/driver")
  echo "LAB:VIRTIO \${d##*/}|\${path#/sys/devices/}|$(cat "$d/device")|$(cat "$d/status")|$(cat "$d/features")|\${driver##*/}"
done
`;

/** The guest's /init. */
export function initScript(program: GuestProgram, modules: readonly string[]): string {
  const insmod = modules.map(
    (name) =>
      `insmod /modules/${name}.ko ${program.moduleParameters?.[name] ?? ''} || echo LAB:NOMODULE ${name}`,
  );
  const disk = program.disk ?? true;
  const network = program.network ?? true;
  return [
    '#!/bin/busybox sh',
    '/bin/busybox --install -s /bin',
    'export PATH=/bin',
    'mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev',
    'dmesg -n 1',
    'echo LAB:BOOT $(uname -r)',
    ...insmod,
    disk ? 'n=0; while [ ! -b /dev/vda ] && [ $n -lt 50 ]; do usleep 100000; n=$((n + 1)); done' : '',
    ...(program.commands ?? []),
    network ? NETWORK_LOOP : '',
    disk ? DISK_LOOP : '',
    'sleep 1',
    REPORT,
    'echo LAB:READY',
    ...(program.afterReady ?? []),
    'while :; do sleep 1000; done',
    '',
  ].join('\n');
}

/** Builds the gzipped initramfs. */
export function buildInitramfs(kit: GuestKit, program: GuestProgram = {}): Uint8Array {
  const modules = moduleClosure(kit, program.modules ?? DEFAULT_MODULES);
  const script = initScript(
    program,
    modules.map(({ name }) => name),
  );
  const directory = 0o40755;
  const directories = new Set(['bin', 'dev', 'proc', 'sys', 'tmp', 'etc', 'modules']);
  for (const path of Object.keys(program.files ?? {})) {
    const parts = path.split('/').slice(0, -1);
    parts.forEach((_, index) => {
      directories.add(parts.slice(0, index + 1).join('/'));
    });
  }
  const archive = cpioArchive([
    ...[...directories].map((name) => ({ name, mode: directory })),
    { name: 'dev/console', mode: 0o20600, device: [5, 1] },
    { name: 'dev/null', mode: 0o20666, device: [1, 3] },
    { name: 'bin/busybox', mode: 0o100755, content: readFileSync(kit.busyboxPath) },
    { name: 'init', mode: 0o100755, content: Buffer.from(script) },
    ...Object.entries(program.files ?? {}).map(([name, content]) => ({ name, mode: 0o100755, content })),
    ...modules.map(({ name, content }) => ({ name: `modules/${name}.ko`, mode: 0o100644, content })),
  ]);
  return gzipSync(archive, { level: 1 });
}

/** A virtio device as the guest's kernel sees it. */
export interface GuestSysfsDevice {
  readonly name: string;
  readonly path: string;
  readonly device: string;
  readonly status: string;
  /** Negotiated features, a character a bit, bit 0 first. */
  readonly features_bit0_first: string;
  readonly driver: string;
}

/** The `LAB:VIRTIO` lines of a console. */
export function parseSysfsReport(console: string): GuestSysfsDevice[] {
  const devices: GuestSysfsDevice[] = [];
  for (const match of console.matchAll(
    /LAB:VIRTIO ([^|\r\n]*)\|([^|\r\n]*)\|([^|\r\n]*)\|([^|\r\n]*)\|([^|\r\n]*)\|([^|\r\n]*)/g,
  )) {
    const [, name = '', path = '', device = '', status = '', features = '', driver = ''] = match;
    devices.push({ name, path, device, status, features_bit0_first: features, driver });
  }
  return devices;
}

/** Kernel command line for the architecture's console. */
export function kernelCommandLine(arch: GuestArch): string {
  return `console=${arch === 's390x' ? 'ttysclp0' : 'ttyS0'} quiet random.trust_cpu=on panic=-1`;
}
