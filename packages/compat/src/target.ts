import { type QemuVersion, versionRow } from '@virtkit/core/qemu';
import { StateError } from '@virtkit/vmstate';
import { parseCommandLine } from './destination/command-line.ts';
import type { Destination } from './destination/destination.ts';
import { driverOfOption } from './destination/qemu-types.ts';
import { optionWords } from './destination/words.ts';
import { RELEASES, type Release, releaseAlias, releaseNamed } from './distributions/releases.ts';

/** The QEMU that is to load a stream. */
export interface Target {
  readonly qemu: QemuVersion;
  /** The release of a distribution, or the package, that has this QEMU; absent: QEMU's own, or that is not known. */
  readonly release?: Release;
  /** Machine type; default: that of the stream. */
  readonly machine?: string;
  /** The features that the devices of one kind offer there, where the caller knows them; the kind is told by the set itself. */
  readonly features?: bigint;
  /** Device properties that are not as at the source: `guest_uso4` → `off`, `num-queues` → `1`. */
  readonly properties: ReadonlyMap<string, string>;
  /** Migration capabilities that are on there; default: not known. */
  readonly capabilities?: ReadonlySet<string>;
  /** Devices that are not as at the source, each for those that fit its driver and address. */
  readonly overrides?: readonly Override[];
  /** The whole destination, where its command line is known. */
  readonly destination?: Destination;
}

/** Properties for the devices of a driver, or for the one at an address. */
export interface Override {
  readonly driver: string;
  readonly properties: ReadonlyMap<string, string>;
}

/** What is known of a target beyond its version. */
export interface TargetOptions {
  /** Devices in QEMU's own words: `virtio-blk-pci,num-queues=1`, `virtio-net-pci,addr=3,mq=off`. */
  readonly devices?: readonly string[];
  /** The destination's whole command line. */
  readonly commandLine?: string | readonly string[];
  /** Which of the starts in the command line's text (a log of libvirt), the first is 1. Default: the last. */
  readonly start?: number;
  /** Reads the file that `-readconfig` of the command line names; undefined where it cannot. */
  readonly readConfig?: (name: string) => string | undefined;
}

/**
 * A version that is newer than all of {@link VERSIONS} is taken for the newest; `checkStream` has a verdict for it.
 *
 * `qemu-11.1[,machine=pc-q35-7.2][,features=0x10179bfffef][,capabilities=x-ignore-shared+…][,PROPERTY=VALUE …]`; in place of
 * `qemu-11.1` also a release of {@link RELEASES}, such as `rhel-9.6`, or a package: `qemu-kvm-9.1.0-20.el9`.
 * @throws StateError `target`
 */
export function parseTarget(text: string, options: TargetOptions = {}): Target {
  const [name = '', ...pairs] = text.split(',');
  const { qemu, release } = programOf(name, text);
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
  const machineAlias = (prefix: string): string | undefined =>
    release === undefined ? undefined : releaseAlias(release, prefix);
  return {
    qemu,
    ...(release !== undefined && { release }),
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

/** The program that a target's first word names. */
function programOf(name: string, target: string): Pick<Target, 'qemu' | 'release'> {
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
