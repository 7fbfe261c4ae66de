import { nameFeatures, nameStatus, negotiated, virtioDevice } from '@virtkit/core';
import { type BlkState, blk } from '@virtkit/device-blk';
import { type NetState, net } from '@virtkit/device-net';
import { showValue } from '@virtkit/migration';
import { pci } from '@virtkit/transport-pci';
import { nameIn, Trace, type TraceNode } from '@virtkit/vmstate';
import type { DeviceReport, FieldLine } from '../protocol.ts';

const CODECS = { 'virtio-blk': virtioDevice(pci, blk), 'virtio-net': virtioDevice(pci, net) };

/** Longer lists are shown by their length: the VLAN filter has 128 numbers. */
const LIST_MAX = 8;

/** Reads a device's state out of the bytes that move, and names what is in them. */
export function describe(name: string, bytes: Uint8Array): DeviceReport {
  const codec = name === 'virtio-blk' ? CODECS['virtio-blk'] : CODECS['virtio-net'];
  const trace = new Trace();
  const state = codec.decode(bytes, 0, { trace });
  const features = negotiated(state);
  const names = nameFeatures(features, codec.device.features).map(({ bit, name: known }) =>
    known === undefined ? `bit ${bit}` : known.replace(/^VIRTIO_(?:BLK_F_|NET_F_|F_|RING_F_)?/, ''),
  );
  const inFlight = requestsOf(state.device);
  return {
    name,
    bytes: bytes.length,
    inFlight,
    fields: [
      { name: 'status', value: nameStatus(state.status).join(' · ') },
      { name: 'features', value: names.join(' · ') },
      ...foremost(fieldsOf(trace.root)),
    ],
  };
}

/** Queues and what the device itself has to say first; then the rest, as it stands in the bytes. */
function foremost(lines: readonly FieldLine[]): FieldLine[] {
  const first = ({ name }: FieldLine): boolean => /^(queues|device)\b/.test(name);
  return [...lines.filter(first), ...lines.filter((line) => !first(line))];
}

function requestsOf(device: BlkState | NetState): number {
  return 'requests' in device ? device.requests.length : 0;
}

function fieldsOf(root: TraceNode, path = ''): FieldLine[] {
  return root.children.flatMap((child): FieldLine[] => {
    const here = nameIn(path, child);
    const items = child.children;
    if (items.length > LIST_MAX && items.every(({ children }) => children.length === 0))
      return [{ name: here, value: `${items.length} entries` }];
    if (items.length > 0) return fieldsOf(child, here);
    if (child.value === undefined || child.part === 'count') return [];
    return valuesOf(here, child.value, child.type);
  });
}

/** A field whose value has parts of its own, such as the list of requests, is shown by them. */
function valuesOf(name: string, value: unknown, type = ''): FieldLine[] {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array)
    return [{ name, value: showValue(value, type) || 'none' }];
  const inside = Array.isArray(value)
    ? value.map((item, i) => [`${name}[${i}]`, item] as const)
    : Object.entries(value).map(([key, item]) => [`${name}.${key}`, item] as const);
  if (inside.length === 0) return [{ name, value: 'none' }];
  return inside.flatMap(([path, item]) => valuesOf(path, item));
}
