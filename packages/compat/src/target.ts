import { type QemuVersion, versionRow } from '@virtkit/core/qemu';
import { StateError } from '@virtkit/vmstate';
import { parseCommandLine } from './destination/command-line.ts';
import type { Destination } from './destination/destination.ts';
import { driverOfOption } from './destination/qemu-types.ts';
import { optionWords } from './destination/words.ts';
import { RELEASES, type Release, releaseAlias, releaseNamed } from './distributions/releases.ts';
import type { HostFacts, HostQemu } from './host/host-facts.ts';
import { kernelVersion } from './host/kernel.ts';

/** QEMU that is to load a stream. */
export interface Target {
  /** Version of QEMU, and what it knows. */
  readonly qemu: QemuVersion;
  /** Release of a distribution, or package, that has this QEMU; absent: QEMU's own, or that is not known. */
  readonly release?: Release;
  /** QEMU as it answered on its host, where it was asked. */
  readonly program?: HostQemu;
  /** Version of the Linux of the target's host, and where that is known from: `6.1`, `--host-kernel`. */
  readonly hostKernel?: { readonly version: string; readonly from: string };
  /** Machine type; default: that of the stream. */
  readonly machine?: string;
  /**
   * Features that the devices of one kind offer there, where the caller knows them; the kind is told by the set itself.
   */
  readonly features?: bigint;
  /** Device properties that are not as at the source: `guest_uso4` → `off`, `num-queues` → `1`. */
  readonly properties: ReadonlyMap<string, string>;
  /** Migration capabilities that are on there; default: not known. */
  readonly capabilities?: ReadonlySet<string>;
  /** Devices that are not as at the source, each for those that fit its driver and address. */
  readonly overrides?: readonly Override[];
  /** Destination as a whole, where its command line is known. */
  readonly destination?: Destination;
}

/** Properties for the devices of a driver, or for the one at an address. */
export interface Override {
  /** QEMU's device type, with its bus: `virtio-blk-pci`. */
  readonly driver: string;
  /** Properties by name, values as on QEMU's command line: `num-queues` → `1`. */
  readonly properties: ReadonlyMap<string, string>;
}

/** Facts known of a target beyond its version. */
export interface TargetOptions {
  /** Devices in QEMU's own words: `virtio-blk-pci,num-queues=1`, `virtio-net-pci,addr=3,mq=off`. */
  readonly devices?: readonly string[];
  /** Command line of the destination, whole. */
  readonly commandLine?: string | readonly string[];
  /**
   * Number of the start in the command line's text (a log of libvirt) that counts; the first is 1. Default: the last.
   */
  readonly start?: number;
  /** Release of the Linux on the target's host: `6.1.0-47-amd64`. Default: that of {@link host}, else of the release. */
  readonly hostKernel?: string;
  /** Facts of the target's host, as `virtkit host` found them there. */
  readonly host?: HostFacts;
  /** Reads the file that `-readconfig` of the command line names; undefined where it cannot. */
  readonly readConfig?: (name: string) => string | undefined;
}

/**
 * Reads a target. A version that is newer than all of {@link VERSIONS} is taken for the newest; `checkStream` has a
 * verdict for it.
 *
 * `qemu-11.1[,machine=pc-q35-7.2][,features=0x10179bfffef][,capabilities=x-ignore-shared+…][,PROPERTY=VALUE …]`; in
 * place of `qemu-11.1` also a release of {@link RELEASES}, such as `rhel-9.6`, a package: `qemu-kvm-9.1.0-20.el9`, or a
 * QEMU of a host that is known: `host`, `host:/usr/bin/qemu-system-x86_64`.
 * @throws StateError `target`
 */
export function parseTarget(text: string, options: TargetOptions = {}): Target {
  const [name = '', ...pairs] = text.split(',');
  const { qemu, release, program } = programOf(name, text, options.host);
  const properties = new Map<string, string>();
  let machine: string | undefined;
  let features: bigint | undefined;
  let capabilities: ReadonlySet<string> | undefined;
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    if (at < 1) throw new StateError('target', `"${pair}": NAME=VALUE expected`, { target: text });
    const [key, value] = [pair.slice(0, at), pair.slice(at + 1)];
    if (key === 'machine') machine = value;
    else if (key === 'features') features = parseFeatures(value, text);
    else if (key === 'capabilities') capabilities = new Set(value.split('+').filter((each) => each !== ''));
    else properties.set(key, value);
  }
  const { devices = [], commandLine, ...reading } = options;
  const hostKernel = kernelOf(options, release);
  const machineAlias = (prefix: string): string | undefined =>
    program === undefined
      ? release === undefined
        ? undefined
        : releaseAlias(release, prefix)
      : program.machines.find(({ alias }) => alias !== undefined && alias === ALIASES[prefix])?.name;
  return {
    qemu,
    ...(release !== undefined && { release }),
    ...(program !== undefined && { program }),
    ...(hostKernel !== undefined && { hostKernel }),
    properties,
    ...(capabilities !== undefined && { capabilities }),
    ...(devices.length > 0 && { overrides: devices.map(parseOverride) }),
    ...(commandLine !== undefined && {
      destination: parseCommandLine(commandLine, qemu.name, { ...reading, machineAlias }),
    }),
    ...(machine !== undefined && { machine }),
    ...(features !== undefined && { features }),
  };
}

