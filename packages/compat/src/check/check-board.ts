import {
  compareVersion,
  condition,
  notKnown,
  type QemuDevice,
  refusal,
  remark,
  switchOf,
  type Verdict,
} from '@virtkit/core/qemu';
import type { DescVmsd, MigrationStream } from '@virtkit/migration';
import type { BoardWords, Destination } from '../destination/destination.ts';
import { otherDevice } from '../destination/other-devices.ts';
import { sectionName } from '../destination/qemu-types.ts';
import { unknownBlock } from '../qemu-says.ts';
import type { Target } from '../target.ts';
import { checkBridge } from './check-bridge.ts';
import { checkDeviceBlocks } from './check-device-blocks.ts';
import { checkSections } from './check-sections.ts';

/** Verdicts over the parts of the command line that were not understood: with one, no answer can be given, whatever else is found. */
export function checkUnderstood({ unknown, starts }: Destination): Verdict[] {
  const several: Verdict[] =
    starts === undefined || starts.count < 2
      ? []
      : [
          remark(
            'starts',
            'command line',
            `the text holds ${starts.count} starts of a QEMU; this is about number ${starts.chosen}`,
            {
              advice: 'virtkit check --start NUMBER answers for another',
            },
          ),
        ];
  const said = unknown.map((reason) =>
    notKnown('not-understood', 'command line', reason, {
      advice: 'ask the QEMU itself: virtkit check --qemu BINARY, where it is at hand',
    }),
  );
  return [...several, ...said];
}

/** Verdicts over the sections of the board, which is there with its parts as the command line says. */
export function checkBoard(stream: MigrationStream, destination: Destination, target: Target): Verdict[] {
  const { board } = destination;
  if (board === undefined) return [];
  return [
    ...checkSections(stream, destination, board, target),
    ...(destination.ramBlocks === undefined ? checkDeviceBlocks(stream, destination, board) : []),
    ...stream.sections.flatMap((section) => checkBridge(section, destination)),
    ...checkAcpiTables(stream, board),
    ...checkMemorySlots(stream, destination),
    ...checkGlobals(board),
  ];
}

/** Verdicts over `-global` for devices of the board of which it is not known what they change. */
function checkGlobals({ globals }: BoardWords): Verdict[] {
  return globals.map((text) =>
    notKnown(
      'not-understood',
      'command line',
      `-global ${text}: virtkit does not know what it changes of the state`,
      {
        property: text.split('=')[0] ?? text,
        advice: 'give the target what the source had; ask QEMU itself to be certain',
      },
    ),
  );
}

/** Pattern of a place on a PCI bus, also behind bridges: `0000:00:02.0`. */
const PCI_PLACE = /^[0-9a-f]{4}:[0-9a-f]{2}(?::[0-9a-f]{2}\.[0-7])+$/;

/** Finds the last part of the name of a section of a PCI device that is not virtio, as far as it is known. */
export function sectionOfType(driver: string): string {
  return otherDevice(driver)?.section ?? driver;
}

function checkAcpiTables({ ram }: MigrationStream, { options }: BoardWords): Verdict[] {
  const block = ram?.blocks.find(({ name }) => name === '/rom@etc/acpi/tables');
  if (block === undefined || switchOf(options.get('acpi')) !== false) return [];
  return [
    refusal('ramblock', `ram / ${block.name}`, 'the source had ACPI, and the target does not', {
      qemuSays: unknownBlock(block.name),
      property: 'acpi (of the machine)',
      advice: 'start the target with acpi as at the source',
    }),
  ];
}

/**
 * Types of QEMU that cannot be migrated, with their sections and the last version in which they could not. From
 * `-only-migratable` of 5.2, 7.2, 10.0 and 11.1.
 */
const UNMIGRATABLE: readonly (readonly [driver: RegExp, section: string, until?: string])[] = [
  [/^nvme$/, 'nvme', '10.0'],
  [/^rocker$/, 'rocker'],
  [/^ufs$/, 'ufs'],
  [/^x-terminal3270$/, 'x-terminal3270'],
  [/^virtio-crypto-/, 'virtio-crypto'],
  [/^virtio-sound-/, 'virtio-sound-device'],
  [/^virtio-input-host-/, 'virtio-input-host'],
  [/^vhost-user-(gpio|i2c|input|rng|rtc|snd|spi|vsock)-/, 'vhost-user'],
  [/^vhost-vdpa-device-/, 'vhost-vdpa-device'],
  [/^vhost-user-fs-/, 'vhost-user-fs', '7.2'],
];

/** Verdicts over devices of the target that cannot be migrated: with one, QEMU loads nothing. */
export function checkMigratable({ devices, machine }: Destination, { qemu }: Target): Verdict[] {
  const s390 = machine?.startsWith('s390') === true;
  return devices.flatMap((device): Verdict[] => {
    const { driver, place } = device;
    const found = UNMIGRATABLE.find(
      ([pattern, , until]) =>
        pattern.test(driver) && (until === undefined || compareVersion(qemu.name, until) <= 0),
    );
    // each PCI device of s390x has one beside it
    const zpci = s390 && isPci(device);
    if (found === undefined && !zpci) return [];
    const name = found === undefined ? 'zpci' : `${place ?? ''}/${found[1]}`;
    return [
      refusal(
        'non-migratable',
        'command line',
        `the target has ${driver}, which cannot be migrated: with it, QEMU loads nothing`,
        {
          qemuSays: `State blocked by non-migratable device '${name}'`,
          advice: 'start the target without it, and add it later',
        },
      ),
    ];
  });
}

function isPci({ driver, place }: QemuDevice): boolean {
  return place !== undefined && PCI_PLACE.test(place) && sectionName(driver) !== undefined;
}

/**
 * A verdict over slots for memory devices: the state of each is in the section of the chip set. How many the source had, the stream's
 * own description tells.
 */
function checkMemorySlots({ sections }: MigrationStream, { machine, memory }: Destination): Verdict[] {
  if (!/^pc-/.test(machine ?? '') || memory === undefined) return [];
  const there = memory.slots ?? 0;
  const chipSet = sections.find(({ header: { idstr } }) => /\/(piix4_pm|ICH9LPC)$/.test(idstr));
  const here = chipSet?.description === undefined ? undefined : slotsIn(chipSet.description, 0);
  if (here === there || (here === undefined && there === 0)) return [];
  const common = {
    path: chipSet?.header.idstr ?? 'command line',
    property: 'slots (of -m)',
    advice: 'give the target slots= and maxmem= as at the source',
  };
  if (here === undefined)
    return [
      condition(
        'memory-slots',
        common.path,
        `the target has ${there} slots for memory; the source must have had as many`,
        common,
      ),
    ];
  return [
    refusal(
      'memory-slots',
      common.path,
      `the source had ${here} slots for memory, and the target has ${there}`,
      {
        ...common,
        qemuSays: `Missing section footer for ${common.path}`,
      },
    ),
  ];
}

/** Deepest structure of a chip set's description that is looked into. QEMU's are five deep. */
const DEPTH_MAX = 8;

function slotsIn(
  { vmsd_name: name, fields = [], subsections = [] }: DescVmsd,
  depth: number,
): number | undefined {
  if (depth > DEPTH_MAX) return undefined;
  if (name === 'memory hotplug state')
    return fields
      .filter((field) => field.name === 'devs')
      .reduce((sum, field) => sum + (field.array_len ?? 1), 0);
  for (const inside of [...subsections, ...fields.flatMap(({ struct }) => struct ?? [])]) {
    const found = slotsIn(inside, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}
