import { StateError } from '@virtkit/vmstate';
import { askingWords } from './asking.ts';
import { boardDevices, boardWords, machineName } from './board.ts';
import type { Destination } from './destination.ts';
import { driveDevices, readOnlyDrives } from './drives.ts';
import { propertiesOf } from './globals.ts';
import { memoryOf } from './memory.ts';
import { type Network, networksOf, nicDevices } from './network.ts';
import { CommandOptions, type Opts, type Parsed, type ReadConfig } from './options.ts';
import { placeDevices, type Unplaced } from './place.ts';
import { typeOf } from './qemu-types.ts';
import { type Command, programIndex, qemuCommands } from './shell.ts';
import { cpusOf } from './topology.ts';

/** Pattern of machines whose addresses virtkit can tell. */
const PLACED = /^(x86_64|i386)\/(pc|microvm|q35)|^s390x\/|^(aarch64|arm)\/virt/;

/** Options for reading a text with command lines. */
export interface CommandLineOptions {
  /** Number of the start in the text that is read; the first is 1. Default: the last. */
  readonly start?: number;
  /** Reads the file that `-readconfig` names. */
  readonly readConfig?: ReadConfig;
  /**
   * Finds the machine type that a name without a version stands for, by the beginning of its name (`pc-q35`);
   * undefined: QEMU's newest.
   */
  readonly machineAlias?: (prefix: string) => string | undefined;
}

/**
 * Reads the destination that a QEMU command line makes: `qemu-system-x86_64 -M pc -m 1G -device virtio-blk-pci,…`. The
 * text may be a script, a unit, or a log with many starts; without a program, it is one command that begins with its
 * options.
 *
 * @param qemu version, for machines without one in their name (`pc`, `q35`)
 * @throws StateError `target` for text that is no command line
 */
export function parseCommandLine(
  text: string | readonly string[],
  qemu: string,
  { start, readConfig, machineAlias }: CommandLineOptions = {},
): Destination {
  const { program, words, unknown, starts } = wordsOf(text, start);
  const options = new CommandOptions(words, readConfig);
  demandFew('-global', options.globals.length, GLOBALS_MAX);
  const arch = archOf(program);
  if (/qemu-system-x86_64-microvm$/.test(program) && !options.machine.has('type'))
    options.machine.set('type', 'microvm');
  const destination = built({ arch, qemu, options, ...(machineAlias !== undefined && { machineAlias }) });
  return {
    ...destination,
    unknown: [...unknown, ...options.foreign, ...destination.unknown],
    unasked: [...unknown, ...options.foreign],
    starts,
  };
}

/** Largest number of words of a command line. A machine with a thousand disks has some five thousand. */
const WORDS_MAX = 1 << 14;
/** Largest number of `-global`: each device has those of its type, one after the other. */
const GLOBALS_MAX = 512;

function demandFew(what: string, count: number, limit: number): void {
  if (count > limit)
    throw new StateError('limit', `a command line of ${count} ${what}, at most ${limit} are read`, {
      count,
      limit,
    });
}

interface Words {
  readonly program: string;
  /** Words behind the program: options and their values. */
  readonly words: readonly string[];
  readonly unknown: readonly string[];
  readonly starts: NonNullable<Destination['starts']>;
}

function wordsOf(text: string | readonly string[], start: number | undefined): Words {
  const commands = typeof text === 'string' ? qemuCommands(text) : [{ words: text, unknown: [] }];
  const { words, unknown } = chosen(commands, start);
  demandFew('words', words.length, WORDS_MAX);
  const at = programIndex(words);
  const begin = at >= 0 ? at + 1 : words.findIndex((word) => word.startsWith('-'));
  if (begin < 0 || begin >= words.length) throw noOptions(words.join(' '));
  return {
    program: words[at] ?? '',
    words: words.slice(begin),
    unknown,
    starts: { count: commands.length, chosen: start ?? commands.length },
  };
}

function archOf(program: string): string {
  return /qemu-system-([^-]+)/.exec(program)?.[1] ?? 'x86_64';
}

