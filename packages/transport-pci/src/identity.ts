import {
  type Report,
  reportError,
  reportWarning,
  type TransportIdentity,
  type VirtioState,
} from '@virtkit/core/live';
import { msixVectors } from './config-space.ts';
import type { PciParts } from './state.ts';

/** Name and rules of virtio over PCI, without the format of its state. */
export const pciIdentity: TransportIdentity<PciParts> = {
  contract: 1,
  name: 'pci',
  hasVariableVringAlignment: false,
  check,
};

/** Vector number that stands for no vector. Virtio 1.3 §4.1.5.1.3: `VIRTIO_MSI_NO_VECTOR` */
export const NO_VECTOR = 0xffff;

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

/**
 * Checks that an enabled queue's registers and core's idea of the ring are the same, as they were when the driver
 * enabled it.
 */
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
