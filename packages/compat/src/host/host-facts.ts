import { StateError } from '@virtkit/vmstate';
import { field, isRecord, list, text } from './json.ts';

/** Number of the file's form. It changes when a program that reads the one before would read a file wrongly. */
export const HOST_FORMAT = 1;

/** Facts that a host tells of itself, as `virtkit host` writes them there. */
export interface HostFacts {
  /** Release of the host's kernel: `6.1.0-47-amd64`. */
  readonly kernel: string;
  /** Programs of QEMU that the host has, as each answered. */
  readonly qemus: readonly HostQemu[];
}

/** QEMU of a host, as it answers by QMP on a machine without anything (`-M none`). */
export interface HostQemu {
  /** Path of the program on the host: `/usr/bin/qemu-system-x86_64`. */
  readonly path: string;
  /** Version of the QEMU: `7.2.22`. */
  readonly version: string;
  /** Text that its packager added to the version: `Debian 1:7.2+dfsg-7+deb12u18`; empty where there is none. */
  readonly package: string;
  /** Architecture of its guests: `x86_64`. */
  readonly target: string;
  /** Machine types of the QEMU, 1024 at most. */
  readonly machines: readonly HostMachine[];
  /**
   * Properties of the virtio device types that it was asked for: name and default value, null where it tells none.
   * Null: it has no such type.
   */
  readonly devices: Readonly<Record<string, Readonly<Record<string, string | null>> | null>>;
}

/** Machine type of a QEMU. */
export interface HostMachine {
  /** Name of the machine type: `pc-q35-7.2`. */
  readonly name: string;
  /** Alias of the machine type: `q35`. */
  readonly alias?: string;
  /** True if this QEMU calls the machine type deprecated. Absent: it does not, or does not tell. */
  readonly deprecated?: boolean;
  /**
   * Properties that the machine type sets of virtio and PCI devices, the last of several counts; a QEMU tells them from
   * 9.1 on.
   */
  readonly compat?: readonly HostCompat[];
}

/** Property that a machine type sets: of a device type, or of all below one. */
export interface HostCompat {
  /** Device type that the property is set for, or one that others derive from: `virtio-net-pci`, `pci-device`. */
  readonly driver: string;
  /** Name of the property: `x-pcie-flr-init`. */
  readonly property: string;
  /** The value that the machine type sets, as QEMU writes it: `off`. */
  readonly value: string;
}

/** Largest number of QEMUs that are read of a file; below it, those of machine types, device types and properties. */
const QEMUS_MAX = 64;
const MACHINES_MAX = 1024;
const DEVICES_MAX = 4096;
const PROPERTIES_MAX = 1024;

/**
 * Reads the facts in the text of a file that `virtkit host` wrote.
 * @throws StateError `target` for text that is no such file, with the place
 */
export function parseHostFacts(json: string): HostFacts {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new StateError('target', `no JSON: ${error instanceof Error ? error.message : String(error)}`, {});
  }
  if (!isRecord(value) || value['kind'] !== 'host')
    throw new StateError('target', 'no file that virtkit host wrote: "kind": "host" is missing', {});
  const { format } = value;
  if (format !== HOST_FORMAT)
    throw new StateError('target', `format ${String(format)}; this virtkit reads ${HOST_FORMAT}`, {});
  return {
    kernel: text(value, 'kernel', ''),
    qemus: list(value, 'qemus', QEMUS_MAX, '').map((each, at) => qemuOf(each, `qemus[${at}]`)),
  };
}

function qemuOf(value: unknown, at: string): HostQemu {
  return {
    path: text(value, 'path', at),
    version: text(value, 'version', at),
    package: text(value, 'package', at),
    target: text(value, 'target', at),
    machines: list(value, 'machines', MACHINES_MAX, at).map((each, index) =>
      machineOf(each, `${at}.machines[${index}]`),
    ),
    devices: devicesOf(field(value, 'devices', at), `${at}.devices`),
  };
}

function machineOf(value: unknown, at: string): HostMachine {
  const has = (key: string): boolean => isRecord(value) && value[key] !== undefined;
  return {
    name: text(value, 'name', at),
    ...(has('alias') && { alias: text(value, 'alias', at) }),
    ...(has('deprecated') && { deprecated: field(value, 'deprecated', at) === true }),
    ...(has('compat') && {
      compat: list(value, 'compat', PROPERTIES_MAX, at).map((each, index) => {
        const place = `${at}.compat[${index}]`;
        return {
          driver: text(each, 'driver', place),
          property: text(each, 'property', place),
          value: text(each, 'value', place),
        };
      }),
    }),
  };
}

function devicesOf(value: unknown, at: string): HostQemu['devices'] {
  if (!isRecord(value)) throw new StateError('target', `${at}: an object expected`, {});
  return Object.fromEntries(
    entries(value, DEVICES_MAX, at).map(([driver, properties]) => {
      if (properties === null) return [driver, null];
      if (!isRecord(properties)) throw new StateError('target', `${at}.${driver}: an object expected`, {});
      return [
        driver,
        Object.fromEntries(
          entries(properties, PROPERTIES_MAX, `${at}.${driver}`).map(([name, byDefault]) => {
            if (byDefault !== null && typeof byDefault !== 'string')
              throw new StateError('target', `${at}.${driver}.${name}: a text or null expected`, {});
            return [name, byDefault];
          }),
        ),
      ];
    }),
  );
}

function entries(value: Readonly<Record<string, unknown>>, most: number, at: string): [string, unknown][] {
  const all = Object.entries(value);
  if (all.length > most)
    throw new StateError('limit', `${at}: ${all.length} entries, at most ${most} are read`, {
      count: all.length,
      limit: most,
    });
  return all;
}
