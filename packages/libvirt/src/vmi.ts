import { StateError } from '@virtkit/vmstate';
import { parse } from 'yaml';
import type { MachineOutline } from './outline.ts';
import type { DeviceWords } from './qemu-words.ts';

/** Most characters of a document. */
const YAML_MAX = 1 << 20;
/** How often a document may name a part of itself, which would otherwise grow without bound. */
const ALIASES_MAX = 100;

type Fields = Readonly<Record<string, unknown>>;

/**
 * The machine of KubeVirt's VirtualMachineInstance, or of a VirtualMachine's template, in YAML or JSON. A migration hands the source's
 * domain on, with its addresses and drivers' options: what the object says of devices is told for all of a kind.
 *
 * @throws StateError `yaml` for what is no such object, `limit` for one that is too large
 */
export function describeVmi(text: string): MachineOutline {
  const { metadata, domain } = machineIn(text);
  const devices = fieldsIn(domain['devices']);
  const cpu = fieldsIn(domain['cpu']);
  const count = (name: string): number => numberIn(cpu[name]) ?? 1;
  const cpus = count('cores') * count('sockets') * count('threads');
  const machine = fieldsIn(domain['machine'])['type'];
  const unknown: string[] = [];
  const version = typeof machine === 'string' && /-/.test(machine) ? machine : undefined;
  if (version === undefined)
    unknown.push(
      'the object does not say a machine type with its version: status.machine.type of the VirtualMachineInstance that runs has it',
    );
  return {
    name: String(metadata['name'] ?? ''),
    machine: version,
    memoryBytes: memoryIn(domain),
    cpus,
    devices: queuesOf(devices, cpus),
    unknown,
  };
}

/** KubeVirt gives each disk and card as many queues as there are processors, where it is told to. */
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

/** With a maximum, memory is in nodes, and blocks of theirs. */
function memoryIn(domain: Fields): number | undefined {
  const memory = fieldsIn(domain['memory']);
  if (memory['maxGuest'] !== undefined || fieldsIn(domain['cpu'])['numa'] !== undefined) return undefined;
  return bytesIn(memory['guest'] ?? fieldsIn(fieldsIn(domain['resources'])['requests'])['memory']);
}

function machineIn(text: string): { readonly metadata: Fields; readonly domain: Fields } {
  if (text.length > YAML_MAX)
    throw new StateError('limit', `YAML of ${text.length} characters, at most ${YAML_MAX} are read`, {
      count: text.length,
      limit: YAML_MAX,
    });
  let root: unknown;
  try {
    root = parse(text, { maxAliasCount: ALIASES_MAX, logLevel: 'error' });
  } catch (error) {
    const why = error instanceof Error ? (error.message.split('\n')[0] ?? '') : '';
    throw new StateError('yaml', `the YAML cannot be read: ${why}`, {});
  }
  const object = fieldsIn(root);
  const kind = String(object['kind'] ?? '');
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

function fieldsIn(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function numberIn(value: unknown): number | undefined {
  const number = Number(value);
  return value !== undefined && Number.isSafeInteger(number) && number > 0 ? number : undefined;
}

/** Kubernetes' quantities: `1Gi`, `512M`, `1073741824`. */
function bytesIn(value: unknown): number | undefined {
  const [, digits = '', unit = ''] = /^(\d+(?:\.\d+)?)([KMGTPE]i?|k)?$/.exec(String(value ?? '')) ?? [];
  if (digits === '') return undefined;
  const power = unit === '' ? 0 : 'KMGTPE'.indexOf(unit.charAt(0).toUpperCase()) + 1;
  return Math.round(Number(digits) * (unit.endsWith('i') ? 1024 : 1000) ** power);
}
