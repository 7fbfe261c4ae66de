import { hex } from '@virtkit/vmstate';
import type { Finding, Report } from '../contract/finding.ts';
import type { TransportParts, VirtioState } from '../contract/state.ts';
import { hasFeature, isModern, negotiated } from '../features.ts';
import { FEATURE, STATUS } from '../spec.ts';
import { QUEUE_MAX } from '../state/subsections.ts';
import type { Layers } from './layers.ts';

/**
 * What the fields of a state promise each other, and do not keep: core's rules, then the transport's, then the
 * device's. Errors are what QEMU refuses or would corrupt its memory over; the state must not be restored.
 */
export function checkVirtio<T extends TransportParts, D>(
  state: VirtioState<T, D>,
  layers: Layers<T, D>,
): Finding[] {
  const findings: Finding[] = [];
  const to =
    (layer: Finding['layer']): Report =>
    (finding) =>
      findings.push({ ...finding, layer });
  const features = negotiated(state);
  const report = to('core');
  checkCommon(state, features, report);
  checkQueues(state, features, report);
  checkSubsections(state, features, report);
  layers.transport.check?.(state, to('transport'));
  layers.device.check?.(state, to('device'));
  return findings;
}

const KNOWN_STATUS = Object.values(STATUS).reduce((sum, bit) => sum | bit, 0);

function checkCommon(state: VirtioState, features: bigint, report: Report): void {
  const { status, isr, queueSel, guestFeatures } = state;
  if (queueSel >= QUEUE_MAX) {
    report({
      code: 'queue-sel',
      severity: 'error',
      path: 'queueSel',
      reason: `queue ${queueSel} selected, at most ${QUEUE_MAX - 1} allowed`,
      facts: { queueSel, limit: QUEUE_MAX - 1 },
    });
  }
  if ((status & ~KNOWN_STATUS) !== 0) {
    report({
      code: 'status',
      severity: 'warning',
      path: 'status',
      reason: `${hex(status)} has bits without a meaning: ${hex(status & ~KNOWN_STATUS)}`,
      facts: { status },
    });
  }
  if (isModern(features) && (status & STATUS.DRIVER_OK) !== 0 && (status & STATUS.FEATURES_OK) === 0) {
    report({
      code: 'status',
      severity: 'warning',
      path: 'status',
      reason: `${hex(status)}: DRIVER_OK without FEATURES_OK though VERSION_1 is negotiated`,
      facts: { status },
    });
  }
  if (isr > 3) {
    report({
      code: 'isr',
      severity: 'warning',
      path: 'isr',
      reason: `${hex(isr)} has bits other than 1 (queue) and 2 (configuration)`,
      facts: { isr },
    });
  }
  const low = Number(features & 0xffffffffn);
  if (low !== guestFeatures) {
    report({
      code: 'features',
      severity: 'warning',
      path: 'guestFeatures',
      reason: `${hex(guestFeatures)} here, ${hex(low)} in the low half of virtio/64bit_features`,
      facts: { guestFeatures, features64: low },
    });
  }
}

function checkQueues(state: VirtioState, features: bigint, report: Report): void {
  const packed = hasFeature(features, FEATURE.RING_PACKED);
  state.queues.forEach((queue, index) => {
    const { num, align, desc, lastAvailIdx } = queue;
    const path = `queues[${index}]`;
    if (num > QUEUE_MAX || (num === 0 && desc !== 0n)) {
      report({
        code: 'queue-size',
        severity: 'error',
        path: `${path}.num`,
        reason: `${num} entries, 1 to ${QUEUE_MAX} allowed`,
        facts: { num, limit: QUEUE_MAX },
      });
    } else if (!packed && desc !== 0n && (num & (num - 1)) !== 0) {
      // QEMU takes any size from a driver, and works with it
      report({
        code: 'queue-size',
        severity: 'warning',
        path: `${path}.num`,
        reason: `${num} entries, and the size of a split ring is a power of two`,
        facts: { num },
      });
    }
    // QEMU takes any alignment from a driver, lays the ring out with it, and loads it
    if (align !== undefined && (align === 0 || (align & (align - 1)) !== 0)) {
      report({
        code: 'queue-align',
        severity: 'warning',
        path: `${path}.align`,
        reason: `alignment ${align} is not a power of two`,
        facts: { align },
      });
    }
    if (desc === 0n && lastAvailIdx !== 0) {
      report({
        code: 'queue-index',
        severity: 'error',
        path: `${path}.lastAvailIdx`,
        reason: `index ${lastAvailIdx} in a queue without a descriptor table`,
        facts: { lastAvailIdx, desc },
      });
    }
    if (packed && desc !== 0n && (lastAvailIdx & 0x7fff) >= num) {
      report({
        code: 'queue-index',
        severity: 'warning',
        path: `${path}.lastAvailIdx`,
        reason: `slot ${lastAvailIdx} in a packed ring of ${num}`,
        facts: { lastAvailIdx, num },
      });
    }
  });
}

