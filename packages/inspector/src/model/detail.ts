// A section in all its fields.
import { nameFeatures, nameStatus, negotiated, STATUS, type VirtioState } from '@virtkit/core';
import {
  type DecodedVirtio,
  describeSection,
  type MigrationStream,
  machineEndian,
  type StreamSection,
  showValue,
} from '@virtkit/migration';
import { type Examined, fieldValue, isSimple, summarizeDevice } from '@virtkit/migration/inspect';
import { hex, type Json, nameIn, snakeCase, type TraceNode } from '@virtkit/vmstate';
import { registry } from './registry.ts';
import type { FeatureRow, FieldNode, Layer, QueueRow, RequestRow, SectionDetail, Segment } from './types.ts';

/** Lists the fields of a section that is no virtio device. */
export function otherDetail(section: StreamSection, number: number): SectionDetail {
  const root = describeSection(section, registry);
  return { section: number, fields: root === undefined ? [] : fieldNodes(root, section) };
}

/** Lists the fields of a virtio device, its features, queues and requests. */
export async function virtioDetail(
  { device }: Examined,
  decoded: DecodedVirtio,
  number: number,
  stream: MigrationStream,
): Promise<SectionDetail> {
  const { state, root } = decoded;
  const guest = machineEndian(stream.configuration?.name ?? '', stream.ram?.blocks);
  const summary = summarizeDevice(decoded, guest);
  const requests = requestsOf(state);
  return {
    section: number,
    fields: fieldNodes(root, device.section),
    virtio: {
      features: await featuresOf(state, device.name, device.codec.device.features),
      queues: queuesOf(state, requests),
      requests,
      config: pairs(summary['configSpace'] ?? null),
      transport: pairs(summary['transport'] ?? null),
    },
  };
}

function fieldNodes(root: TraceNode, section: StreamSection): FieldNode[] {
  return root.children.map((child) => fieldNode(child, '', 'core', section));
}

/** Finds the layer of a field: the transport's and the device's parts have groups of their own, wherever they stand. */
function layerOf({ name }: TraceNode, parent: string, above: Layer): Layer {
  if (name === 'transport' || name === 'extraState') return 'transport';
  if (parent === '' && (name === 'device' || name === 'rest')) return 'device';
  return above;
}

function fieldNode(node: TraceNode, parent: string, above: Layer, section: StreamSection): FieldNode {
  const path = nameIn(parent, node);
  const layer = layerOf(node, parent, above);
  const group = !isSimple(node);
  const wire = wireName(node);
  const means = meaningOf(path, node);
  return {
    path,
    name: node.name,
    ...(wire !== undefined && { wire }),
    type: node.type,
    start: node.start,
    end: node.end,
    ...(!group && { value: shownOf(node, section) }),
    ...(means !== undefined && { means }),
    layer,
    children: group ? node.children.map((child) => fieldNode(child, path, layer, section)) : [],
  };
}

/** Finds QEMU's name of a field, where it is not the same in another spelling. */
function wireName({ name, wire }: TraceNode): string | undefined {
  return wire === '' || name.startsWith('[') || wire === name || wire === snakeCase(name) ? undefined : wire;
}

/** Largest number of elements that are shown one by one: more are better shown as bytes. */
const LIST_MAX = 16;

function shownOf(node: TraceNode, { body, offset }: StreamSection): string {
  if (node.type === 'absent') return `${node.end - node.start} bytes, as in unused entries`;
  const value = fieldValue(node);
  const asBytes =
    value === undefined || value instanceof Uint8Array || (Array.isArray(value) && value.length > LIST_MAX);
  if (asBytes) return showValue(body.subarray(node.start - offset, node.end - offset));
  if (typeof value === 'object' && value !== null)
    return JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? hex(item) : item));
  return showValue(value, node.type);
}

