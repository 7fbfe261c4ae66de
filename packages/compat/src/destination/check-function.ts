import { type Finding, isHostError, MappedMemory, type VirtioState } from '@virtkit/core';
import { memoryDisk } from '@virtkit/device-blk';
import { titleOf, type VirtioDevice } from '@virtkit/migration';
import type { PciParts } from '@virtkit/transport-pci';
import { freshDevice } from '@virtkit/visit';
import type { Verdict } from '../verdict.ts';
import { AnyDevice } from './any-device.ts';
import { impossible, verdictOf } from './check-device.ts';
import { type Making, pciOptionsWith, since, version1 } from './made.ts';
import { numberOf } from './numbers.ts';

/** Offset of the class code in configuration space. */
const CLASS = 0x09;
const CLASS_VGA = 0x030000;

/** Class codes that tell types with the same section apart. */
const CLASSES: Readonly<Record<string, number>> = {
  'virtio-keyboard-pci': 0x090000,
  'virtio-mouse-pci': 0x090200,
  'virtio-tablet-pci': 0x098000,
  'virtio-multitouch-pci': 0x098000,
  'virtio-gpu-pci': 0x038000,
  'virtio-gpu-gl-pci': 0x038000,
  'virtio-vga': CLASS_VGA,
  'virtio-vga-gl': CLASS_VGA,
};

/** Types that no legacy driver can use: they have the modern interface alone. */
const MODERN_ONLY = /^virtio-(gpu|input|iommu|mem|pmem|crypto|sound)$/;

/**
 * What the transport of the target's device says to a state, for types that cannot be made here: one is made around a device that
 * does nothing. What nothing is said of, and no version of QEMU fixes, is as at the source.
 */
export function checkFunction(
  device: VirtioDevice,
  state: VirtioState,
  making: Making,
  queues: number,
): Verdict[] {
  const title = titleOf(device);
  const pciClass = classOf(device, state, making);
  try {
    const live = freshDevice(
      device,
      state,
      { ...AROUND, machine: making.machine, targetEndian: making.endian },
      {
        model: new AnyDevice({ layer: device.codec.device, queueSizes: state.queues.map(() => 1024) }, state),
        pci: (inferred) => {
          const mode = MODERN_ONLY.test(device.name) ? modernOnly(making) : making;
          const vectors = vectorsOf(device, making, inferred.vectors, queues);
          return { ...pciOptionsWith(mode, inferred, vectors), classCode: pciClass };
        },
        ...version1(making.device, making.complete, making.machine),
      },
    );
    return live
      .check(state)
      .filter((finding) => finding.layer === 'transport' && isToldHere(finding, pciClass))
      .map((finding) => verdictOf(title, finding, state, making));
  } catch (error) {
    if (!isHostError(error)) throw error;
    return [impossible(title, error.message, making)];
  }
}

/** A GPU with VGA beside it has its registers elsewhere: of that one, the class is all that is compared. */
function isToldHere({ code, facts }: Finding, pciClass: number): boolean {
  if (code === 'config-space-size' || code === 'modern-state') return true;
  return code === 'config-space' && (pciClass !== CLASS_VGA || isClass(Number(facts['offset'])));
}

function isClass(offset: number): boolean {
  return offset >= CLASS && offset < CLASS + 3;
}

const AROUND = {
  memory: new MappedMemory([{ gpa: 0, bytes: new Uint8Array(4096) }]),
  disk: () => memoryDisk(512),
  network: () => ({ send: () => true }),
};

function modernOnly(making: Making): Making {
  const properties = new Map(making.device.properties)
    .set('disable-legacy', 'on')
    .set('disable-modern', 'off');
  return { ...making, device: { ...making.device, properties } };
}

function classOf({ codec }: VirtioDevice, state: VirtioState, { device: { driver } }: Making): number {
  if (codec.transport.name !== 'pci') return 0;
  const { config } = (state as VirtioState<PciParts>).transport;
  const here = (config[CLASS] ?? 0) | ((config[CLASS + 1] ?? 0) << 8) | ((config[CLASS + 2] ?? 0) << 16);
  return CLASSES[driver] ?? here;
}

/** Interrupt vectors by QEMU's defaults, as `qom-get` of 7.2, 10.0 and 11.1 tells them. */
function vectorsOf(
  { name }: VirtioDevice,
  making: Making,
  before: number | undefined,
  queues: number,
): number | undefined {
  const said = numberOf(making.device.properties.get('vectors'));
  if (said !== undefined) return said;
  if (name === 'virtio-scsi' && (making.complete || making.device.properties.has('num_queues')))
    return queues + 1;
  if (!making.complete) return before;
  switch (name) {
    case 'virtio-rng':
      return since(making, '7.2') ? 2 : 0;
    case 'virtio-console':
    case 'virtio-input':
    case 'virtio-9p':
      return 2;
    case 'virtio-gpu':
      return 3;
    case 'virtio-balloon':
    case 'virtio-mem':
      // it came with one of the versions between
      return since(making, '10.0') ? 2 : since(making, '8.1') ? before : 0;
    default:
      return before;
  }
}
