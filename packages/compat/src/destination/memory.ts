import { bytesOf, compareVersion, numberOf, switchOf } from '@virtkit/core/qemu';
import type { Destination } from './destination.ts';
import type { CommandOptions, Opts } from './options.ts';

const MIB = 2 ** 20;
const DEFAULT_BYTES = 128 * MIB;
/** Number of bytes that sizes of memory are rounded up to a multiple of, as QEMU does with `-m`. */
const GRAIN = 8192;

interface Memory {
  readonly memory: NonNullable<Destination['memory']>;
  readonly unknown: readonly string[];
}

/**
 * Finds the size of the guest's memory, and the blocks of RAM in which it is, as far as the command line names them.
 */
export function memoryOf(options: CommandOptions, machine: string): Memory {
  const unknown: string[] = [];
  const size = (what: string, text: string | undefined, unit: 'b' | 'm'): number | undefined => {
    const bytes = bytesOf(text, unit);
    if (text !== undefined && bytes === undefined) unknown.push(`${what} ${text} is no size`);
    return bytes === 0 ? undefined : bytes;
  };
  const backends = new Map(
    options
      .group('object')
      .filter(({ values }) => values.get('qom-type')?.startsWith('memory-backend-') === true)
      .map((opts) => [opts.id ?? '', opts]),
  );
  const said =
    size('-m', options.memory.get('size'), 'm') ??
    size('memory.size', options.machine.get('memory.size'), 'b');
  const block = (id: string): { name: string; bytes: number } | undefined => {
    const opts = backends.get(id);
    const bytes = size(`size of ${id}`, opts?.values.get('size'), 'b');
    if (opts !== undefined && bytes !== undefined) return { name: blockName(id, opts, machine), bytes };
    unknown.push(`memory back end ${id}: there is no object of that id with a size`);
    return undefined;
  };
  const names = backendNames(options);
  const blocks = names.flatMap((id) => block(id) ?? []);
  const whole = Math.ceil((said ?? DEFAULT_BYTES) / GRAIN) * GRAIN;
  const bytes = blocks.length > 0 ? blocks.reduce((sum, each) => sum + each.bytes, 0) : whole;
  const slots = numberOf(options.memory.get('slots'));
  const devices = [...options.group('device'), ...options.jsonDevices];
  const used = new Set(devices.flatMap(({ values }) => values.get('memdev') ?? []));
  const [first, ...others] = blocks;
  const single = others.length === 0 ? first?.name : undefined;
  return {
    memory: {
      bytes,
      ...(slots !== undefined && { slots }),
      ...(single !== undefined && { block: single }),
      ...(names.length > 0 && { blocks }),
      objects: [...backends]
        .filter(([id]) => used.has(id))
        .map(([id, opts]) => ({
          name: blockName(id, opts, machine),
          bytes: bytesOf(opts.values.get('size'), 'b') ?? 0,
        })),
    },
    unknown,
  };
}

/** Lists the back ends that are the machine's memory: one of the machine, or one of each node. */
function backendNames(options: CommandOptions): string[] {
  const whole = options.machine.get('memory-backend');
  if (whole !== undefined) return [whole];
  return options.group('numa').flatMap(({ values }) => values.get('memdev') ?? []);
}

/**
 * Finds the name of a back end's block: the id; the path of the object, if it asks for that, or in machines up to 3.1,
 * unless it is anonymous memory.
 */
function blockName(id: string, { values }: Opts, machine: string): string {
  const version = /-(\d+\.\d+)$/.exec(machine)?.[1];
  const old = version !== undefined && compareVersion(version, '3.1') <= 0;
  const path =
    switchOf(values.get('x-use-canonical-path-for-ramblock-id')) ??
    (old && values.get('qom-type') !== 'memory-backend-ram');
  return path ? `/objects/${id}` : id;
}