/** Says what the number of a field stands for. */
function meaningOf(path: string, { value, wire }: TraceNode): string | undefined {
  if (path === 'status' && typeof value === 'number') return nameStatus(value).join(' ');
  if (path === 'isr' && typeof value === 'number')
    return [...(value & 1 ? ['queue'] : []), ...(value & 2 ? ['configuration'] : [])].join(' ');
  if (path === 'subsections.deviceEndian') return ['unknown', 'little', 'big'][Number(value)];
  if (/vector$/i.test(wire === '' ? path : wire) && value === 0xffff) return 'none';
  return undefined;
}

async function featuresOf(
  state: VirtioState,
  name: string,
  names: Readonly<Record<number, string>>,
): Promise<FeatureRow[]> {
  // what decides over features comes with what checks streams: it is loaded when a device is looked at
  const { deviceTypes, featureControl } = await import('@virtkit/compat');
  const type = deviceTypes.find(({ layer }) => layer.name === name);
  return nameFeatures(negotiated(state), names).map(({ bit, name: said }) => {
    const { property, machine, needs, spec } = featureControl(bit, type);
    return {
      bit,
      ...(said !== undefined && { name: said, spec }),
      ...(property !== undefined && { property }),
      ...(machine !== undefined && { machine }),
      ...(needs !== undefined && { needs }),
    };
  });
}

/** Fields in which requests of all device types look alike. */
interface SavedRequest {
  readonly queue?: number;
  readonly element: {
    readonly index: number;
    readonly out: readonly SavedSegment[];
    readonly in: readonly SavedSegment[];
  };
}

interface SavedSegment {
  readonly addr: bigint;
  readonly len: bigint;
}

/** Lists the requests that a device had taken and not answered. */
export function requestsOf(state: VirtioState): RequestRow[] {
  const { requests = [] } = state.device as { readonly requests?: readonly SavedRequest[] };
  const segment = ({ addr, len }: SavedSegment, writable: boolean): Segment => ({
    address: hex(addr),
    bytes: Number(len),
    writable,
  });
  return requests.map(({ queue = 0, element }) => ({
    queue,
    head: element.index,
    segments: [
      ...element.out.map((each) => segment(each, false)),
      ...element.in.map((each) => segment(each, true)),
    ],
  }));
}

function queuesOf({ queues, subsections, status }: VirtioState, requests: readonly RequestRow[]): QueueRow[] {
  const packed = subsections.packedVirtqueues;
  return queues.map(({ num, desc, lastAvailIdx, transport }, index) => {
    const addresses = subsections.virtqueues?.[index];
    const slot = packed?.[index];
    const { vector } = transport as { readonly vector?: number };
    const isReady = desc !== 0n && (status & STATUS.DRIVER) !== 0;
    return {
      index,
      size: num,
      ...(desc !== 0n && { desc: hex(desc) }),
      ...(isReady && addresses !== undefined && { avail: hex(addresses.avail), used: hex(addresses.used) }),
      ring: packed === undefined ? 'split' : 'packed',
      lastAvail: slot?.lastAvailIdx ?? lastAvailIdx,
      ...(packed !== undefined && { usedIndex: slot?.usedIdx ?? 0, inUse: slot?.inuse ?? 0 }),
      ...(vector !== undefined && vector !== 0xffff && { vector }),
      inFlight: requests.filter(({ queue }) => queue === index).map(({ head }) => head),
    };
  });
}

/** Lists JSON as names and values: what is nested has its names joined. */
function pairs(json: Json, at = ''): (readonly [string, string])[] {
  if (typeof json !== 'object' || json === null) return json === null ? [] : [[at, String(json)]];
  const flat = JSON.stringify(json);
  if (at !== '' && (Array.isArray(json) ? flat.length < 60 : flat.length < 3)) return [[at, flat]];
  return Object.entries(json).flatMap(([name, value]) =>
    pairs(value as Json, at === '' ? name : Array.isArray(json) ? `${at}[${name}]` : `${at}.${name}`),
  );
}
