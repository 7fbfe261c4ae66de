// What of a host decides over loads there, as the host itself answers.
import { accessSync, constants, existsSync } from 'node:fs';
import { arch, release } from 'node:os';
import {
  deviceTypes,
  HOST_FORMAT,
  type HostCompat,
  type HostFacts,
  type HostMachine,
  type HostQemu,
} from '@virtkit/compat';
import { askQmp, type Question } from './ask-qemu.ts';
import { UsageError } from './usage.ts';

/** Options of a QEMU that has nothing, and touches nothing. */
const NOTHING = ['-no-user-config', '-nodefaults', '-M', 'none', '-display', 'none', '-S'];
/** Forms of a device type on the buses, as QEMU names them. */
const FORMS = ['-pci', '-pci-transitional', '-pci-non-transitional', '-ccw', '-device'];
/** Pattern of types whose defaults a machine type may change, and which decide how virtio devices are made. */
const COMPAT = /^(virtio|vhost)-|^pci-device$/;
/** Places where distributions put the QEMU of an architecture. */
const PLACES = ['/usr/bin/qemu-system-ARCH', '/usr/libexec/qemu-kvm', '/usr/bin/qemu-kvm', '/usr/bin/kvm'];
/** Version from which on a QEMU tells what its machine types set. */
const TELLS_COMPAT = [9, 1] as const;

/** Writes kernel and QEMUs as JSON, one line for each machine type, so that two files can be compared. */
export async function hostFacts(qemus: readonly string[] | undefined, by: string): Promise<string> {
  const paths = qemus ?? findQemus();
  if (paths.length === 0) throw new UsageError('no QEMU of this architecture was found: say --qemu BINARY');
  const facts: HostFacts = { kernel: release(), qemus: [] };
  const asked: HostQemu[] = [];
  for (const path of paths) asked.push(await askHostQemu(path));
  return `${JSON.stringify(
    {
      format: HOST_FORMAT,
      kind: 'host',
      by: `virtkit ${by}`,
      made: new Date().toISOString(),
      ...facts,
      tap: {
        present: existsSync('/dev/net/tun'),
        features:
          'not asked: a program in Node cannot ask a tap (TUNGETFEATURES); check goes by the version of the kernel',
      },
      vhost: Object.fromEntries(
        ['vhost-net', 'vhost-vsock', 'vhost-scsi', 'vhost-vdpa'].map((name) => [
          name,
          existsSync(`/dev/${name}`),
        ]),
      ),
      qemus: asked,
    },
    null,
    1,
  )}\n`;
}

/** Finds the QEMUs of this host's own architecture. */
function findQemus(): string[] {
  const guests: Readonly<Record<string, string>> = {
    x64: 'x86_64',
    arm64: 'aarch64',
    s390x: 's390x',
    ppc64: 'ppc64',
    riscv64: 'riscv64',
  };
  const name = guests[arch()] ?? arch();
  return PLACES.map((place) => place.replace('ARCH', name)).filter((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Asks a QEMU of this host. @throws UsageError for a program that does not start, or whose answers are not those of a
 * QEMU
 */
async function askHostQemu(path: string): Promise<HostQemu> {
  const [version, target] = await askQmp(path, NOTHING, [
    { execute: 'query-version' },
    { execute: 'query-target' },
  ]);
  const { qemu, package: packager = '' } = version as VersionAnswer;
  const tellsCompat =
    qemu.major > TELLS_COMPAT[0] || (qemu.major === TELLS_COMPAT[0] && qemu.minor >= TELLS_COMPAT[1]);
  // not what `qom-list-types` lists: a QEMU 7.2 without its module for OpenGL dies of the properties of a type that it lists
  const drivers = deviceTypes.flatMap(({ layer }) => FORMS.map((form) => `${layer.name}${form}`)).sort();
  const machines: Question = {
    execute: 'query-machines',
    ...(tellsCompat && { arguments: { 'compat-props': true } }),
  };
  const [found, ...properties] = await askQmp(path, NOTHING, [
    machines,
    ...drivers.map(
      (typename): Question => ({
        execute: 'device-list-properties',
        arguments: { typename },
        mayFail: true,
      }),
    ),
  ]);
  return {
    path,
    version: `${qemu.major}.${qemu.minor}.${qemu.micro}`,
    package: packager.replace(/^ ?\(|\)$/g, '').trim(),
    target: (target as { readonly arch: string }).arch,
    machines: (found as readonly MachineAnswer[]).map(machineOf).sort((a, b) => (a.name < b.name ? -1 : 1)),
    devices: Object.fromEntries(
      drivers.map((driver, at) => {
        const answer = properties[at] as readonly PropertyAnswer[] | undefined;
        return [driver, answer === undefined ? null : propertiesOf(answer)];
      }),
    ),
  };
}

interface VersionAnswer {
  readonly qemu: { readonly major: number; readonly minor: number; readonly micro: number };
  readonly package?: string;
}

interface MachineAnswer {
  readonly name: string;
  readonly alias?: string;
  readonly deprecated?: boolean;
  readonly 'compat-props'?: readonly {
    readonly 'qom-type': string;
    readonly property: string;
    readonly value: string;
  }[];
}

interface PropertyAnswer {
  readonly name: string;
  readonly 'default-value'?: unknown;
}

function machineOf(answer: MachineAnswer): HostMachine {
  const { name, alias, deprecated, 'compat-props': compat } = answer;
  return {
    name,
    ...(alias !== undefined && { alias }),
    ...(deprecated === true && { deprecated }),
    ...(compat !== undefined && {
      compat: compat
        .filter((each) => COMPAT.test(each['qom-type']))
        .map(
          (each): HostCompat => ({ driver: each['qom-type'], property: each.property, value: each.value }),
        ),
    }),
  };
}

function propertiesOf(answers: readonly PropertyAnswer[]): Record<string, string | null> {
  return Object.fromEntries(
    answers
      .map(({ name, 'default-value': value }) => [name, value === undefined ? null : String(value)] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}
