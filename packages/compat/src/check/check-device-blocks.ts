// Blocks of RAM beside the guest's memory: those of displays, memory devices, firmware.
import {
  bytesOf,
  condition,
  notKnown,
  numberOf,
  type QemuDevice,
  refusal,
  type Verdict,
} from '@virtkit/core/qemu';
import type { MigrationStream } from '@virtkit/migration';
import { knownBoard } from '../destination/board-sections.ts';
import type { BoardWords, Destination } from '../destination/destination.ts';
import { sizeMismatch, unknownBlock } from '../qemu-says.ts';

const MIB = 2 ** 20;

/**
 * Pattern of blocks that are looked at elsewhere: the machine's memory, its own firmware, tables of ACPI, option ROMs.
 */
const ELSEWHERE =
  /^(?:\/rom@.*|.*\.rom|(?:pc|s390|mach-virt|microvm|ppc_spapr)\.ram|ram|pc\.(?:bios|rom)|isa-bios)$/;
/** Pattern of blocks with firmware in flash memory. Machines of kind virt always have both. */
const FLASH = /^(?:system|virt)\.flash([01])$/;

/** Verdicts over blocks of RAM that belong to devices: the target must have each, in the same size. */
export function checkDeviceBlocks(
  { ram }: MigrationStream,
  destination: Destination,
  board: BoardWords,
): Verdict[] {
  const kind = knownBoard(destination.machine ?? '', board.arch);
  if (kind === undefined) return [];
  const memory = new Set(destination.memory?.blocks?.map(({ name }) => name));
  return (ram?.blocks ?? []).flatMap(({ name, length }): Verdict[] => {
    if (name === 'pc.bios' && board.flash.has(0) && !board.ownFirmware)
      return [missing(name, 'the target has its firmware in flash memory', 'pflash0 (of the machine)')];
    if (ELSEWHERE.test(name) || memory.has(name)) return [];
    const [, unit] = FLASH.exec(name) ?? [];
    if (unit !== undefined) return kind === 'virt' ? [] : checkFlash(name, length, Number(unit), board);
    const [, place, block] = /^(.+)\/([^/]+)$/.exec(name) ?? [];
    // a size of the machine's memory under another name is said there
    if (block === undefined) return checkObject(name, length, destination);
    const there = destination.devices.find((each) => each.place !== undefined && each.place === place);
    if (there === undefined)
      return destination.placed || !/^0000:/.test(name)
        ? [missing(name, `the target has no device at ${place}`, 'addr, bus')]
        : [];
    // memory of virtio devices has its place in their own state
    if (/^(virtio|vhost)-/.test(there.driver) && !/vga/.test(there.driver)) return [];
    return checkSize(name, length, blockOf(there, block, destination));
  });
}

/** Checks flash memory, which is as large as what is in it. */
function checkFlash(name: string, here: number, unit: number, { flash }: BoardWords): Verdict[] {
  const property = `pflash${unit} (of the machine)`;
  if (!flash.has(unit)) return [missing(name, 'the source had firmware in flash memory', property)];
  const there = flash.get(unit);
  if (there !== undefined) return checkSize(name, here, there);
  return [
    condition(
      'firmware-size',
      `ram / ${name}`,
      `the file behind the target's flash memory ${unit} must have ${here} bytes, as at the source`,
      { property, advice: 'give the target the firmware files of the source, or compare their sizes' },
    ),
  ];
}

/** Verdicts over the memory of an object, by its id; or of a device that has no place. */
function checkObject(name: string, length: number, { memory, devices }: Destination): Verdict[] {
  if (name === 'vga.vram' && devices.some(({ driver }) => driver === 'isa-vga')) return [];
  if (name === 'vmsvga.fifo' && devices.some(({ driver }) => driver === 'vmware-svga')) return [];
  const object = memory?.objects?.find((each) => each.name === name);
  if (object === undefined) {
    // which block the guest's memory is was found there
    return memory === undefined || memory.bytes === length
      ? []
      : [missing(name, 'the target has no memory of that name', '-object memory-backend-…')];
  }
  return checkSize(name, length, object.bytes);
}

