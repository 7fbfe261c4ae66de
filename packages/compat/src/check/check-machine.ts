import {
  condition,
  machineVersion,
  notKnown,
  type QemuVersion,
  refusal,
  remark,
  switchOf,
  type Verdict,
  whyUnknown,
} from '@virtkit/core/qemu';
import { COMMAND, type MigrationStream } from '@virtkit/migration';
import { hex } from '@virtkit/vmstate';
import type { BoardWords } from '../destination/destination.ts';
import { type MachineThere, targetHas } from '../distributions/machine-there.ts';
import { distributionMachine, withoutPve } from '../distributions/machine-types.ts';
import { hasMachine, isQemuMachine, machineRange } from '../machines.ts';
import { sizeMismatch } from '../qemu-says.ts';
import type { Target } from '../target.ts';

/** Path of verdicts about the machine type. */
const MACHINE_PATH = 'configuration / machine';

/** Verdict over a version of QEMU that virtkit does not know: nothing certain can be said of it. */
export function checkVersion({ qemu }: Target): Verdict[] {
  const reason = whyUnknown(qemu.name);
  if (reason === undefined) return [];
  return [
    notKnown('version', 'target / version', reason, {
      advice: 'use a virtkit that knows this version, or start that QEMU with -incoming and the stream',
    }),
  ];
}

/** Verdicts over the machine type: is the stream of the type that the target runs, and does this QEMU have it? */
export function checkMachine({ configuration, version }: MigrationStream, target: Target): Verdict[] {
  const { qemu } = target;
  const machine = target.machine === undefined ? undefined : withoutPve(target.machine);
  const name = configuration?.name;
  if (name === undefined) {
    // nothing was read at all
    if (version === 0) return [];
    return [
      condition('machine', 'configuration', 'the stream does not tell its machine type: 2.3 or older', {
        advice: 'start the target with the same machine type',
      }),
      ...unknownMachine(machine, target),
    ];
  }
  const found = [...new Set([name, machine])].flatMap((each) => unknownMachine(each, target));
  if (machine !== undefined && machine !== name) {
    // QEMU compares as many characters as it received
    const prefix = machine.startsWith(name);
    const other = refusal(
      'machine',
      MACHINE_PATH,
      `the stream is of machine type ${name}, the target runs ${machine}`,
      {
        qemuSays: `Machine type received is '${name}' and local is '${machine}'`,
        advice: `start the target with -machine ${name}`,
      },
    );
    found.push(prefix ? { ...other, severity: 'note' } : other);
  }
  const versioned = machineVersion(name);
  if (target.program !== undefined || versioned === undefined || hasMachine(qemu, versioned))
    return targetHas(name, target) === false ? [...found, notInRelease(name, target)] : found;
  const [oldest, newest] = machineRange(qemu, versioned.family);
  const range = oldest === '0.0' ? `up to ${newest}` : `from ${oldest} to ${newest}`;
  found.push(
    refusal(
      'no-machine',
      MACHINE_PATH,
      `QEMU ${qemu.name} has no machine type ${name}: its versions reach ${range}`,
      {
        qemuSays: 'unsupported machine type',
        advice: `run the source with a machine version ${range}`,
      },
    ),
  );
  return found;
}

/** Makes the refusal of a machine type that a release of a distribution does not have. */
function notInRelease(name: string, { release, program }: Target): Verdict {
  const own = Object.values(release?.own ?? {}).map(([, newest]) => newest);
  const vendor = release?.machines ?? 'QEMU';
  const has =
    program !== undefined
      ? `its QEMU ${program.version} told its machine types, ${program.machines.length} of them`
      : vendor === 'RHEL'
        ? `its machines are those of RHEL, up to ${own[0] ?? ''}, and none of QEMU's own`
        : `it has QEMU's own machines${vendor === 'Ubuntu' ? `, and Ubuntu's up to ${own[0] ?? ''}` : ''}`;
  return refusal(
    'no-machine',
    MACHINE_PATH,
    `${program?.path ?? release?.name ?? 'the target'} has no machine type ${name}: ${has}`,
    {
      qemuSays: 'unsupported machine type',
      advice: 'run the source with a machine type that both have, or take another target',
    },
  );
}