/**
 * Makes options with which a QEMU makes the same machine, stopped, and touches nothing outside of itself.
 *
 * @throws StateError `target` for an option that begins as JSON does, and is none
 */
export function askingCommand(
  text: string | readonly string[],
  destination: Destination,
  { start, readConfig }: CommandLineOptions = {},
): string[] {
  const { program, words } = wordsOf(text, start);
  const own = askingWords(words, destination, archOf(program), readConfig);
  return /qemu-system-x86_64-microvm$/.test(program) ? ['-machine', 'microvm', ...own] : own;
}

function noOptions(text: string): StateError {
  return new StateError('target', 'no options of QEMU in this command line', { text: text.slice(0, 200) });
}

function chosen(commands: readonly Command[], start: number | undefined): Command {
  const command = start === undefined ? commands.at(-1) : commands[start - 1];
  if (command !== undefined) return command;
  throw new StateError('target', `start ${start}: the text holds ${commands.length} of them`, {
    start: start ?? 0,
    count: commands.length,
  });
}

function built(parsed: Parsed): Destination {
  const { arch, qemu, options } = parsed;
  const machine = machineName(parsed);
  const networks = networksOf(options);
  const readOnly = readOnlyDrives(parsed, machine);
  const own = (opts: Opts): Unplaced => ({
    driver: typeOf(opts.values.get('driver') ?? '', arch),
    properties: withoutDriver(opts.values),
    ...(opts.id !== undefined && { id: opts.id }),
  });
  const devices = [
    ...boardDevices(parsed, machine),
    ...nicDevices(parsed, machine, networks),
    ...soundDevices(options),
    ...options.usbDevices.map(own),
    ...options.group('device').map(own),
    ...driveDevices(parsed, machine),
    ...options.jsonDevices.map(own),
  ].map((device) => connected(device, options, networks, readOnly));
  const { memory, unknown } = memoryOf(options, machine);
  const isPlaced = PLACED.test(`${arch}/${machine}`);
  const placed = isPlaced
    ? placeDevices({ arch, machine, options: options.machine, qemu }, devices)
    : { devices, unknown: [] };
  const { cpus, unknown: topology } = cpusOf(options.machine, qemu);
  return {
    machine,
    memory,
    cpus,
    devices: placed.devices,
    placed: isPlaced,
    unknown: [...options.unknown, ...machineUnknown(options), ...unknown, ...topology, ...placed.unknown],
    board: boardWords(options, arch),
  };
}

function machineUnknown({ unknownMachineOptions }: CommandOptions): string[] {
  return unknownMachineOptions.map(
    (key) => `-machine ${key}=…: virtkit does not know what it makes of the machine`,
  );
}

function withoutDriver(values: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const properties = new Map(values);
  properties.delete('driver');
  return properties;
}

/** Devices that `-audio model=` and `-soundhw` put on the PCI bus. */
const SOUND: ReadonlyMap<string, string> = new Map(
  Object.entries({
    hda: 'intel-hda',
    ac97: 'AC97',
    es1370: 'ES1370',
    virtio: 'virtio-sound-pci',
  }),
);

function soundDevices({ sounds }: CommandOptions): Unplaced[] {
  return sounds.flatMap((model) => {
    const driver = SOUND.get(model);
    return driver === undefined ? [] : [{ driver, properties: new Map<string, string>() }];
  });
}

/**
 * Makes the device with the properties that `-global` gives it, its own above them, and with what it is connected to.
 */
function connected(
  device: Unplaced,
  { globals }: CommandOptions,
  networks: ReadonlyMap<string, Network>,
  readOnly: ReadonlySet<string>,
): Unplaced {
  const properties = propertiesOf(device, globals);
  const network = device.network ?? networks.get(properties.get('netdev') ?? '');
  return {
    ...device,
    properties,
    ...(network !== undefined && { network }),
    readOnly: readOnly.has(properties.get('drive') ?? ''),
  };
}
