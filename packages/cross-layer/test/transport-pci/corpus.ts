import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { type Gpa, isModern, MappedMemory, negotiated, type VirtioState } from '@virtkit/core';
import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import { type CaseInfo, pageRuns } from '@virtkit/lab';

import { type DecodedVirtio, decodeVirtio, findVirtio, parseStream } from '@virtkit/migration';
import { type PciOptions, type PciParts, pci } from '@virtkit/transport-pci';

const corpus = new URL('../../../lab/streams/', import.meta.url);
const SUFFIX = '.mig.gz';
const RAM_BYTES = 512 << 20;

/** One virtio-pci device of a stream, and how QEMU was told to make it. */
export interface SavedFunction {
  /** `7.2.22 q72-pc-idle 0000:00:03.0/virtio-blk` */
  readonly title: string;
  readonly version: string;
  readonly file: string;
  readonly name: string;
  readonly arch: string;
  /** `pc-q35-7.2` */
  readonly machine: string;
  /** Properties of the device on the command line. */
  readonly properties: ReadonlyMap<string, string>;
  readonly decoded: DecodedVirtio;
  readonly state: VirtioState<PciParts>;
}

/** Section name → device on the command line, where they are called differently. */
const DEVICE_NAMES: Readonly<Record<string, readonly string[]>> = {
  'virtio-console': ['virtio-serial'],
  'virtio-input': ['virtio-keyboard', 'virtio-mouse', 'virtio-tablet'],
};

/** The names of the corpus' streams that have PCI devices at all. */
export function streamFiles(): { version: string; file: string }[] {
  return readdirSync(corpus)
    .flatMap((version) =>
      readdirSync(new URL(`${version}/`, corpus))
        .filter((file) => file.endsWith(SUFFIX) && !/s390|microvm|m68k/.test(file))
        .map((file) => ({ version, file: file.slice(0, -SUFFIX.length) })),
    )
    .sort((a, b) => a.file.localeCompare(b.file));
}

/** Every virtio-pci device of a stream. */
export function savedFunctions(version: string, file: string): SavedFunction[] {
  const read = (name: string): Buffer => readFileSync(new URL(`${version}/${name}`, corpus));
  const info = JSON.parse(read(`${file}.json`).toString()) as CaseInfo & { machine: string };
  const devices = commandLineDevices(info.command_line ?? []);
  const stream = parseStream(gunzipSync(read(`${file}${SUFFIX}`)));
  const found: SavedFunction[] = [];
  for (const section of stream.sections) {
    const device = findVirtio(section, { transports: [pci], devices: [net, blk] });
    if (device === undefined) continue;
    const decoded = decodeVirtio(device);
    const wanted = DEVICE_NAMES[device.name] ?? [device.name];
    const index = devices.findIndex(({ type }) => wanted.some((name) => type === `${name}-pci`));
    const [own] = devices.splice(index, 1);
    found.push({
      title: `${version} ${file} ${section.header.idstr}`,
      version,
      file,
      name: device.name,
      arch: info.arch,
      machine: /\d$/.test(info.machine) ? info.machine : `${info.machine}-${version.split('.', 2).join('.')}`,
      properties: own?.properties ?? new Map(),
      decoded,
      state: decoded.state as VirtioState<PciParts>,
    });
  }
  return found;
}

/** `-device type,key=value,…`, with what `-global` says of its type. */
function commandLineDevices(line: readonly string[]): { type: string; properties: Map<string, string> }[] {
  const globals: [type: string, key: string, value: string][] = [];
  line.forEach((word, i) => {
    const match = /^([^.]+)\.([^=]+)=(.*)$/.exec(word);
    if (line[i - 1] === '-global' && match !== null)
      globals.push([match[1] ?? '', match[2] ?? '', match[3] ?? '']);
  });
  return line.flatMap((word, i) => {
    if (line[i - 1] !== '-device') return [];
    const [type = '', ...pairs] = word.split(',');
    const properties = new Map<string, string>();
    for (const [of, key, value] of globals) if (of === type) properties.set(key, value);
    for (const pair of pairs) {
      const [key = '', ...value] = pair.split('=');
      properties.set(key, value.join('='));
    }
    return [{ type, properties }];
  });
}

