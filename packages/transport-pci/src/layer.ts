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
  readonly config: PciConfigState;
  readonly queue: PciQueueState;
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

const VIRTIO_VENDOR = 0x1af4;
const NO_VECTOR = 0xffff;

function recognize(input: Reader): Recognition | undefined {
  if (input.remaining < 4 + 256) return undefined;
  const at = input.offset;
  const { view } = input;
  const device = view.getUint16(at + 6, true);
  if (view.getUint32(at) > 2 || view.getUint16(at + 4, true) !== VIRTIO_VENDOR) return undefined;
  // Virtio 1.3 §4.1.2.1: 0x1040 + device id, or a transitional id and the device id as subsystem
  if (device < 0x1000 || device > 0x107f) return undefined;
  return {
    confidence: 'certain',
    virtioId: device >= 0x1040 ? device - 0x1040 : view.getUint16(at + 4 + 0x2e, true),
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
