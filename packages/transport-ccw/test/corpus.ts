import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import {
  type DeviceLayer,
  type Gpa,
  isModern,
  MappedMemory,
  negotiated,
  opaqueDevice,
  type VirtioCodec,
  type VirtioState,
  virtioDevice,
} from '@virtkit/core';
import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import type { CaseInfo } from '@virtkit/lab';
import { type CcwParts, ccw } from '../src/index.ts';

const corpus = new URL('../../lab/streams/', import.meta.url);
const SUFFIX = '.mig.gz';
const RAM_BYTES = 256 << 20;
/** Start of a section that is sent whole, and its footer. */
const SECTION_FULL = 0x04;
const SECTION_FOOTER = 0x7e;

/** One virtio-ccw device of a stream, and how QEMU was told to make it. */
export interface SavedDevice {
  readonly title: string;
  /** QEMU's. */
  readonly version: string;
  /** `virtio-blk` */
  readonly name: string;
  /** Version of the machine type: `2.4`, `7.2`, … */
  readonly machine: string;
  /** Value of `-netdev`, for a network card. */
  readonly netdev: string;
  /** Properties of the device on the command line. */
  readonly properties: ReadonlyMap<string, string>;
  readonly codec: VirtioCodec<CcwParts, unknown>;
  readonly body: Uint8Array;
  readonly state: VirtioState<CcwParts>;
}

/** Section name → device on the command line, where they are called differently. */
const DEVICE_NAMES: Readonly<Record<string, readonly string[]>> = {
  'virtio-console': ['virtio-serial'],
  'virtio-input': ['virtio-keyboard', 'virtio-mouse', 'virtio-tablet'],
};

export function streamFiles(): { version: string; file: string }[] {
  return readdirSync(corpus).flatMap((version) =>
    readdirSync(new URL(`${version}/`, corpus))
      .filter((file) => file.endsWith(SUFFIX) && file.includes('s390'))
      .map((file) => ({ version, file: file.slice(0, -SUFFIX.length) })),
  );
}

export function savedDevices(version: string, file: string): SavedDevice[] {
  const read = (name: string): Buffer => readFileSync(new URL(`${version}/${name}`, corpus));
  const info = JSON.parse(read(`${file}.json`).toString()) as CaseInfo & { machine: string };
  const words = info.command_line;
  const lines = words.filter((_, i) => words[i - 1] === '-device').filter((line) => line.includes('-ccw,'));
  const stream = new Uint8Array(gunzipSync(read(`${file}${SUFFIX}`)));
  return [...sectionsOf(stream)].map(({ idstr, name, body, codec, state }) => {
    const wanted = DEVICE_NAMES[name] ?? [name];
    const index = lines.findIndex((line) => wanted.some((type) => line.startsWith(`${type}-ccw,`)));
    const [line = ''] = lines.splice(index, 1);
    return {
      title: `${version} ${file} ${idstr}`,
      version,
      name,
      machine: /\d+\.\d+$/.exec(info.machine)?.[0] ?? version,
      netdev: words[words.indexOf('-netdev') + 1] ?? '',
      properties: new Map(
        line
          .split(',')
          .slice(1)
          .map((pair) => [pair.split('=')[0] ?? '', pair.split('=')[1] ?? '']),
      ),
      codec,
      body,
      state,
    };
  });
}

/** Virtio sections, found by their names; each ends at the first footer up to which it decodes to what encodes the same. */
export function* sectionsOf(stream: Uint8Array) {
  const text = Buffer.from(stream.buffer, stream.byteOffset, stream.length);
  const pattern = /(?:\/fe\.\d\.[0-9a-f]{4}\/)?virtio-[a-z0-9]+/g;
  const found = Buffer.from(stream).toString('latin1').matchAll(pattern);
  for (const { index, 0: idstr } of found) {
    if (stream[index - 6] !== SECTION_FULL || stream[index - 1] !== idstr.length) continue;
    const id = text.subarray(index - 5, index - 1);
    const start = index + idstr.length + 8;
    const name = idstr.slice(idstr.lastIndexOf('/') + 1);
    const footer = Buffer.concat([Uint8Array.of(SECTION_FOOTER), id]);
    for (let end = text.indexOf(footer, start); end >= 0; end = text.indexOf(footer, end + 1)) {
      const body = stream.slice(start, end);
      const codec = virtioDevice(ccw, layerOf(name, body[0x6f] ?? 0)) as VirtioCodec<CcwParts, unknown>;
      const state = decoded(codec, body);
      if (state === undefined) continue;
      yield { idstr, name, body, codec, state };
      break;
    }
  }
}

function decoded(codec: VirtioCodec<CcwParts, unknown>, body: Uint8Array): VirtioState<CcwParts> | undefined {
  try {
    const state = codec.decode(body);
    return firstDifference(codec.encode(state), body) === -1 ? state : undefined;
  } catch {
    return undefined;
  }
}

function layerOf(name: string, virtioId: number): DeviceLayer<never> {
  const layers: Readonly<Record<string, DeviceLayer<never>>> = {
    'virtio-blk': blk as DeviceLayer<never>,
    'virtio-net': net as DeviceLayer<never>,
  };
  return layers[name] ?? (opaqueDevice(name, virtioId) as DeviceLayer<never>);
}

/** Offset of the first byte that differs, -1 if there is none. */
export function firstDifference(a: Uint8Array, b: Uint8Array): number {
  if (a.length !== b.length) return Math.min(a.length, b.length);
  return a.findIndex((byte, i) => byte !== b[i]);
}

const ram = new Uint8Array(RAM_BYTES);

/**
 * Memory that holds the rings. RAM is not in most streams: its avail and used index are made so that all chains that were
 * taken are either given back or among the saved requests.
 */
export function memoryFor({ state }: SavedDevice): MappedMemory {
  const memory = new MappedMemory([{ gpa: 0, bytes: ram }]);
  const modern = isModern(negotiated(state));
  state.queues.forEach(({ num, desc, lastAvailIdx }, index) => {
    if (desc === 0n) return;
    const rings = state.subsections.virtqueues?.[index];
    const avail = modern ? (rings?.avail ?? 0n) : desc + 16n * BigInt(num);
    const used = modern ? (rings?.used ?? 0n) : ((avail + 4n + 2n * BigInt(num) + 4095n) / 4096n) * 4096n;
    const requests = (state.device as { requests?: { queue?: number }[] }).requests ?? [];
    const inFlight = requests.filter(({ queue: of = 0 }) => of === index).length;
    memory.writeU16((Number(avail) + 2) as Gpa, lastAvailIdx, modern);
    memory.writeU16((Number(used) + 2) as Gpa, (lastAvailIdx - inFlight) & 0xffff, modern);
  });
  return memory;
}
