import {
  opaqueDevice,
  type TransportLayer,
  type TransportParts,
  type VirtioCodec,
  type VirtioState,
  virtioDevice,
} from '@virtkit/core';
import {
  type Field,
  inside,
  isStateError,
  Reader,
  StateError,
  Trace,
  type TraceNode,
} from '@virtkit/vmstate';
import type { SectionHeader } from './events.ts';
import type { StreamSection } from './model.ts';
import type { SectionJudge } from './parser-options.ts';
import { declarationOf, type Registry, splitIdstr } from './registry.ts';
import type { DescVmsd } from './vmdesc-model.ts';

/** Virtio device found in a stream. */
export interface VirtioDevice {
  /** Section that holds the device. */
  readonly section: StreamSection;
  /** Device path of the section's name, such as `0000:00:02.0`; empty for machines that write none. */
  readonly path: string;
  /** The last part of the section's name: `virtio-blk`. */
  readonly name: string;
  /** Codec that reads and writes the section's body. */
  readonly codec: VirtioCodec<TransportParts, unknown>;
  /** False if the device type is not registered: its own part is bytes. */
  readonly known: boolean;
}

/**
 * Looks whether a section is a virtio device. Its bytes tell: a transport that finds its identity in them is certain;
 * MMIO has none, and is believed if the section's name says virtio, or the stream's vmdesc.
 */
export function findVirtio(section: StreamSection, registry: Registry): VirtioDevice | undefined {
  const { path, name } = splitIdstr(section.header.idstr);
  const registered = registry.devices.find((device) => device.name === name);
  // the vmdesc can confirm what bytes and name leave open, and deny nothing: QEMU does not read it
  const looksVirtio =
    registered !== undefined || path.startsWith('virtio-mmio@') || describesVirtio(section.description);
  const input = new Reader(section.body);
  let best: { readonly transport: TransportLayer; readonly virtioId: number | undefined } | undefined;
  for (const transport of registry.transports) {
    const found = transport.recognize(input);
    if (found === undefined || (found.confidence === 'possible' && (!looksVirtio || best !== undefined)))
      continue;
    best = { transport, virtioId: found.virtioId };
    if (found.confidence === 'certain') break;
  }
  if (best === undefined) return undefined;
  const device = registered ?? opaqueDevice(name, best.virtioId);
  return {
    section,
    path,
    name,
    codec: virtioDevice(best.transport, device),
    known: registered !== undefined,
  };
}

function describesVirtio(description: DescVmsd | undefined): boolean {
  return description?.fields?.some(({ type }) => type === 'virtio') === true;
}

/** State of a virtio device, with where each field lies in the stream. */
export interface DecodedVirtio {
  /** Device as it was found in the stream. */
  readonly device: VirtioDevice;
  /** Decoded state of the device. */
  readonly state: VirtioState;
  /** Root of the fields; offsets are of the stream. */
  readonly root: TraceNode;
}

/** Decodes a device's state with the place of each field. @throws StateError with the device in front of the path */
export function decodeVirtio(device: VirtioDevice): DecodedVirtio {
  const { section } = device;
  const trace = new Trace(titleOf(device), section.offset);
  const state = decodeVirtioState(device, trace);
  trace.root.end = section.offset + section.body.length;
  return { device, state, root: trace.root };
}

/**
 * Decodes a device's state without the place of each field, which costs less time.
 * @throws StateError with the device in front of the path
 */
export function decodeVirtioState(device: VirtioDevice, trace?: Trace): VirtioState {
  const { section, codec } = device;
  return inside(`${titleOf(device)} / `, undefined, () => {
    const { versionId, offset } = section.header;
    const { version, minimum } = codec.device;
    if (versionId < minimum || versionId > version) {
      const known = minimum === version ? `${version}` : `${minimum} to ${version}`;
      throw new StateError(
        'version',
        `section version ${versionId}, known: ${known}`,
        { version: versionId, minimum, maximum: version },
        { layer: 'device', path: 'versionId', offset: offset + 6 + section.header.idstr.length + 4 },
      );
    }
    return codec.decode(section.body, section.offset, trace === undefined ? {} : { trace });
  });
}

/** Makes the title of a device in messages: `virtio-blk@0000:00:02.0`. */
export function titleOf({ name, path }: Pick<VirtioDevice, 'name' | 'path'>): string {
  return path === '' ? name : `${name}@${path}`;
}

/** Finds the lengths that a section's body can have, by the registry; see `ParserOptions.lengths`. */
export function lengthsOf(
  header: SectionHeader,
  body: Uint8Array,
  registry: Registry,
): readonly number[] | undefined {
  const declared = declarationOf(header.idstr, registry);
  if (declared !== undefined) {
    const length = lengthOf(declared, body);
    return length === undefined ? [] : [length];
  }
  const device = findVirtio({ header, body, offset: 0 }, registry);
  return device?.known === true ? device.codec.lengths(body) : undefined;
}

function lengthOf(field: Field<unknown>, body: Uint8Array): number | undefined {
  const input = new Reader(body);
  try {
    field.decode(input, undefined);
    return input.offset;
  } catch (error) {
    if (isStateError(error)) return undefined;
    throw error;
  }
}

/**
 * Answers {@link import('./parser-options.ts').ParserOptions.accepts} for the sections in a registry, and how long they are: their ends do not
 * depend on what guests have written into them, nor on what the vmdesc says.
 */
export function acceptVirtio(registry: Registry): SectionJudge {
  const accepts = (header: SectionHeader, body: Uint8Array): boolean | undefined => {
    const device = findVirtio({ header, body, offset: 0 }, registry);
    if (device?.known !== true) return undefined;
    try {
      device.codec.decode(body);
      return true;
    } catch {
      return false;
    }
  };
  return Object.assign(accepts, {
    lengths: (header: SectionHeader, bytes: Uint8Array) => lengthsOf(header, bytes, registry),
  });
}
