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
import { type MigrationStream, type StreamSection, splitIdstr } from '@virtkit/migration';
import type { BoardWords, Destination } from '../destination/destination.ts';
import { sectionName } from '../destination/qemu-types.ts';
import { unknownBlock, unknownSection } from '../qemu-says.ts';
import type { Target } from '../target.ts';
import { checkBridge } from './check-bridge.ts';

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
    ...stream.sections.flatMap((section) => missingPart(section, destination, board, target)),
    ...stream.sections.flatMap((section) => checkBridge(section, destination)),
    ...checkAcpiTables(stream, board),
    ...checkMemorySlots(destination),
  ];
}

/** A place on a PCI bus, also behind bridges: `0000:00:02.0`. */
const PCI_PLACE = /^[0-9a-f]{4}:[0-9a-f]{2}(?::[0-9a-f]{2}\.[0-7])+$/;
/** Places of the host bridge and of what a chip set has. */
const BOARD_PLACE = /^0000:00:(00\.0|01\.[0-3]|1[adf]\.[0-7])$/;

function missingPart(
  { header: { idstr, instanceId } }: StreamSection,
  destination: Destination,
  board: BoardWords,
  { qemu }: Target,
): Verdict[] {
  const { path, name } = splitIdstr(idstr);
  const missing = (reason: string, property: string): Verdict[] => [
    refusal('no-device', idstr, reason, {
      qemuSays: unknownSection(qemu, idstr, instanceId),
      property,
      advice: 'start the target with what the source had',
    }),
  ];
  const pc = /^pc-/.test(destination.machine ?? '');
  if (idstr === 'slirp' && instanceId >= board.userNetworks)
    return missing(
      `the source had ${instanceId + 1} networks of kind user, and the target ${board.userNetworks}`,
      '-netdev user',
    );
  if (pc && idstr === 'serial' && instanceId >= board.serialPorts)
    return missing(
      `the source had ${instanceId + 1} serial ports, and the target ${board.serialPorts}`,
      '-serial',
    );
  if (pc && idstr === 'parallel_isa' && instanceId >= board.parallelPorts)
    return missing(
      `the source had ${instanceId + 1} parallel ports, and the target ${board.parallelPorts}`,
      '-parallel',
    );
  if (pc && idstr === 'hpet' && switchOf(board.options.get('hpet')) === false)
    return missing('the target has no HPET', 'hpet (of the machine)');
  if (!PCI_PLACE.test(path) || name.startsWith('virt')) return [];
  const places = destination.devices.filter(({ place }) => place !== undefined);
  const there = places.find(({ place }) => place === path);
  if (there === undefined)
    return places.length === 0 || BOARD_PLACE.test(path)
      ? []
      : missing(`the target has no device at ${path}`, 'addr, bus');
  const own = SECTIONS.get(there.driver);
  return own === undefined || own === name || there.driver.startsWith('virt')
    ? []
    : missing(`the target has ${there.driver} at ${path}, whose section is ${own}`, 'addr, bus');
}

/** Names of the sections of QEMU's types that may stand where another type was at the source. */
const SECTIONS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    'pcie-root-port': 'pcie-root-port',
    ioh3420: 'ioh-3240-express-root-port',
    'pci-bridge': 'pci_bridge',
    VGA: 'vga',
    'cirrus-vga': 'cirrus_vga',
    e1000: 'e1000',
    e1000e: 'e1000e',
  }),
);

/** The last part of the name of the section of a PCI device that is not virtio, as far as it is known. */
export function sectionOfType(driver: string): string {
  return SECTIONS.get(driver) ?? driver;
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

/** Types of QEMU that cannot be migrated, their sections, and the last version in which they could not. From `-only-migratable` of 5.2, 7.2, 10.0 and 11.1. */
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

/** A verdict over slots for memory devices: they change the state of the chip set, and nothing in the stream tells whether the source had some. */
function checkMemorySlots({ machine, memory }: Destination): Verdict[] {
  if (memory?.slots === undefined || memory.slots === 0 || !/^pc-/.test(machine ?? '')) return [];
  return [
    condition(
      'memory-slots',
      'command line',
      `the target has ${memory.slots} slots for memory; the source must have had some, too`,
      {
        property: 'slots (of -m)',
        advice: 'give the target slots= and maxmem= as at the source',
      },
    ),
  ];
}
