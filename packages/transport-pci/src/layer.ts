import {
  type Recognition,
  type Report,
  reportError,
  reportWarning,
  type TransportLayer,
  type VirtioState,
} from '@virtkit/core';
import type { Json, Reader } from '@virtkit/vmstate';
import { describeConfigSpace, msixVectors } from './config-space.ts';
import { DEVICE_ID_MAX, DEVICE_ID_MIN, DEVICE_ID_MODERN, VIRTIO_VENDOR } from './pci-ids.ts';
import {
  type PciConfigState,
  type PciExtraState,
  type PciQueueState,
  pciConfigState,
  pciExtraState,
  pciQueueState,
} from './state.ts';

/** The state types of virtio over PCI. */
export interface PciParts {
  /** What `save_config` writes: configuration space, MSI-X table, the vector of configuration changes. */
  readonly config: PciConfigState;
  /** What `save_queue` writes: the queue's vector. */
  readonly queue: PciQueueState;
  /** What `save_extra_state` writes: the registers of the modern interface. */
  readonly extra: PciExtraState;
}

/** Virtio over PCI: Virtio 1.3 §4.1; QEMU `hw/virtio/virtio-pci.c`. */
export const pci: TransportLayer<PciParts> = {
  contract: 1,
  name: 'pci',
  hasVariableVringAlignment: false,
  recognize,
  config: pciConfigState,
  queue: pciQueueState,
  extraState: pciExtraState,
  check,
  describe,
};

const NO_VECTOR = 0xffff;

/** The version that stands in front of the configuration space: bytes, and the highest that there is. QEMU: `PCIDevice` */
const VERSION_BYTES = 4;
const VERSION_MAX = 2;
/** Bytes of a conventional PCI function's configuration space, and where its ids stand, the vendor's first. */
const CONFIG_BYTES = 256;
const DEVICE_ID = 0x02;
const SUBSYSTEM_ID = 0x2e;

function recognize(input: Reader): Recognition | undefined {
  if (input.remaining < VERSION_BYTES + CONFIG_BYTES) return undefined;
  const at = input.offset;
  const { view } = input;
  const device = view.getUint16(at + VERSION_BYTES + DEVICE_ID, true);
  if (view.getUint32(at) > VERSION_MAX || view.getUint16(at + VERSION_BYTES, true) !== VIRTIO_VENDOR)
    return undefined;
  // Virtio 1.3 §4.1.2.1: 0x1040 + device id, or a transitional id and the device id as subsystem
  if (device < DEVICE_ID_MIN || device > DEVICE_ID_MAX) return undefined;
  return {
    confidence: 'certain',
    virtioId:
      device >= DEVICE_ID_MODERN
        ? device - DEVICE_ID_MODERN
        : view.getUint16(at + VERSION_BYTES + SUBSYSTEM_ID, true),
  };
}

function check(state: VirtioState<PciParts>, report: Report): void {
  const { config, irqState, configVector } = state.transport;
  irqState.forEach((level, index) => {
    if (level > 1) {
      reportError(report, 'irq-state', `transport.irqState[${index}]`, `level ${level}, 0 or 1 expected`, {
        level,
      });
    }
  });
  const vectors = msixVectors(config);
  const checkVector = (vector: number | undefined, path: string): void => {
    if (vector === undefined || vector === NO_VECTOR || vector < vectors) return;
    reportError(report, 'vector', path, `vector ${vector} of ${vectors}`, { vector, vectors });
  };
  checkVector(configVector, 'transport.configVector');
  for (const [index, queue] of state.queues.entries())
    checkVector(queue.transport.vector, `queues[${index}].transport.vector`);
  checkModern(state, report);
}

/** An enabled queue's registers and core's idea of the ring were the same when the driver enabled it. */
function checkModern(state: VirtioState<PciParts>, report: Report): void {
  const vqs = state.subsections.extraState?.modernState?.vqs ?? [];
  vqs.forEach((vq, index) => {
    const queue = state.queues[index];
    const path = `subsections.extraState.modernState.vqs[${index}]`;
    if (vq.enabled && queue === undefined) {
      reportWarning(
        report,
        'queue-absent',
        `${path}.enabled`,
        `queue ${index} is enabled, and the device has ${state.queues.length} queues`,
        { index, queues: state.queues.length },
      );
    } else if (vq.enabled && queue !== undefined && queue.desc !== 0n && vq.desc !== queue.desc) {
      reportWarning(
        report,
        'ring-address',
        `${path}.desc`,
        `descriptor table at 0x${vq.desc.toString(16)} here, at 0x${queue.desc.toString(16)} in the queue`,
        { modern: vq.desc, queue: queue.desc },
      );
    }
  });
}

function describe(state: PciConfigState): Json {
  return { configSpace: describeConfigSpace(state.config) };
}
