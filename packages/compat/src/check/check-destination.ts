import { type DeviceType, type QemuDevice, refusal, typeNamed, type Verdict } from '@virtkit/core/qemu';
import { type MigrationStream, splitIdstr } from '@virtkit/migration';
import { hex } from '@virtkit/vmstate';
import type { Destination } from '../destination/destination.ts';
import { sectionName } from '../destination/qemu-types.ts';
import { sizeMismatch, unknownBlock, unknownSection } from '../qemu-says.ts';
import type { Target } from '../target.ts';

/** Pattern of the names of the block that is the machine's memory, unless the command line gives it a back end. */
const MAIN_RAM = /^(pc\.ram|s390\.ram|mach-virt\.ram|ppc_spapr\.ram|microvm\.ram|ram)$/;

type Block = { readonly name: string; readonly bytes: number };

/** Verdicts over the stream's blocks of RAM: the target must have each in the same size, or room for it where the block can be resized. */
export function checkBlocks(
  { ram }: MigrationStream,
  there: NonNullable<Destination['ramBlocks']>,
): Verdict[] {
  return (ram?.blocks ?? []).flatMap(({ name, length }): Verdict[] => {
    const block = there.get(name);
    if (block !== undefined && (length === block.used || (block.most > block.used && length <= block.most)))
      return [];
    return [
      refusal(
        block === undefined ? 'ramblock' : 'ramblock-size',
        `ram / ${name}`,
        block === undefined
          ? `the target has no block of RAM "${name}"; it has ${[...there.keys()].join(', ')}`
          : `${hex(length)} bytes in the stream, and ${hex(block.used)} at the target`,
        {
          qemuSays: block === undefined ? unknownBlock(name) : sizeMismatch(name, length, block.used),
          advice: 'give the target the memory, the firmware and the devices that the source had',
        },
      ),
    ];
  });
}

