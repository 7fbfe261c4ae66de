import type { Endian } from '@virtkit/core';
import { StateError } from '@virtkit/vmstate';
import type { RamBlock } from './events.ts';
import type { RamPlacement } from './ram-image.ts';

/** Byte order and main memory of a machine type. */
interface MachineLayout {
  /** Pattern of the machine type's name in the stream. */
  readonly machine: RegExp;
  /** Pattern of a block that only this machine has, where several have the same name. */
  readonly mark?: RegExp;
  /** Name of the main block without `memory-backend`. */
  readonly block: string;
  /** Guest-physical address at which the main block begins. */
  readonly base: number;
  /** Number of bytes of the main block that lie at `base`; the rest begins at `high`. */
  readonly low?: (size: number) => number;
  readonly high?: number;
  readonly endian?: 'big';
}

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/**
 * Layouts of machines by their names. PC machines leave a hole below 4 GiB, for devices; how large it is depends on the
 * size of memory (QEMU: `pc_q35_init`, `pc_init1`, `microvm_memory_init`; without the machine property
 * `max-ram-below-4g`).
 */
const LAYOUTS: readonly MachineLayout[] = [
  {
    machine: /^pc-q35-|^q35$/,
    block: 'pc.ram',
    base: 0,
    low: (size) => (size >= 0xb000_0000 ? 0x8000_0000 : 0xb000_0000),
    high: 4 * GIB,
  },
  {
    machine: /^pc-i440fx-|^pc$|^pc-\d|^isapc$|^xenfv/,
    block: 'pc.ram',
    base: 0,
    low: (size) => (size >= 0xe000_0000 ? 0xc000_0000 : 0xe000_0000),
    high: 4 * GIB,
  },
  { machine: /^microvm$/, block: 'microvm.ram', base: 0, low: () => 0xc000_0000, high: 4 * GIB },
  { machine: /^s390-ccw-virtio/, block: 's390.ram', base: 0, endian: 'big' },
  { machine: /^pseries/, block: 'ppc_spapr.ram', base: 0, endian: 'big' },
  { machine: /^g3beige$/, block: 'ppc_heathrow.ram', base: 0, endian: 'big' },
  { machine: /^mac99$/, block: 'ppc_core99.ram', base: 0, endian: 'big' },
  { machine: /^q800$/, block: 'm68k_mac.ram', base: 0, endian: 'big' },
  // machines named virt: of Arm and m68k the name has a version in the stream, of the others not
  { machine: /^virt-\d/, mark: /^(mach-virt\.ram|virt\.flash0)$/, block: 'mach-virt.ram', base: GIB },
  { machine: /^virt-\d/, mark: /^m68k_virt\.ram$/, block: 'm68k_virt.ram', base: 0, endian: 'big' },
  { machine: /^virt$/, mark: /^riscv_virt_board\./, block: 'riscv_virt_board.ram', base: 2 * GIB },
  {
    machine: /^virt$/,
    mark: /^loongarch\.ram$/,
    block: 'loongarch.ram',
    base: 0,
    low: () => 256 * MIB,
    high: 2 * GIB,
  },
  { machine: /^virt$/, mark: /^openrisc\.ram$/, block: 'openrisc.ram', base: 0, endian: 'big' },
];

function layoutOf(machine: string, blocks: readonly RamBlock[]): MachineLayout | undefined {
  const named = LAYOUTS.filter((each) => each.machine.test(machine));
  return named.find(({ mark }) => mark === undefined || blocks.some(({ name }) => mark.test(name)));
}

/**
 * Finds the byte order of a machine's CPU, which is that of legacy devices; little-endian if nothing is known of the
 * machine.
 *
 * @param machine as in the configuration section: `pc-q35-7.2`
 * @param blocks of RAM, which tell machines of one name apart
 */
export function machineEndian(machine: string, blocks: readonly RamBlock[] = []): Endian {
  if (/^(powernv|ppce500)/.test(machine)) return 'big';
  return layoutOf(machine, blocks)?.endian ?? 'little';
}

/**
 * Finds the guest-physical layout of a stream's RAM.
 *
 * Main memory is the block with the machine's usual name, else (a `memory-backend` of another name) the largest.
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
  const layout = layoutOf(machine, blocks);
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
  const low = Math.min(length, layout.low?.(length) ?? length);
  const placements: RamPlacement[] = [{ gpa: layout.base, block, offset: 0, length: low }];
  if (length > low && layout.high !== undefined)
    placements.push({ gpa: layout.high, block, offset: low, length: length - low });
  return placements;
}

/**
 * Reads a RAM map: `gpa:block:offset:length`, numbers in any base that JavaScript reads; several with commas. @throws
 * StateError
 */
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
