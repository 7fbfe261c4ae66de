import type { TransportParts, VirtioState } from '@virtkit/core';
import {
  ALWAYS_OFFERED,
  bytesOf,
  type Destined,
  type DeviceType,
  group,
  numberOf,
  propertyNames,
  refusal,
  type Verdict,
} from '@virtkit/core/qemu';
import { hex, Reader } from '@virtkit/vmstate';
import { type MemState, mem, memEarlyState } from '../mem.ts';
import { vectorsSince } from './balloon.ts';

const SPEC = 'Virtio 1.3 §5.15.3';
/**
 * Name of the section in front of the RAM, in which machines from QEMU 8.0 on have what does not change while the guest
 * runs.
 */
const EARLY = 'virtio-mem-device-early';

/** Descriptor of virtio-mem. */
export const memType: DeviceType<MemState> = {
  layer: mem,
  sections: { [EARLY]: memEarlyState },
  features: {
    0: { needs: 'a machine with NUMA nodes in ACPI', spec: SPEC },
    1: { property: 'unplugged-inaccessible', machine: '7.0', qemu: '7.0', spec: SPEC },
    2: { qemu: '9.2', needs: ALWAYS_OFFERED, spec: SPEC },
  },
  qemu: {
    busType: 'virtio-mem',
    properties: propertyNames('block-size node memaddr'),
    harmless: propertyNames('prealloc requested-size dynamic-memslots unplugged-inaccessible'),
    queueSize: () => 128,
    pci: { modernOnly: true, vectors: vectorsSince },
  },
  check: checkConstants,
  messages: [
    {
      pattern: /Property '([\w-]+)' (size )?changed from (\w+) to (\w+)/,
      explain: (match) => {
        const [property, source, destination] = [group(match, 1), group(match, 3), group(match, 4)];
        const what = `${property}${group(match, 2) === '' ? '' : "'s size"}`;
        return {
          code: 'memory-device',
          role: 'cause',
          meaning: `The virtio-mem device is another one: its ${what} is ${source} in the stream, and ${destination} at the destination.`,
          advice: [`Give the destination the same ${property} (and the memory backend the same size).`],
          facts: { property, stream: source, local: destination },
        };
      },
    },
  ],
};

/** Checks that what does not change while the guest runs is the same. */
function checkConstants(
  { device }: VirtioState<TransportParts, MemState>,
  { title, making, sectionOf }: Destined,
): Verdict[] {
  const early = sectionOf(EARLY);
  const { blockSize, node, addr } =
    early === undefined ? device : memEarlyState.decode(new Reader(early), undefined);
  const { properties } = making.device;
  const values: readonly (readonly [string, bigint | undefined, number | undefined])[] = [
    ['block-size', blockSize, bytesOf(properties.get('block-size'), 'b')],
    ['node', node === undefined ? undefined : BigInt(node), numberOf(properties.get('node'))],
    ['memaddr', addr, numberOf(properties.get('memaddr'))],
  ];
  return values.flatMap(([property, here, there]) => {
    if (here === undefined || there === undefined || here === BigInt(there)) return [];
    const [received, local] = property === 'node' ? [here, there] : [hex(here), hex(there)];
    return refusal(
      'memory-device',
      `${title} / device`,
      `${property} is ${received} in the stream, and ${local} at the target`,
      {
        qemuSays: `Property '${property}' changed from ${received} to ${local}`,
        property,
        spec: 'Virtio 1.3 §5.15',
        advice: `give the target ${property}=${received}`,
      },
    );
  });
}
