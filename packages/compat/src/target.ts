import { type QemuVersion, versionRow } from '@virtkit/core/qemu';
import { StateError } from '@virtkit/vmstate';
import { parseCommandLine } from './destination/command-line.ts';
import type { Destination } from './destination/destination.ts';
import { driverOfOption } from './destination/qemu-types.ts';
import { optionWords } from './destination/words.ts';

/** The QEMU that is to load a stream. */
export interface Target {
  readonly qemu: QemuVersion;
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
 * `qemu-11.1[,machine=pc-q35-7.2][,features=0x10179bfffef][,capabilities=x-ignore-shared+…][,PROPERTY=VALUE …]`
 * @throws StateError `target`
 */
export function parseTarget(text: string, options: TargetOptions = {}): Target {
  const [name = '', ...pairs] = text.split(',');
  const [, major, minor] = /^(?:qemu-?)?(\d{1,4})\.(\d{1,4})(?:\.\d+)?$/.exec(name) ?? [];
  const qemu = major === undefined ? undefined : versionRow(`${Number(major)}.${Number(minor)}`);
  if (qemu === undefined) {
    throw new StateError('target', `"${name}": a QEMU from 5.2 on expected, such as qemu-11.1`, {
      target: text,
    });
  }
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
  return {
    qemu,
    properties,
    ...(capabilities !== undefined && { capabilities }),
    ...(devices.length > 0 && { overrides: devices.map(parseOverride) }),
    ...(commandLine !== undefined && { destination: parseCommandLine(commandLine, qemu.name, reading) }),
    ...(machine !== undefined && { machine }),
    ...(features !== undefined && { features }),
  };
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