/** Device types that QEMU has in modern form only. */
const MODERN_ONLY = new Set(['virtio-gpu', 'virtio-input', 'virtio-iommu', 'virtio-mem', 'virtio-crypto']);
/** QEMU's default romfile of virtio-net-pci, rounded up. */
const NET_ROM_BYTES = 256 << 10;

/** The options with which a `PciFunction` is what QEMU's command line asked for. */
export function optionsFor(saved: SavedFunction, memory: MappedMemory): PciOptions {
  const { properties, state } = saved;
  const on = (key: string): boolean => properties.get(key) === 'on';
  const off = (key: string): boolean => properties.get(key) === 'off';
  const behindPort = /^rp/.test(properties.get('bus') ?? '');
  const vectors =
    properties.get('vectors') ??
    (KNOWN_VECTORS.has(saved.name) ? undefined : state.transport.msixTable.length);
  const rom = saved.name === 'virtio-net' && properties.get('romfile') === undefined;
  const { machine } = saved;
  return {
    memory,
    machine,
    sendMsi: () => {},
    targetEndian: saved.arch === 'ppc64' ? 'big' : 'little',
    allowAddressZero: /^(pseries|virt)/.test(machine),
    express: behindPort && !on('x-disable-pcie'),
    aer: on('aer'),
    ats: on('ats'),
    multifunction: on('multifunction'),
    modernPioNotify: on('modern-pio-notify'),
    accessPlatform: on('iommu_platform'),
    saveRingSize: saved.version !== '11.1.2',
    ...(on('page-per-vq') && { pagePerVq: true }),
    ...(on('disable-modern') && { mode: 'legacy' as const }),
    ...((on('disable-legacy') || MODERN_ONLY.has(saved.name) || (behindPort && on('x-disable-pcie'))) && {
      mode: 'modern' as const,
    }),
    ...(vectors !== undefined && { vectors: Number(vectors) }),
    ...(rom && { rom: new Uint8Array(NET_ROM_BYTES) }),
    rings: {
      indirect: !off('indirect_desc'),
      eventIdx: !off('event_idx'),
      packed: on('packed'),
      inOrder: on('in_order'),
      // a legacy-only device of a machine that resets queues shows it by this subsection
      ...(state.subsections.features64 === undefined && { ringReset: false }),
    },
  };
}

/** Of other device types, this package does not know how many vectors each version of QEMU gives them. */
const KNOWN_VECTORS = new Set(['virtio-net', 'virtio-blk']);

const ram = new Uint8Array(RAM_BYTES);

/**
 * Memory that holds the rings. RAM is not in most streams: its avail and used index are made so that all chains that were
 * taken are either given back or among the saved requests.
 */
export function memoryFor({ state, arch }: SavedFunction): MappedMemory {
  const modern = isModern(negotiated(state));
  const places = state.queues.map(({ num, desc }, index) => {
    const rings = state.subsections.virtqueues?.[index];
    const avail = modern ? (rings?.avail ?? 0n) : desc + 16n * BigInt(num);
    const used = modern ? (rings?.used ?? 0n) : ((avail + 4n + 2n * BigInt(num) + 4095n) / 4096n) * 4096n;
    return { desc, avail, used };
  });
  // behind an IOMMU, addresses are not RAM addresses: the pages around the rings will do
  const pages = new Set<number>();
  for (const { desc, avail, used } of places) {
    for (const at of [desc, avail, used])
      if (at >= BigInt(RAM_BYTES)) for (const page of [0, 1, 2, 3]) pages.add(Number(at / 4096n) + page);
  }
  const memory = new MappedMemory([
    { gpa: 0, bytes: ram },
    ...pageRuns(pages).map(({ first, count }) => ({
      gpa: first * 4096,
      bytes: new Uint8Array(count * 4096),
    })),
  ]);
  const { deviceEndian } = state.subsections;
  const little = modern || (deviceEndian === undefined ? arch !== 'ppc64' : deviceEndian === 1);
  places.forEach(({ desc, avail, used }, index) => {
    if (desc === 0n) return;
    const queue = state.queues[index];
    const requests = (state.device as { requests?: { queue?: number }[] }).requests ?? [];
    const inFlight = requests.filter(({ queue: of = 0 }) => of === index).length;
    memory.writeU16((Number(avail) + 2) as Gpa, queue?.lastAvailIdx ?? 0, little);
    memory.writeU16((Number(used) + 2) as Gpa, ((queue?.lastAvailIdx ?? 0) - inFlight) & 0xffff, little);
  });
  return memory;
}
