import { StateError } from '@virtkit/vmstate';
import { parse, YAMLParseError } from 'yaml';
import { type MachineOutline, processors } from './outline.ts';
import type { DeviceWords } from './qemu-words.ts';

/** Largest number of characters of a document in JSON. */
const JSON_MAX = 1 << 20;
/**
 * Largest number of characters of a document in YAML, whose reader is slow. KubeVirt's objects have some ten thousand.
 */
const YAML_MAX = 1 << 17;
/** Largest number of anchors, aliases and tags of a document: the time of the reader grows with their square. */
const MARKS_MAX = 100;

type Fields = Readonly<Record<string, unknown>>;

/**
 * Describes the machine of KubeVirt's VirtualMachineInstance, or of a VirtualMachine's template, in YAML or JSON. A
 * migration hands the source's domain on, with its addresses and drivers' options: what the object says of devices is
 * told for all of a kind.
 *
 * @throws StateError `yaml` for what is no such object, `limit` for one that is too large
 */
export function describeVmi(text: string): MachineOutline {
  const { metadata, domain } = machineIn(text);
  const devices = fieldsIn(domain['devices']);
  const cpu = fieldsIn(domain['cpu']);
  const unknown: string[] = [];
  const count = (name: string): number => {
    const number = numberIn(cpu[name]);
    if (number === undefined && cpu[name] !== undefined)
      unknown.push(`the object's number of ${name} is not understood`);
    return number ?? 1;
  };
  const cpus = processors(count('cores') * count('sockets') * count('threads'), unknown);
  const machine = fieldsIn(domain['machine'])['type'];
  const version = typeof machine === 'string' && /-/.test(machine) ? machine : undefined;
  if (version === undefined)
    unknown.push(
      'the object does not say a machine type with its version: status.machine.type of the VirtualMachineInstance that runs has it',
    );
  return {
    name: textIn(metadata['name']),
    machine: version,
    memoryBytes: memoryIn(domain),
    cpus,
    cards: cardsOf(devices),
    devices: queuesOf(devices, cpus),
    unknown,
  };
}

/** Counts the virtio cards. An object that names no interface gets one for the network of pods, unless it says otherwise. */
function cardsOf(devices: Fields): number {
  const interfaces = devices['interfaces'];
  if (!Array.isArray(interfaces)) return devices['autoattachPodInterface'] === false ? 0 : 1;
  return interfaces.filter((each) => /^(virtio|$)/.test(textIn(fieldsIn(each)['model']))).length;
}

/**
 * Lists the words for queues: KubeVirt gives each disk and card as many as there are processors, where it is told to.
 */
function queuesOf(devices: Fields, cpus: number): DeviceWords[] {
  const words: DeviceWords[] = [];
  if (devices['blockMultiQueue'] === true)
    words.push({ driver: 'virtio-blk-pci', properties: new Map([['num-queues', String(cpus)]]) });
  if (devices['networkInterfaceMultiqueue'] === true && cpus > 1)
    words.push({
      driver: 'virtio-net-pci',
      properties: new Map([
        ['mq', 'on'],
        ['vectors', String(2 * cpus + 2)],
      ]),
    });
  return words;
}

/** Finds the number of bytes of memory in one block; with a maximum, memory is in nodes, and blocks of theirs. */
function memoryIn(domain: Fields): number | undefined {
  const memory = fieldsIn(domain['memory']);
  if (memory['maxGuest'] !== undefined || fieldsIn(domain['cpu'])['numa'] !== undefined) return undefined;
  return bytesIn(memory['guest'] ?? fieldsIn(fieldsIn(domain['resources'])['requests'])['memory']);
}

function machineIn(text: string): { readonly metadata: Fields; readonly domain: Fields } {
  const object = fieldsIn(read(text));
  const kind = textIn(object['kind']);
  if (kind !== 'VirtualMachineInstance' && kind !== 'VirtualMachine')
    throw new StateError(
      'yaml',
      `the object is ${kind === '' ? 'of no kind' : `a ${kind}`}, and no VirtualMachineInstance`,
      {
        kind,
      },
    );
  const spec = fieldsIn(object['spec']);
  const own = kind === 'VirtualMachine' ? fieldsIn(fieldsIn(spec['template'])['spec']) : spec;
  const domain = fieldsIn(own['domain']);
  const running = fieldsIn(fieldsIn(object['status'])['machine'])['type'];
  return {
    metadata: fieldsIn(object['metadata']),
    domain: running === undefined ? domain : { ...domain, machine: { type: running } },
  };
}

/** Reads a document. JSON is YAML, and is read as such only where it is not well-formed. */
function read(text: string): unknown {
  demandFew('characters', text.length, JSON_MAX);
  if (/^\s*\{/.test(text)) {
    try {
      return JSON.parse(text);
    } catch {
      // a flow mapping of YAML, or neither
    }
  }
  demandFew('characters', text.length, YAML_MAX);
  demandFew('anchors, aliases and tags', text.match(/(?<![^\s,[{:-])[&*!]/g)?.length ?? 0, MARKS_MAX);
  try {
    // what is told of each error, and comparing each key with all others, takes time that grows with the square
    return parse(text, {
      maxAliasCount: MARKS_MAX,
      logLevel: 'error',
      prettyErrors: false,
      uniqueKeys: false,
    });
  } catch (error) {
    const message = error instanceof Error ? (error.message.split('\n')[0] ?? '') : '';
    // of a text that is nested some thousands deep the reader's own stack ends
    const why = /call stack/.test(message) ? 'it is nested too deep' : message;
    const at =
      error instanceof YAMLParseError ? { line: text.slice(0, error.pos[0]).split('\n').length } : {};
    throw new StateError('yaml', `the YAML cannot be read: ${why}`, at);
  }
}

function demandFew(what: string, count: number, limit: number): void {
  if (count > limit)
    throw new StateError('limit', `YAML of ${count} ${what}, at most ${limit} are read`, { count, limit });
}

function fieldsIn(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

/** Takes a text, or a number as it is written; nothing for what is neither: an object may not even have a text. */
function textIn(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

function numberIn(value: unknown): number | undefined {
  const number = Number(textIn(value));
  return Number.isSafeInteger(number) && number > 0 ? number : undefined;
}

/** Reads a quantity of Kubernetes: `1Gi`, `512M`, `1073741824`. */
function bytesIn(value: unknown): number | undefined {
  const [, digits = '', unit = ''] = /^(\d+(?:\.\d+)?)([KMGTPE]i?|k)?$/.exec(textIn(value)) ?? [];
  if (digits === '') return undefined;
  const power = unit === '' ? 0 : 'KMGTPE'.indexOf(unit.charAt(0).toUpperCase()) + 1;
  const bytes = Math.round(Number(digits) * (unit.endsWith('i') ? 1024 : 1000) ** power);
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined;
}
