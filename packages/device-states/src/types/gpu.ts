import type { VirtioState } from '@virtkit/core';
import {
  type Destined,
  type DeviceType,
  numberOf,
  propertyNames,
  refusal,
  type Verdict,
} from '@virtkit/core/qemu';
import type { Json } from '@virtkit/vmstate';
import { gpu } from '../gpu.ts';

const SPEC = 'Virtio 1.3 §5.7.3';
const CLASS_DISPLAY = 0x038000;
const CLASS_VGA = 0x030000;

/** Descriptor of virtio-gpu. */
export const gpuType: DeviceType = {
  layer: gpu,
  features: {
    0: { needs: 'the device virtio-gpu-gl', spec: SPEC },
    1: { property: 'edid', machine: '4.1', spec: SPEC },
    3: { property: 'blob', offByDefault: true, qemu: '6.1', spec: SPEC },
    4: { needs: 'the device virtio-gpu-rutabaga or virtio-gpu-gl', spec: SPEC },
  },
  qemu: {
    enclosedBy: ['virtio-vga'],
    parents: (type) =>
      /^(virtio|vhost-user)-vga/.test(type)
        ? ['virtio-vga-base']
        : /^(virtio|vhost-user)-gpu/.test(type)
          ? ['virtio-gpu-pci-base', 'virtio-gpu-base']
          : [],
    properties: propertyNames('max_outputs edid blob virgl'),
    harmless: propertyNames('xres yres outputs stats max_hostmem hostmem'),
    queueSize: (index) => (index === 0 ? 64 : 16),
    pci: {
      modernOnly: true,
      classes: {
        'virtio-gpu-pci': CLASS_DISPLAY,
        'virtio-gpu-gl-pci': CLASS_DISPLAY,
        'virtio-vga': CLASS_VGA,
        'virtio-vga-gl': CLASS_VGA,
      },
      vectors: ({ complete }, before) => (complete ? 3 : before),
    },
  },
  check: checkOutputs,
  equalFields: { parent_obj: { differs: "The numbers of the GPU's outputs (max_outputs) differ" } },
};

function checkOutputs(_state: VirtioState, { title, making, rest }: Destined): Verdict[] {
  const here = outputsOf(rest);
  const there = numberOf(making.device.properties.get('max_outputs')) ?? (making.complete ? 1 : undefined);
  if (here === undefined || there === undefined || there === here) return [];
  return [
    refusal(
      'gpu-outputs',
      `${title} / rest.scanouts`,
      `${here} outputs in the stream, and ${there} at the target's GPU`,
      {
        qemuSays: `${there.toString(16)} != ${here.toString(16)}`,
        property: 'max_outputs',
        advice: `give the target max_outputs=${here}`,
      },
    ),
  ];
}

/** Number of outputs in what stands behind the `virtio` field; undefined where that cannot be read. */
function outputsOf(rest: Json | undefined): number | undefined {
  if (typeof rest !== 'object' || rest === null || Array.isArray(rest)) return undefined;
  const { scanouts } = rest as Readonly<Record<string, Json>>;
  return Array.isArray(scanouts) ? scanouts.length : undefined;
}
