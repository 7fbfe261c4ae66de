import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import { findVirtio, readStream } from '@virtkit/migration';
import { pci } from '@virtkit/transport-pci';
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
 * Compares what QEMU saved with what we would save: by field for the message, by byte for the verdict. Then our bytes
 * go back into a fresh device of ours, whose state must be the same again.
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
  const reloaded = ours.reload(bytes);
  if (reloaded === undefined) return undefined;
  const again = codec.toJSON(reloaded);
  const changed = firstDifference(asLoaded(theirs), asLoaded(again), '');
  return changed && { kind: 'state', at, ...changed, where: `reloaded: ${changed.where}` };
}

/**
 * Without what a load computes anew: a legacy driver's rings lie where its descriptor table says, and split rings tell
 * themselves what was used; without MSI-X the interrupt line follows isr. QEMU: `virtio_load`.
 */
function asLoaded(json: Json): Json {
  const { subsections, transport, ...rest } = json as Record<
    'subsections' | 'transport',
    Record<string, Json>
  >;
  const { irqState, ...config } = transport;
  const { virtqueues, packedVirtqueues, ...others } = subsections;
  const has = (bit: bigint): boolean => ((BigInt(String(subsections['features64'] ?? 0)) >> bit) & 1n) === 1n;
  void irqState;
  return {
    ...rest,
    transport: config,
    subsections: {
      ...others,
      ...(has(32n) && virtqueues !== undefined && { virtqueues }),
      ...(has(34n) && packedVirtqueues !== undefined && { packedVirtqueues }),
    },
  };
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
