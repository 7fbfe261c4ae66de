// Processors: how many there are, and by which numbers their sections are known.
import { compareVersion, numberOf, type QemuDevice } from '@virtkit/core/qemu';

/** Levels of a topology, outermost first. QEMU: `-smp` */
const LEVELS = ['drawers', 'books', 'sockets', 'dies', 'clusters', 'modules', 'cores', 'threads'] as const;
type Level = (typeof LEVELS)[number];

/** Reads a count that `-smp` says; what it does not say, and 0, is undefined. */
function said(machine: ReadonlyMap<string, string>, key: string): number | undefined {
  const value = numberOf(machine.get(`smp.${key}`));
  return value === 0 ? undefined : value;
}

/** Counts the CPUs that run from the beginning. QEMU: `machine_parse_smp_config`; before 6.2 `maxcpus` said nothing of them. */
export function cpusOf(
  machine: ReadonlyMap<string, string>,
  qemu: string,
): { cpus: number; unknown: string[] } {
  const unknown = [...LEVELS, 'cpus', 'maxcpus'].flatMap((key) => {
    const text = machine.get(`smp.${key}`);
    return text !== undefined && numberOf(text) === undefined ? [`-smp ${key}=${text} is no number`] : [];
  });
  const most = compareVersion(qemu, '6.2') >= 0 ? said(machine, 'maxcpus') : undefined;
  return { cpus: said(machine, 'cpus') ?? most ?? product(machine), unknown };
}

function product(machine: ReadonlyMap<string, string>): number {
  return LEVELS.reduce((all, key) => all * (said(machine, key) ?? 1), 1);
}

/** Counts of which an APIC id is made, outermost first. A socket has as many bits as it needs. */
type Counts = Readonly<Record<'dies' | 'modules' | 'cores' | 'threads', number>>;

/** Finds the counts below a socket, of a PC. Machines up to 6.1 fill sockets first, newer ones cores. QEMU: `machine_parse_smp_config` */
function countsOf(machine: ReadonlyMap<string, string>, type: string, cpus: number): Counts {
  const count = (key: Level): number | undefined => said(machine, key);
  const [dies, modules] = [count('dies') ?? 1, (count('modules') ?? 1) * (count('clusters') ?? 1)];
  let [sockets, cores, threads] = [count('sockets'), count('cores'), count('threads')];
  const most = said(machine, 'maxcpus') ?? cpus;
  const left = (): number =>
    Math.max(1, Math.floor(most / (dies * modules * (sockets ?? 1) * (cores ?? 1) * (threads ?? 1))));
  const version = /-(\d+\.\d+)$/.exec(type)?.[1];
  if (version !== undefined && compareVersion(version, '6.2') < 0) {
    if (sockets === undefined) cores ??= 1;
    else if (cores === undefined) {
      threads ??= 1;
      cores = left();
    }
  } else if (cores === undefined) {
    sockets ??= 1;
    threads ??= 1;
    cores = left();
  }
  if (sockets !== undefined) threads ??= left();
  return { dies, modules, cores: cores ?? 1, threads: threads ?? 1 };
}

/** Numbers of the CPUs of a machine: each has sections with that number. */
export interface CpuNumbers {
  readonly indices: ReadonlySet<number>;
  /** Ids of the interrupt controllers, on a PC. */
  readonly apicIds: ReadonlySet<number>;
}

/** Largest number of CPUs of a machine. */
const CPUS_MAX = 8192;

/** Lists the numbers of the CPUs that run from the beginning, and of those that `-device` adds. */
export function cpuNumbers(
  machine: ReadonlyMap<string, string>,
  type: string,
  cpus: number,
  devices: readonly QemuDevice[],
): CpuNumbers {
  const counts = countsOf(machine, type, cpus);
  const { dies, modules, cores, threads } = counts;
  const added = devices
    .filter(({ driver }) => driver.endsWith('-cpu'))
    .map(({ properties }) => {
      const at = (...keys: string[]): number =>
        numberOf(keys.map((key) => properties.get(key)).find((text) => text !== undefined)) ?? 0;
      const module = (at('socket-id') * dies + at('die-id')) * modules + at('module-id');
      return (module * cores + at('core-id', 'core')) * threads + at('thread-id', 'thread');
    });
  const indices = new Set([
    ...Array.from({ length: Math.min(cpus, CPUS_MAX) }, (_, index) => index),
    ...added,
  ]);
  return { indices, apicIds: new Set([...indices].map((index) => apicId(index, counts))) };
}

/** Makes an APIC id, in which each level has as many bits as its count needs. QEMU: `x86_apicid_from_cpu_idx` */
function apicId(index: number, { dies, modules, cores, threads }: Counts): number {
  let [rest, id, shift] = [index, 0, 0];
  for (const count of [threads, cores, modules, dies]) {
    id += (rest % count) * 2 ** shift;
    rest = Math.floor(rest / count);
    shift += Math.ceil(Math.log2(count));
  }
  return id + rest * 2 ** shift;
}
