import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { type Endian, type Gpa, isModern, MappedMemory, negotiated, type VirtioState } from '@virtkit/core';
import { type ConnectedType, connect } from '@virtkit/core/qemu';
import { type BlkBackend, type BlkOptions, type BlkState, blk } from '@virtkit/device-blk';
import { blkType } from '@virtkit/device-blk/type';
import type { ConsoleState } from '@virtkit/device-console';
import { type NetBackend, net } from '@virtkit/device-net';
import { netType } from '@virtkit/device-net/type';
import { pageRuns } from '@virtkit/lab';
import { type DecodedVirtio, decodeVirtio, findVirtio, parseStream, type Registry } from '@virtkit/migration';
import { ccw, s390Css } from '@virtkit/transport-ccw';
import { mmio } from '@virtkit/transport-mmio';
import { pci } from '@virtkit/transport-pci';

export const registry: Registry = {
  transports: [pci, ccw, mmio],
  devices: [net, blk],
  sections: { s390_css: s390Css },
};

/** Disks and cards, with what is behind them. */
export function connected(
  disk: (title: string) => BlkBackend,
  network: (title: string) => NetBackend = () => ({ send: () => true }),
  options: Partial<BlkOptions> = {},
): readonly ConnectedType[] {
  return [
    connect(blkType).to((title, inferred) => ({ ...inferred, backend: disk(title), ...options })),
    connect(netType).to((title, inferred) => ({ ...inferred, backend: network(title) })),
  ];
}

const corpus = new URL('../../lab/streams/', import.meta.url);
const RAM_BYTES = 512 << 20;

/** `7.2.22/q72-pc-idle` of every stream. */
export function streamNames(): string[] {
  return readdirSync(corpus).flatMap((version) =>
    readdirSync(new URL(`${version}/`, corpus))
      .filter((file) => file.endsWith('.mig.gz'))
      .map((file) => `${version}/${file.slice(0, -'.mig.gz'.length)}`),
  );
}

/** The devices of a stream that are of known types, disks and network cards by default, with its machine. */
export function devicesOf(
  name: string,
  known: Registry = registry,
): { machine: string; endian: Endian; devices: DecodedVirtio[] } {
  const read = (suffix: string): Buffer => readFileSync(new URL(`${name}${suffix}`, corpus));
  const stream = parseStream(gunzipSync(read('.mig.gz')));
  const info = JSON.parse(read('.json').toString()) as { machine: string; arch: string };
  const devices = stream.sections.flatMap((section) => {
    const device = findVirtio(section, known);
    return device?.known === true ? [decodeVirtio(device)] : [];
  });
  const endian = /^(ppc64|m68k|s390)/.test(info.arch) ? 'big' : 'little';
  return { machine: stream.configuration?.name ?? info.machine, endian, devices };
}

const ram = new Uint8Array(RAM_BYTES);

/**
 * Memory that holds the rings of a state. RAM is not in most streams: the indices are made so that all chains that were taken
 * are either given back or among the saved requests.
 */
export function memoryFor(state: VirtioState, endian: Endian): MappedMemory {
  const modern = isModern(negotiated(state));
  const { deviceEndian } = state.subsections;
  const little = modern || (deviceEndian === undefined ? endian === 'little' : deviceEndian === 1);
  const places = state.queues.map(({ num, desc, align = 4096 }, index) => {
    const rings = state.subsections.virtqueues?.[index];
    const avail = modern ? (rings?.avail ?? 0n) : desc + 16n * BigInt(num);
    const end = avail + 4n + 2n * BigInt(num) + BigInt(align - 1);
    return { desc, avail, used: modern ? (rings?.used ?? 0n) : end - (end % BigInt(align)) };
  });
  // behind an IOMMU, and on machines with RAM elsewhere, the pages around the rings will do
  const pages = new Set<number>();
  for (const { desc, avail, used } of places)
    for (const at of [desc, avail, used])
      if (at >= BigInt(RAM_BYTES)) for (let page = 0; page < 6; page++) pages.add(Number(at / 4096n) + page);
  const memory = new MappedMemory([
    { gpa: 0, bytes: ram },
    ...pageRuns(pages).map(({ first, count }) => ({
      gpa: first * 4096,
      bytes: new Uint8Array(count * 4096),
    })),
  ]);
  const { requests } = state.device as Partial<BlkState>;
  const { ports } = state.device as Partial<ConsoleState>;
  places.forEach(({ desc, avail, used }, index) => {
    if (desc === 0n) return;
    const taken = state.queues[index]?.lastAvailIdx ?? 0;
    const halfWritten = (ports ?? []).filter(
      ({ id, buffer }) => buffer !== null && index === (id === 0 ? 1 : 2 * id + 3),
    );
    const inFlight = halfWritten.length + (requests ?? []).filter(({ queue = 0 }) => queue === index).length;
    memory.writeU16((Number(avail) + 2) as Gpa, taken, little);
    memory.writeU16((Number(used) + 2) as Gpa, (taken - inFlight) & 0xffff, little);
  });
  return memory;
}
