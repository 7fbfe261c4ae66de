import { type VirtioCodec, virtioDevice } from '@virtkit/core';
import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import { decodeVirtio, findVirtio, readStream } from '@virtkit/migration';
import { type PciParts, pci } from '@virtkit/transport-pci';
import type { Json } from '@virtkit/vmstate';
import type { Difference } from './difference.ts';
import type { OurMachine } from './our-machine.ts';

const REGISTRY = { transports: [pci], devices: [blk, net] };

/** The body of the virtio section of a QEMU's stream. */
export async function virtioBody(stream: Uint8Array): Promise<Uint8Array> {
  const { sections } = await readStream(stream);
  for (const section of sections) {
    const device = findVirtio(section, REGISTRY);
    if (device !== undefined) return device.section.body;
  }
  throw new Error('no virtio device in the stream');
}

/**
 * What QEMU saved against what we would save: by field for the message, by byte for the verdict. Then our bytes go back into a fresh
 * device of ours, whose state must be the same again.
 */
export async function compareState(
  stream: Uint8Array,
  ours: OurMachine,
  at: number,
): Promise<Difference | undefined> {
  const body = await virtioBody(stream);
  const codec = ours.codec;
  const theirs = codec.toJSON(codec.load(body));
  const state = ours.live.capture();
  const found = firstDifference(theirs, codec.toJSON(state), '');
  if (found !== undefined) return { kind: 'state', at, ...found };
  const bytes = codec.encode(state);
  const first = body.findIndex((byte, i) => byte !== bytes[i]);
  if (first >= 0 || body.length !== bytes.length) {
    return {
      kind: 'state',
      at,
      qemu: `${body.length} bytes`,
      ours: `${bytes.length} bytes`,
      where: `encoded, at byte ${first}`,
    };
  }
  const again = ours.reload(bytes);
  const changed = firstDifference(theirs, codec.toJSON(again), '');
  return changed && { kind: 'state', at, ...changed, where: `reloaded: ${changed.where}` };
}

function firstDifference(
  qemu: Json | undefined,
  ours: Json | undefined,
  path: string,
): { qemu: string; ours: string; where: string } | undefined {
  if (typeof qemu === 'object' && qemu !== null && typeof ours === 'object' && ours !== null) {
    const [a, b] = [qemu as Record<string, Json>, ours as Record<string, Json>];
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
      const found = firstDifference(a[key], b[key], path === '' ? key : `${path}.${key}`);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  if (qemu === ours) return undefined;
  return { qemu: show(qemu), ours: show(ours), where: path };
}

function show(value: Json | undefined): string {
  return value === undefined ? 'absent' : JSON.stringify(value);
}

export function codecFor(device: 'blk' | 'net'): VirtioCodec<PciParts, unknown> {
  const codec = device === 'blk' ? virtioDevice(pci, blk) : virtioDevice(pci, net);
  return codec as unknown as VirtioCodec<PciParts, unknown>;
}
