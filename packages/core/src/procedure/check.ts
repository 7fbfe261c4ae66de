import { hex } from '@virtkit/vmstate';
import type { Finding, Report } from '../contract/finding.ts';
import type { TransportParts, VirtioState } from '../contract/state.ts';
import { hasFeature, isModern, negotiated } from '../features.ts';
import { reportError, reportWarning } from '../report.ts';
import { FEATURE, ISR, QUEUE_MAX, STATUS } from '../spec.ts';
import type { Identities } from './layers.ts';

/**
 * Finds what the fields of a state promise each other and do not keep: by core's rules, then the transport's, then the
 * device's. Errors are what QEMU refuses or would corrupt its memory over; such a state must not be restored.
 */
export function checkVirtio<T extends TransportParts, D>(
  state: VirtioState<T, D>,
  layers: Identities<T, D>,
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

/** Mask of the slot in a packed ring's `last_avail_idx`; the bit above it is the wrap counter. */
const PACKED_SLOT = 0x7fff;

const KNOWN_STATUS = Object.values(STATUS).reduce((sum, bit) => sum | bit, 0);

function checkCommon(state: VirtioState, features: bigint, report: Report): void {
  const { status, isr, queueSel, guestFeatures } = state;
  if (queueSel >= QUEUE_MAX) {
    reportError(
      report,
      'queue-sel',
      'queueSel',
      `queue ${queueSel} selected, at most ${QUEUE_MAX - 1} allowed`,
      { queueSel, limit: QUEUE_MAX - 1 },
    );
  }
  if ((status & ~KNOWN_STATUS) !== 0) {
    reportWarning(
      report,
      'status',
      'status',
      `${hex(status)} has bits without a meaning: ${hex(status & ~KNOWN_STATUS)}`,
      { status },
    );
  }
  if (isModern(features) && (status & STATUS.DRIVER_OK) !== 0 && (status & STATUS.FEATURES_OK) === 0) {
    reportWarning(
      report,
      'status',
      'status',
      `${hex(status)}: DRIVER_OK without FEATURES_OK though VERSION_1 is negotiated`,
      { status },
    );
  }
  if ((isr & ~(ISR.QUEUE | ISR.CONFIG)) !== 0) {
    reportWarning(report, 'isr', 'isr', `${hex(isr)} has bits other than 1 (queue) and 2 (configuration)`, {
      isr,
    });
  }
  const low = Number(features & 0xffffffffn);
  if (low !== guestFeatures) {
    reportWarning(
      report,
      'features',
      'guestFeatures',
      `${hex(guestFeatures)} here, ${hex(low)} in the low half of virtio/64bit_features`,
      { guestFeatures, features64: low },
    );
  }
}

function checkQueues(state: VirtioState, features: bigint, report: Report): void {
  const packed = hasFeature(features, FEATURE.RING_PACKED);
  state.queues.forEach((queue, index) => {
    const { num, align, desc, lastAvailIdx } = queue;
    const path = `queues[${index}]`;
    if (num > QUEUE_MAX || (num === 0 && desc !== 0n)) {
      reportError(report, 'queue-size', `${path}.num`, `${num} entries, 1 to ${QUEUE_MAX} allowed`, {
        num,
        limit: QUEUE_MAX,
      });
    } else if (!packed && desc !== 0n && (num & (num - 1)) !== 0) {
      // QEMU takes any size from a driver, and works with it
      reportWarning(
        report,
        'queue-size',
        `${path}.num`,
        `${num} entries, and the size of a split ring is a power of two`,
        { num },
      );
    }
    // QEMU takes any alignment from a driver, lays the ring out with it, and loads it
    if (align !== undefined && (align === 0 || (align & (align - 1)) !== 0)) {
      reportWarning(report, 'queue-align', `${path}.align`, `alignment ${align} is not a power of two`, {
        align,
      });
    }
    if (desc === 0n && lastAvailIdx !== 0) {
      reportError(
        report,
        'queue-index',
        `${path}.lastAvailIdx`,
        `index ${lastAvailIdx} in a queue without a descriptor table`,
        { lastAvailIdx, desc },
      );
    }
    if (packed && desc !== 0n && (lastAvailIdx & PACKED_SLOT) >= num) {
      reportWarning(
        report,
        'queue-index',
        `${path}.lastAvailIdx`,
        `slot ${lastAvailIdx} in a packed ring of ${num}`,
        { lastAvailIdx, num },
      );
    }
  });
}

function checkSubsections(state: VirtioState, features: bigint, report: Report): void {
  const { subsections: sub, status, queues } = state;
  const modern = isModern(features);
  if (sub.deviceEndian !== undefined && sub.deviceEndian !== 1 && sub.deviceEndian !== 2) {
    reportError(
      report,
      'device-endian',
      'subsections.deviceEndian',
      `${sub.deviceEndian}, 1 (little) or 2 (big) expected`,
      { deviceEndian: sub.deviceEndian },
    );
  }
  if (modern && sub.virtqueues === undefined && queues.some((queue) => queue.desc !== 0n)) {
    reportError(
      report,
      'missing',
      'subsections.virtqueues',
      'VERSION_1 is negotiated and virtio/virtqueues (avail and used addresses) is missing',
    );
  }
  checkPacked(state, features, report);
  sub.ringsize?.forEach((size, index) => {
    if (size > QUEUE_MAX) {
      reportError(
        report,
        'queue-size',
        `subsections.ringsize[${index}]`,
        `default size ${size}, at most ${QUEUE_MAX} allowed`,
        { size, limit: QUEUE_MAX },
      );
    }
  });
  if (sub.broken === true && modern && (status & STATUS.NEEDS_RESET) === 0) {
    reportWarning(
      report,
      'broken',
      'subsections.broken',
      `the device is broken, and NEEDS_RESET is not set in status ${hex(status)}`,
      { status },
    );
  }
  if (sub.started === true && modern && (status & STATUS.DRIVER_OK) === 0) {
    reportWarning(
      report,
      'started',
      'subsections.started',
      `the device is started, and DRIVER_OK is not set in status ${hex(status)}`,
      { status },
    );
  }
}

function checkPacked(state: VirtioState, features: bigint, report: Report): void {
  if (!hasFeature(features, FEATURE.RING_PACKED)) return;
  const entries = state.subsections.packedVirtqueues;
  if (entries === undefined) {
    reportError(
      report,
      'missing',
      'subsections.packedVirtqueues',
      'RING_PACKED is negotiated and virtio/packed_virtqueues is missing',
    );
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
        reportError(
          report,
          'queue-index',
          `subsections.packedVirtqueues[${index}].${key}`,
          `slot ${value} in a packed ring of ${num}`,
          { [key]: value, num },
        );
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
