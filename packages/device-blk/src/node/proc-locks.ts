import fs from 'node:fs';

/** A lock on bytes of a file (`fcntl`), as Linux lists it. */
export interface RangeLock {
  readonly kind: 'read' | 'write';
  /** First and last byte; to the end of the file: Infinity. */
  readonly first: number;
  readonly last: number;
  /** Number of the process that took it. Locks of an open file (OFD), which QEMU takes, have none. */
  readonly pid: number | undefined;
}

/** A process that has a lock. */
export interface LockHolder {
  /** The process's number, as this system counts. */
  readonly pid: number;
  /** Name of its program; empty if that is not to be seen. */
  readonly program: string;
}

/** `8:1:131074`, in the numbers of `/proc/locks`: major and minor number of the file system, and the inode. */
type FileId = string;

/**
 * Locks that any process has on bytes of an open file. Undefined where the system does not tell (all but Linux).
 *
 * What it cannot tell: locks of other machines on a network file system, and `fcntl` locks of processes in other PID
 * namespaces; OFD locks are always listed.
 */
export function locksOf(fd: number): readonly RangeLock[] | undefined {
  const text = readText('/proc/locks');
  return text === undefined ? undefined : parseLocks(text, fileId(fd));
}

/** The processes, as far as they may be looked into, that have such a lock on an open file. */
export function holdersOf(fd: number, isMeant: (lock: RangeLock) => boolean): readonly LockHolder[] {
  const file = fileId(fd);
  const pids = new Set<number>();
  for (const lock of parseLocks(readText('/proc/locks') ?? '', file))
    if (lock.pid !== undefined && isMeant(lock)) pids.add(lock.pid);
  for (const name of entries('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const has = entries(`/proc/${name}/fdinfo`).some((each) =>
      parseLocks(readText(`/proc/${name}/fdinfo/${each}`) ?? '', file).some(isMeant),
    );
    if (has) pids.add(Number(name));
  }
  return [...pids].map((pid) => ({ pid, program: readText(`/proc/${pid}/comm`)?.trim() ?? '' }));
}

/**
 * Lines of `/proc/locks`, or those that begin with `lock:` of `/proc/PID/fdinfo/FD`:
 *
 * ```
 * 1: OFDLCK ADVISORY  READ -1 fe:00:2147076 100 101
 * 2: POSIX  ADVISORY  WRITE 812 08:01:131074 0 EOF
 * ```
 *
 * What waits for a lock (`->`), and locks of whole files (`flock`, leases), stand against nobody here.
 */
export function parseLocks(text: string, file: FileId): readonly RangeLock[] {
  const locks: RangeLock[] = [];
  const line =
    /^(?:lock:\s+)?\d+: (?:OFDLCK|POSIX)\s+\S+\s+(READ|WRITE)\s+(-?\d+) ([\da-f]+):([\da-f]+):(\d+) (\d+) (\d+|EOF)\s*$/gm;
  for (const [, kind, pid, major = '', minor = '', inode, first, last] of text.matchAll(line)) {
    if (`${Number.parseInt(major, 16)}:${Number.parseInt(minor, 16)}:${inode}` !== file) continue;
    locks.push({
      kind: kind === 'WRITE' ? 'write' : 'read',
      first: Number(first),
      last: last === 'EOF' ? Number.POSITIVE_INFINITY : Number(last),
      pid: Number(pid) > 0 ? Number(pid) : undefined,
    });
  }
  return locks;
}

/** The mount's numbers, since `stat` has others on file systems with subvolumes (btrfs). */
function fileId(fd: number): FileId {
  const { dev, ino } = fs.fstatSync(fd, { bigint: true });
  const mount = /^mnt_id:\s*(\d+)$/m.exec(readText(`/proc/self/fdinfo/${fd}`) ?? '')?.[1];
  const mounts = mount === undefined ? '' : (readText('/proc/self/mountinfo') ?? '');
  const numbers = new RegExp(`^${mount} \\d+ (\\d+:\\d+) `, 'm').exec(mounts)?.[1];
  if (numbers !== undefined) return `${numbers}:${ino}`;
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  return `${major}:${minor}:${ino}`;
}

/** Reads a file; undefined for what is not there, or not ours to see. */
function readText(path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function entries(path: string): readonly string[] {
  try {
    return fs.readdirSync(path);
  } catch {
    return [];
  }
}