/**
 * Finds the length in bytes of a block of a device; undefined: it is not known. A text says why there is no such block.
 */
function blockOf(
  { driver, properties }: QemuDevice,
  block: string,
  { memory }: Destination,
): number | undefined | string {
  // shared memory is named for its object
  if (/^ivshmem-/.test(driver)) {
    const object = memory?.objects?.find(
      ({ name }) => name.replace('/objects/', '') === properties.get('memdev'),
    );
    return properties.get('memdev') === block
      ? object?.bytes
      : `the target has ${properties.get('memdev')} there`;
  }
  const mib = (property: string, otherwise: number): number =>
    (numberOf(properties.get(property)) ?? otherwise) * MIB;
  const own = `the target has ${driver} there`;
  switch (`${driver}/${block}`) {
    case 'VGA/vga.vram':
    case 'secondary-vga/vga.vram':
    case 'vmware-svga/vga.vram':
    case 'ati-vga/vga.vram':
      return mib('vgamem_mb', 16);
    case 'cirrus-vga/vga.vram':
      return mib('vgamem_mb', 4);
    case 'virtio-vga/vga.vram':
    case 'virtio-vga-gl/vga.vram':
      return 8 * MIB;
    case 'bochs-display/bochs-display-vram':
      return bytesOf(properties.get('vgamem'), 'b') ?? 16 * MIB;
    case 'qxl-vga/vga.vram':
    case 'qxl/qxl.vgavram':
      return qxlBytes(properties);
    case 'qxl-vga/qxl.vram':
    case 'qxl/qxl.vram':
      return Math.max(
        powerOfTwo(mib('vram64_size_mb', 0)),
        properties.has('vram_size_mb')
          ? powerOfTwo(mib('vram_size_mb', 0))
          : powerOfTwo(bytesOf(properties.get('vram_size'), 'b') ?? 64 * MIB),
      );
    case 'qxl-vga/qxl.vrom':
    case 'qxl/qxl.vrom':
      return 0x2000;
    default:
      return /\bvram$/.test(block) ? own : undefined;
  }
}

/**
 * Finds the memory of a QXL display in bytes: twice the picture, and no less than what is said. QEMU:
 * `qxl_init_ramsize`
 */
function qxlBytes(properties: ReadonlyMap<string, string>): number {
  const picture = (numberOf(properties.get('vgamem_mb')) ?? 16) * MIB;
  const said = properties.has('ram_size_mb')
    ? (numberOf(properties.get('ram_size_mb')) ?? 0) * MIB
    : (bytesOf(properties.get('ram_size'), 'b') ?? 64 * MIB);
  return powerOfTwo(Math.max(said, 2 * picture));
}

function powerOfTwo(bytes: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(bytes, 1)));
}

function checkSize(name: string, here: number, there: number | undefined | string): Verdict[] {
  if (here === there) return [];
  if (typeof there === 'string') return [missing(name, there, 'driver')];
  if (there === undefined)
    return [
      notKnown(
        'ramblock',
        `ram / ${name}`,
        'whether the target has this block of RAM, and in this size, is not known to virtkit',
        { advice: 'ask the QEMU itself: virtkit check --qemu BINARY, where it is at hand' },
      ),
    ];
  return [
    refusal(
      'ramblock-size',
      `ram / ${name}`,
      `${here / MIB} MiB in the stream, and ${there / MIB} at the target`,
      {
        qemuSays: sizeMismatch(name, here, there),
        advice: 'give the target the same memory sizes as at the source',
      },
    ),
  ];
}

function missing(name: string, reason: string, property: string): Verdict {
  return refusal('ramblock', `ram / ${name}`, reason, {
    qemuSays: unknownBlock(name),
    property,
    advice: 'start the target with what the source had',
  });
}