/** Names without a version of QEMU's machine types, by the beginning of those with one. */
const ALIASES: Readonly<Record<string, string>> = {
  'pc-q35': 'q35',
  'pc-i440fx': 'pc',
  's390-ccw-virtio': 's390-ccw-virtio',
  pseries: 'pseries',
  virt: 'virt',
};

/** Finds the Linux of the target's host, by the best that is known of it. */
function kernelOf({ hostKernel, host }: TargetOptions, release: Release | undefined): Target['hostKernel'] {
  if (hostKernel !== undefined) return { version: kernelVersion(hostKernel), from: '--host-kernel' };
  if (host !== undefined)
    return { version: kernelVersion(host.kernel), from: `${host.kernel}, of the host itself` };
  const kernel = release?.kernel;
  return kernel === undefined || release === undefined
    ? undefined
    : { version: kernel, from: `as ${release.name} came with it` };
}

/** Finds the QEMU of a host that a target names: `host` where there is one, `host:PATH` where there are several. */
function programOfHost(name: string, target: string, host: HostFacts | undefined): HostQemu | undefined {
  const path = name === 'host' ? undefined : name.slice('host:'.length);
  const fail = (why: string): StateError => new StateError('target', `"${name}": ${why}`, { target });
  if (host === undefined) throw fail('what is on that host is not known: --host FILE');
  const found = host.qemus.filter((each) => path === undefined || each.path === path);
  const [program] = found;
  const all = host.qemus.map((each) => each.path).join(', ');
  if (program === undefined) throw fail(all === '' ? 'that host has no QEMU' : `that host has ${all}`);
  if (found.length > 1) throw fail(`that host has several: ${all}; say host:PATH`);
  return program;
}

/** Finds the program that a target's first word names. */
function programOf(
  name: string,
  target: string,
  host: HostFacts | undefined,
): Pick<Target, 'qemu' | 'release' | 'program'> {
  if (/^host(:|$)/.test(name)) {
    const program = programOfHost(name, target, host);
    const [version = ''] = /^\d+\.\d+/.exec(program?.version ?? '') ?? [];
    const qemu = versionRow(version);
    if (program !== undefined && qemu !== undefined) return { qemu, program };
    throw new StateError('target', `"${name}": its QEMU is ${program?.version ?? ''}, older than 5.2`, {
      target,
    });
  }
  const release = releaseNamed(name);
  const [, major, minor] = /^(?:qemu-?)?(\d{1,4})\.(\d{1,4})(?:\.\d+)?$/.exec(name) ?? [];
  const version = release?.qemu ?? (major === undefined ? undefined : `${Number(major)}.${Number(minor)}`);
  const qemu = version === undefined ? undefined : versionRow(version);
  if (qemu !== undefined) return { qemu, ...(release !== undefined && { release }) };
  const [, family = ''] = /^([a-z]+(?:-stream)?)-\d/.exec(name) ?? [];
  const kin = RELEASES.filter((each) => each.name.startsWith(`${family}-`)).map((each) => each.name);
  const known = family !== '' && kin.length > 0 ? `; of ${family} virtkit knows ${kin.join(', ')}` : '';
  throw new StateError('target', `"${name}": a QEMU from 5.2 on expected, such as qemu-11.1${known}`, {
    target,
  });
}

function parseOverride(text: string): Override {
  const { first, values } = optionWords(text, 'driver');
  if (first === '' || values.size === 0)
    throw new StateError(
      'target',
      `"${text}": a device with properties expected, such as ${driverOfOption('drive')}-pci,num-queues=1`,
      {
        target: text,
      },
    );
  return { driver: first, properties: values };
}

function parseFeatures(value: string, target: string): bigint {
  if (!/^0x[0-9a-f]{1,32}$/i.test(value))
    throw new StateError('target', `features=${value}: a hexadecimal set such as 0x10179bfffef expected`, {
      target,
    });
  return BigInt(value);
}