/** Verdicts over guest memory: its size, and the names of its blocks. */
export function checkMemory({ ram }: MigrationStream, { memory }: Destination): Verdict[] {
  if (memory === undefined || ram === undefined) return [];
  const here = new Map(ram.blocks.map(({ name, length }) => [name, length]));
  const main = ram.blocks.find(({ name }) => MAIN_RAM.test(name));
  if (memory.blocks === undefined) {
    if (main !== undefined) return sizeVerdict(main.name, main.length, memory.bytes);
    // memory of a back end, where the target has the machine's own
    const backend = ram.blocks.find(({ name, length }) => length === memory.bytes && !/\.|^\//.test(name));
    return backend === undefined ? [] : [nameVerdict(backend.name, undefined)];
  }
  const missing = memory.blocks.filter(({ name }) => !here.has(name));
  const found = missing.length === 0 ? undefined : whereItIs(ram.blocks, main?.name, missing);
  if (found !== undefined) return [nameVerdict(found, missing[0]?.name)];
  return memory.blocks.flatMap(({ name, bytes }) => {
    const length = here.get(name);
    return length === undefined ? [] : sizeVerdict(name, length, bytes);
  });
}

/** Finds the name of the block that is the guest's memory in the stream, where the target has no block of that name. */
function whereItIs(
  blocks: readonly { readonly name: string; readonly length: number }[],
  main: string | undefined,
  missing: readonly Block[],
): string | undefined {
  return main ?? blocks.find(({ length }) => missing.some(({ bytes }) => bytes === length))?.name;
}

function nameVerdict(found: string, there: string | undefined): Verdict {
  return refusal(
    'ramblock',
    `ram / ${found}`,
    `guest memory is the block "${found}" in the stream, and ${there === undefined ? "the machine's own" : `"${there}"`} at the target`,
    {
      qemuSays: unknownBlock(found),
      property: 'memory-backend (of the machine)',
      advice:
        there === undefined || MAIN_RAM.test(found)
          ? 'give the target the same memory back end, or none, as the source had'
          : `give the target's memory back end the id "${found.replace('/objects/', '')}"`,
    },
  );
}

function sizeVerdict(name: string, here: number, there: number): Verdict[] {
  if (here === there) return [];
  return [
    refusal(
      'ram-size',
      `ram / ${name}`,
      `the guest has ${here / 2 ** 20} MiB of memory, and the target ${there / 2 ** 20}`,
      {
        qemuSays: sizeMismatch(name, here, there),
        property: '-m',
        advice: `start the target with -m ${here / 2 ** 20}M`,
      },
    ),
  ];
}

/**
 * Verdicts over places: each virtio device of the stream must be at the destination, at the same place. Others may be
 * there too.
 */
export function checkPlaces(
  stream: MigrationStream,
  destination: Destination,
  { qemu }: Target,
  types: readonly DeviceType[],
): Verdict[] {
  const sections = new Map<string, string>();
  for (const { place, driver } of destination.devices)
    if (place !== undefined) sections.set(place, sectionName(driver) ?? driver);
  if (!destination.placed) return [];
  return stream.sections.flatMap(({ header: { idstr, instanceId } }): Verdict[] => {
    const { path, name } = splitIdstr(idstr);
    const there = sections.get(path);
    if (path === '' || (there !== undefined && name.startsWith(there))) return [];
    // a device inside of another one has a section of its own, such as a GPU with VGA beside it
    if (there !== undefined && typeNamed(types, name)?.qemu.enclosedBy?.includes(there)) return [];
    // other devices' sections have names of their own, and not all of them are known here
    const virtio = name.startsWith('virt') || (there?.startsWith('virtio-') ?? false);
    if (!virtio) return [];
    const elsewhere = [...sections].filter(([, each]) => each === name).map(([place]) => place);
    return [
      refusal(
        'no-device',
        idstr,
        there === undefined
          ? `the target has no device at ${path}${elsewhere.length > 0 ? `; it has ${name} at ${elsewhere.join(', ')}` : ''}`
          : `the target has ${there} at ${path}`,
        {
          qemuSays: unknownSection(qemu, idstr, instanceId),
          property: path.startsWith('/') ? 'devno' : path.startsWith('virtio-mmio') ? 'bus' : 'addr, bus',
          advice: `give the target a ${name} at ${path}`,
        },
      ),
    ];
  });
}

const ROM_BLOCK = /^(.+)\/([\w-]+)\.rom$/;

/**
 * Verdicts over option ROMs, which are blocks of RAM named for the device's place and type. One that the target's
 * device does not have is refused; one that only the target has is not missed.
 */
export function checkRoms({ ram }: MigrationStream, { devices }: Destination): Verdict[] {
  return (ram?.blocks ?? []).flatMap(({ name }): Verdict[] => {
    const [, place, type] = ROM_BLOCK.exec(name) ?? [];
    const device = devices.find((each) => each.place !== undefined && each.place === place);
    if (device === undefined || place === undefined || type === undefined) return [];
    const reason = whyNoRom(device, type);
    if (reason === undefined) return [];
    return [
      refusal(
        'ramblock',
        `ram / ${name}`,
        `the stream has the option ROM of ${type} at ${place}, and ${reason}`,
        {
          qemuSays: unknownBlock(name),
          property: 'romfile, rombar',
          advice: 'give the device at the target the same romfile and rombar as at the source',
        },
      ),
    ];
  });
}

/**
 * Names of ROMs: a ROM is named for the device's vmsd, where it has one of its own, and else for its type. Read from
 * QEMU 7.2 and 11.1.
 */
const ROM_NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    VGA: 'vga',
    'cirrus-vga': 'cirrus_vga',
    'qxl-vga': 'qxl',
    'vmware-svga': 'vmware_vga',
    'virtio-vga': 'virtio-vga',
    ne2k_pci: 'ne2000',
  }),
);

function romName(driver: string): string {
  if (/^e1000-/.test(driver)) return 'e1000';
  // `virtio-net` is another name of `virtio-net-pci`
  return ROM_NAMES.get(driver) ?? (/^virtio-[a-z0-9]+$/.test(driver) ? `${driver}-pci` : driver);
}

function whyNoRom({ driver, properties }: QemuDevice, type: string): string | undefined {
  if (romName(driver) !== type) return `the target has ${driver} there`;
  if (properties.get('romfile') === '') return 'the target has none (romfile=)';
  return /^(0|off|no|false)$/.test(properties.get('rombar') ?? '')
    ? 'the target has none (rombar=0)'
    : undefined;
}

/** Verdicts over migration capabilities, which are switched on by QMP and not by the command line. */
export function checkCapabilities({ configuration }: MigrationStream, { capabilities }: Target): Verdict[] {
  return (configuration?.capabilities ?? []).flatMap((name): Verdict[] => {
    if (capabilities?.has(name) === true) return [];
    const said = capabilities !== undefined;
    return [
      {
        code: 'capability',
        severity: said ? 'refused' : 'depends',
        path: `configuration / capabilities / ${name}`,
        reason: `the source had the migration capability ${name} on${said ? ', and the target has it off' : '; the target needs it too'}`,
        qemuSays: `Capability ${name} is off, but received capability is on`,
        advice: `migrate_set_capability ${name} on, at the target`,
      },
    ];
  });
}
