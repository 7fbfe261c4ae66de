import { StateError } from '@virtkit/vmstate';
import type { RamBlock } from './events.ts';
import type { RamPlacement } from './ram-image.ts';

/** Where a machine type puts its main memory. */
interface MachineLayout {
  /** Of the machine's name in the stream. */
  readonly machine: RegExp;
  /** Name of the main block without `memory-backend`. */
  readonly block: string;
  /** Where it begins. */
  readonly base: number;
  /** PC: how much of it lies below 4 GiB; the rest begins there. */
  readonly below4g?: (size: number) => number;
}

const GIB = 2 ** 30;
const FOUR_GIB = 4 * GIB;

/**
 * Machine layouts. PC machines leave a hole below 4 GiB, for devices; how large it is depends on the size of memory
 * (QEMU: `pc_q35_init`, `pc_init1`, `microvm_memory_init`; without the machine property `max-ram-below-4g`).
 */
const LAYOUTS: readonly MachineLayout[] = [
  {
    machine: /^pc-q35-|^q35$/,
    block: 'pc.ram',
    base: 0,
    below4g: (size) => (size >= 0xb000_0000 ? 0x8000_0000 : 0xb000_0000),
  },
  {
    machine: /^pc-i440fx-|^pc$|^pc-\d|^isapc$|^xenfv/,
    block: 'pc.ram',
    base: 0,
    below4g: (size) => (size >= 0xe000_0000 ? 0xc000_0000 : 0xe000_0000),
  },
  { machine: /^microvm$/, block: 'microvm.ram', base: 0, below4g: () => 0xc000_0000 },
  { machine: /^s390-ccw-virtio/, block: 's390.ram', base: 0 },
  { machine: /^pseries/, block: 'ppc_spapr.ram', base: 0 },
  { machine: /^virt-m68k|^virt-\d+\.\d+-m68k/, block: 'm68k_virt.ram', base: 0 },
  { machine: /^virt(-\d|$)/, block: 'mach-virt.ram', base: GIB },
];

/**
 * The guest-physical layout of a stream's RAM.
 *
 * Main memory is the block with the machine's usual name, else (a `memory-backend` of another name) the largest. Blocks
 * whose address the stream tells (x-ignore-shared) lie there.
 *
 * @param machine as in the configuration section: `pc-q35-7.2`
 * @param map overrides the table: where each piece lies
 * @throws StateError `ram-layout` for machines that are not in the table
 */
export function ramLayout(
  machine: string,
  blocks: readonly RamBlock[],
  map?: readonly RamPlacement[],
): readonly RamPlacement[] {
  if (map !== undefined && map.length > 0) return map;
  const layout = LAYOUTS.find((each) => each.machine.test(machine));
  const main =
    blocks.find(({ name }) => name === layout?.block) ??
    blocks.reduce<RamBlock | undefined>(
      (most, each) => (each.length > (most?.length ?? 0) ? each : most),
      undefined,
    );
  if (layout === undefined || main === undefined) {
    throw new StateError(
      'ram-layout',
      `where machine "${machine}" has its memory is not known: say it with a RAM map`,
      { machine, blocks: blocks.map(({ name }) => name).join(', ') },
      { layer: 'stream', path: 'ram' },
    );
  }
  const { name: block, length } = main;
  const low = Math.min(length, layout.below4g?.(length) ?? length);
  const placements: RamPlacement[] = [{ gpa: layout.base, block, offset: 0, length: low }];
  if (length > low) placements.push({ gpa: FOUR_GIB, block, offset: low, length: length - low });
  return placements;
}

/** `gpa:block:offset:length`, numbers in any base that JavaScript reads; several with commas. @throws StateError */
export function parseRamMap(text: string): RamPlacement[] {
  return text.split(',').map((piece) => {
    const [gpa, block, offset, length, ...more] = piece.split(':');
    const numbers = [gpa, offset, length].map(Number);
    if (
      block === undefined ||
      block === '' ||
      more.length > 0 ||
      numbers.some((value) => !Number.isSafeInteger(value) || value < 0)
    ) {
      throw new StateError(
        'ram-map',
        `"${piece}": GPA:BLOCK:OFFSET:LENGTH expected, such as 0x0:pc.ram:0:0x8000000`,
      );
    }
    const [at = 0, from = 0, bytes = 0] = numbers;
    return { gpa: at, block, offset: from, length: bytes };
  });
}