function checkSubsections(state: VirtioState, features: bigint, report: Report): void {
  const { subsections: sub, status, queues } = state;
  const modern = isModern(features);
  if (sub.deviceEndian !== undefined && sub.deviceEndian !== 1 && sub.deviceEndian !== 2) {
    report({
      code: 'device-endian',
      severity: 'error',
      path: 'subsections.deviceEndian',
      reason: `${sub.deviceEndian}, 1 (little) or 2 (big) expected`,
      facts: { deviceEndian: sub.deviceEndian },
    });
  }
  if (modern && sub.virtqueues === undefined && queues.some((queue) => queue.desc !== 0n)) {
    report({
      code: 'missing',
      severity: 'error',
      path: 'subsections.virtqueues',
      reason: 'VERSION_1 is negotiated and virtio/virtqueues (avail and used addresses) is missing',
      facts: {},
    });
  }
  checkPacked(state, features, report);
  sub.ringsize?.forEach((size, index) => {
    if (size > QUEUE_MAX) {
      report({
        code: 'queue-size',
        severity: 'error',
        path: `subsections.ringsize[${index}]`,
        reason: `default size ${size}, at most ${QUEUE_MAX} allowed`,
        facts: { size, limit: QUEUE_MAX },
      });
    }
  });
  if (sub.broken === true && modern && (status & STATUS.NEEDS_RESET) === 0) {
    report({
      code: 'broken',
      severity: 'warning',
      path: 'subsections.broken',
      reason: `the device is broken, and NEEDS_RESET is not set in status ${hex(status)}`,
      facts: { status },
    });
  }
  if (sub.started === true && modern && (status & STATUS.DRIVER_OK) === 0) {
    report({
      code: 'started',
      severity: 'warning',
      path: 'subsections.started',
      reason: `the device is started, and DRIVER_OK is not set in status ${hex(status)}`,
      facts: { status },
    });
  }
}

function checkPacked(state: VirtioState, features: bigint, report: Report): void {
  if (!hasFeature(features, FEATURE.RING_PACKED)) return;
  const entries = state.subsections.packedVirtqueues;
  if (entries === undefined) {
    report({
      code: 'missing',
      severity: 'error',
      path: 'subsections.packedVirtqueues',
      reason: 'RING_PACKED is negotiated and virtio/packed_virtqueues is missing',
      facts: {},
    });
    return;
  }
  state.queues.forEach(({ num, desc }, index) => {
    const entry = entries[index];
    if (entry === undefined || desc === 0n) return;
    for (const [key, value] of [
      ['lastAvailIdx', entry.lastAvailIdx],
      ['usedIdx', entry.usedIdx],
    ] as const) {
      if (value >= num) {
        report({
          code: 'queue-index',
          severity: 'error',
          path: `subsections.packedVirtqueues[${index}].${key}`,
          reason: `slot ${value} in a packed ring of ${num}`,
          facts: { [key]: value, num },
        });
      }
    }
    if (entry.inuse > num) {
      // the last chain may be as long as the ring, and a hostile driver reuses slots that the device has; QEMU loads it
      report({
        code: 'queue-inuse',
        severity: entry.inuse < 2 * num ? 'warning' : 'error',
        path: `subsections.packedVirtqueues[${index}].inuse`,
        reason: `${entry.inuse} slots in use in a packed ring of ${num}`,
        facts: { inuse: entry.inuse, num },
      });
    }
  });
}
