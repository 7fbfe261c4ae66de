import { hasFeature, negotiated, type VirtioState } from '@virtkit/core';
import type { FeatureKind } from './control.ts';
import { switchOf } from './destination/numbers.ts';
import { machineVersion } from './machines.ts';
import type { Target } from './target.ts';
import { compareVersion } from './versions.ts';

const CARD_CONTROL = 64;
const BALLOON = 128;
const BALLOON_REPORTS = 32;
/** Of a balloon: bits of the features with a queue of their own. */
const [FREE_PAGE_HINT, REPORTING] = [3, 5];
/** Where it is not known: as large as a queue can be. */
const LARGEST = 1024;

/** Sizes that QEMU makes queues with, by the queue's index; the last is for all that follow. */
const SIZES: Readonly<Partial<Record<FeatureKind, readonly number[]>>> = {
  'virtio-console': [128, 128, 32, 32, 128],
  'virtio-rng': [8],
  'virtio-gpu': [64, 16],
  'virtio-input': [64],
  'virtio-iommu': [256],
  'virtio-mem': [128],
  'virtio-9p': [128],
  'virtio-vhost_vsock': [128],
};

/** Ring size that the target creates a queue with: what the caller says, else QEMU's default. */
export function createdSize(
  kind: FeatureKind,
  index: number,
  state: VirtioState,
  target: Target,
  machine: string,
): number {
  const count = state.queues.length;
  const said = Number(target.properties.get(sizeProperty(kind, index, count) ?? ''));
  if (said > 0) return said;
  switch (kind) {
    case 'virtio-net':
      return index === count - 1 ? CARD_CONTROL : 256;
    case 'virtio-blk':
    case 'virtio-scsi': {
      const version = machineVersion(machine)?.version;
      return version !== undefined && compareVersion(version, '4.2') <= 0 ? 128 : 256;
    }
    case 'virtio-balloon':
      return balloonSize(index, state, target);
    default:
      return SIZES[kind]?.[index] ?? SIZES[kind]?.at(-1) ?? LARGEST;
  }
}

/**
 * Inflate, deflate and statistics; then hints (of the largest size) and reports, each if it is offered. Of a fourth queue that
 * no driver knows, only a QEMU that makes all queues alike leaves open which it is: the smaller size fits both.
 */
function balloonSize(index: number, state: VirtioState, { properties }: Target): number {
  if (index < 3) return BALLOON;
  if (index === 4) return BALLOON_REPORTS;
  const features = negotiated(state);
  if (hasFeature(features, FREE_PAGE_HINT) || state.queues.length > 4) return LARGEST;
  if (hasFeature(features, REPORTING)) return BALLOON_REPORTS;
  const alike = (state.queues[0]?.num ?? 0) > BALLOON;
  return alike && switchOf(properties.get('free-page-hint')) !== true ? BALLOON_REPORTS : LARGEST;
}

/** The property that decides; a card's control queue has none. */
export function sizeProperty(kind: FeatureKind, index: number, count: number): string | undefined {
  if (kind === 'virtio-blk') return 'queue-size';
  if (kind === 'virtio-scsi') return 'virtqueue_size';
  if (kind !== 'virtio-net' || index === count - 1) return undefined;
  return index % 2 === 0 ? 'rx_queue_size' : 'tx_queue_size';
}