/** Remarks on the target's package, and on what its machine type is among QEMU's own. */
export function checkRelease({ release, program, hostKernel }: Target, machine: MachineThere): Verdict[] {
  if (release === undefined && program === undefined) return [];
  const linux = hostKernel === undefined ? '' : `; Linux ${hostKernel.version} (${hostKernel.from})`;
  const row = distributionMachine(machine.name);
  const differs = (row?.differences ?? []).filter(
    ({ of, property }) => of === 'machine' || machine.properties.has(property),
  );
  const but = differs.map(({ property, value }) => `${property}=${value}`);
  return [
    remark(
      'target',
      'target',
      program !== undefined
        ? `${program.path} is QEMU ${program.version}${program.package === '' ? '' : ` (${program.package})`}, as it answered${linux}`
        : `${release?.name} has QEMU ${release?.qemu} (${release?.package}); read from ${release?.source}${linux}`,
    ),
    ...(row?.upstream === undefined || !machine.certain
      ? []
      : [
          remark(
            'machine-type',
            MACHINE_PATH,
            `${machine.name} is QEMU's ${row.upstream}${but.length === 0 ? '' : `, but for ${but.join(', ')}`}; read from ${row.source}`,
          ),
        ]),
  ];
}

/** Verdict over a machine type of which it is not known what it switches on, or whether the target has it. */
function unknownMachine(name: string | undefined, target: Target): Verdict[] {
  if (name === undefined || isQemuMachine(name)) return [];
  const row = distributionMachine(name);
  if (row?.upstream !== undefined) {
    // a release that has it, or is known not to: who calls says so
    if (targetHas(name, target) !== undefined) return [];
    return [
      notKnown(
        'machine',
        MACHINE_PATH,
        `"${name}" is a machine type of ${row.vendor}, QEMU's ${row.upstream} with differences that depend on the package. Whether this QEMU ${target.qemu.name} has it is not known to virtkit`,
        {
          advice: `name the release that the target runs: --target ${row.vendor === 'RHEL' ? 'rhel-9.6, centos-stream-9, kubevirt-1.8 or a package such as qemu-kvm-9.1.0-20.el9' : 'ubuntu-24.04'}`,
        },
      ),
    ];
  }
  return [
    notKnown(
      'machine',
      MACHINE_PATH,
      `"${name}" is none of the machine types that QEMU itself has, perhaps one of a distribution: what it switches on, and whether the target has it, is not known to virtkit. It is taken for the newest`,
      {
        advice:
          "see the list of the target's -machine help; start it with -incoming and the stream to be certain",
      },
    ),
  ];
}

/** Verdicts over firmware: has it in the stream the size of the one that this QEMU ships? */
export function checkFirmware(
  { configuration, ram }: MigrationStream,
  { qemu, destination }: Target,
): Verdict[] {
  const machine = configuration?.name ?? '';
  const sizes = firmwareSizes(qemu, machine, destination?.board);
  return (ram?.blocks ?? []).flatMap(({ name, length }): Verdict[] => {
    const local = sizes[name];
    if (local === undefined || local === length) return [];
    return [
      refusal(
        'ramblock-size',
        `ram / ${name}`,
        `${hex(length)} bytes of firmware in the stream, and the one that QEMU ${qemu.name} ships has ${hex(local)}`,
        {
          qemuSays: sizeMismatch(name, length, local),
          advice: "give the target the source's firmware file (-bios)",
        },
      ),
    ];
  });
}

/**
 * Finds the lengths in bytes of the RAM blocks with the program's own firmware. Without ACPI, microvm has the small one
 * in every version.
 */
function firmwareSizes(
  { firmware }: QemuVersion,
  machine: string,
  board: BoardWords | undefined,
): Readonly<Record<string, number>> {
  if (board?.ownFirmware === true) return {};
  if (machine === 'microvm' && switchOf(board?.options.get('acpi')) === false) return { 'pc.bios': 0x10000 };
  return (Object.hasOwn(firmware, machine) ? firmware[machine] : undefined) ?? {};
}

/** Verdicts over commands in the stream: does this QEMU know them? */
export function checkCommands({ commands }: MigrationStream, { qemu }: Target): Verdict[] {
  if (qemu.switchoverStart || !commands.some(({ command }) => command === COMMAND.SWITCHOVER_START))
    return [];
  return [
    refusal(
      'command',
      'commands / SWITCHOVER_START',
      `QEMU ${qemu.name} does not know the command; it came with 10.0`,
      {
        qemuSays: 'MIG_CMD 0xb unknown (len 0x0)',
        property: 'send-switchover-start',
        machine: '10.0',
        convertible: true,
      },
    ),
  ];
}
