import { optionText } from './qemu-words.ts';
import { child, children, valueAt, type XmlElement } from './xml.ts';

/** Words of the command line that are about the machine itself. */
interface Board {
  readonly words: readonly string[];
  readonly unknown: readonly string[];
}

/** Numbers of bytes of the units that libvirt knows. */
const UNITS: ReadonlyMap<string, bigint> = new Map(
  Object.entries({
    b: 1n,
    bytes: 1n,
    KB: 1000n,
    k: 1024n,
    KiB: 1024n,
    MB: 1000n ** 2n,
    M: 1024n ** 2n,
    MiB: 1024n ** 2n,
    GB: 1000n ** 3n,
    G: 1024n ** 3n,
    GiB: 1024n ** 3n,
    TB: 1000n ** 4n,
    T: 1024n ** 4n,
    TiB: 1024n ** 4n,
    PB: 1000n ** 5n,
    P: 1024n ** 5n,
    PiB: 1024n ** 5n,
    EB: 1000n ** 6n,
    E: 1024n ** 6n,
    EiB: 1024n ** 6n,
  }),
);

/** Reads the size in an element, in KiB, rounded up; undefined: there is none that is understood. */
export function kibibytes(element: XmlElement | undefined, path = ''): bigint | undefined {
  if (element === undefined) return undefined;
  const text = path === '' ? element.text : (valueAt(element, path) ?? '');
  const unit = UNITS.get(element.attributes.get('unit') ?? 'KiB');
  return /^\d{1,18}$/.test(text) && unit !== undefined ? (BigInt(text) * unit + 1023n) / 1024n : undefined;
}

/** Makes the words for the machine, its memory and its processors. */
export function boardWords(domain: XmlElement): Board {
  const unknown: string[] = [];
  const machine = machineWords(domain, unknown);
  return {
    words: [
      ...machine,
      ...firmwareWords(domain),
      ...memoryWords(domain, unknown),
      ...processorWords(domain, unknown),
    ],
    unknown,
  };
}

function machineWords(domain: XmlElement, unknown: string[]): string[] {
  const type = valueAt(domain, 'os/type@machine');
  if (type === undefined)
    unknown.push('the domain does not say its machine type: libvirt chooses one when the domain is defined');
  const features = child(domain, 'features');
  const options = new Map<string, string>();
  const arch = valueAt(domain, 'os/type@arch') ?? 'x86_64';
  if (/^(x86_64|i686|i386)$/.test(arch)) {
    options.set('acpi', child(features, 'acpi') === undefined ? 'off' : 'on');
    const timers = children(child(domain, 'clock'), 'timer');
    const hpet = timers
      .find(({ attributes }) => attributes.get('name') === 'hpet')
      ?.attributes.get('present');
    if (hpet === 'yes' || hpet === 'no') options.set('hpet', hpet === 'yes' ? 'on' : 'off');
  }
  const gic = valueAt(domain, 'features/gic@version');
  if (gic !== undefined) options.set('gic-version', gic);
  const smm = child(features, 'smm')?.attributes.get('state');
  if (smm !== undefined) options.set('smm', smm);
  const iommu = valueAt(domain, 'devices/iommu@model');
  if (iommu === 'smmuv3') options.set('iommu', 'smmuv3');
  return ['-machine', optionText(type ?? '', options).replace(/^,/, '')];
}

/** Makes the words for firmware beside the program's own. */
function firmwareWords(domain: XmlElement): string[] {
  const os = child(domain, 'os');
  const loader = child(os, 'loader');
  if (loader === undefined && os?.attributes.get('firmware') !== 'efi') return [];
  if (loader?.attributes.get('type') !== 'pflash') return loader === undefined ? [] : ['-bios', loader.text];
  const flash = (unit: number, file: string): string[] => [
    '-drive',
    optionText('', [
      ['if', 'pflash'],
      ['unit', String(unit)],
      ['format', 'raw'],
      ['readonly', 'on'],
      ['file', file],
    ]).slice(1),
  ];
  const variables = child(os, 'nvram')?.text ?? '';
  return [...flash(0, loader.text), ...(variables === '' ? [] : flash(1, variables))];
}

function memoryWords(domain: XmlElement, unknown: string[]): string[] {
  const total = kibibytes(child(domain, 'memory'));
  if (total === undefined) {
    unknown.push('the domain does not say the size of its memory');
    return [];
  }
  const cells = children(child(child(domain, 'cpu'), 'numa'), 'cell');
  const devices = children(child(domain, 'devices'), 'memory');
  const plugged = devices.reduce(
    (sum, each) => sum + (kibibytes(child(child(each, 'target'), 'size')) ?? 0n),
    0n,
  );
  const sizes = cells.map((cell) => kibibytes(cell, '@memory') ?? 0n);
  const initial = sizes.length > 0 ? sizes.reduce((sum, size) => sum + size, 0n) : total - plugged;
  const most = child(domain, 'maxMemory');
  const options: [string, string][] = [['size', `${initial}k`]];
  if (most !== undefined)
    options.push(['slots', most.attributes.get('slots') ?? '0'], ['maxmem', `${kibibytes(most) ?? 0n}k`]);
  return [
    '-m',
    optionText('', options).slice(1),
    ...sizes.flatMap((size, node) => [
      '-object',
      `memory-backend-ram,id=ram-node${node},size=${size}k`,
      '-numa',
      `node,nodeid=${node},memdev=ram-node${node}`,
    ]),
  ];
}

function processorWords(domain: XmlElement, unknown: string[]): string[] {
  const most = child(domain, 'vcpu')?.text ?? '1';
  const running = child(domain, 'vcpu')?.attributes.get('current') ?? most;
  if (/^\d{1,6}$/.test(most) && /^\d{1,6}$/.test(running))
    return ['-smp', running === most ? `cpus=${most}` : `cpus=${running},maxcpus=${most}`];
  unknown.push(`the domain's number of processors is no number: ${most.slice(0, 40)}`);
  return [];
}
