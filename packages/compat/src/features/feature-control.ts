import { type FeatureNames, transportFeatures } from '@virtkit/core';
import {
  ALWAYS_OFFERED,
  DEFAULT_CHANGED,
  type DeviceType,
  type FeatureControl,
  type FeatureTable,
} from '@virtkit/core/qemu';
import { deviceTypes } from '../device-types.ts';

const RING = 'Virtio 1.3 §6';

/** Table of who decides over the features that belong to no device type. */
const transport: FeatureTable = {
  24: { property: 'notify_on_empty', spec: 'Virtio 1.3 §6.3 (legacy)' },
  27: { property: 'any_layout', machine: DEFAULT_CHANGED.any_layout, spec: 'Virtio 1.3 §6.3 (legacy)' },
  28: { property: 'indirect_desc', spec: RING },
  29: { property: 'event_idx', spec: RING },
  30: { needs: 'PCI: always offered', spec: 'legacy drivers acknowledge it by mistake' },
  32: {
    property: 'disable-modern (PCI), max_revision (ccw), force-legacy (MMIO)',
    machine: DEFAULT_CHANGED['disable-modern'],
    spec: RING,
  },
  33: { property: 'iommu_platform', needs: 'a modern-only device', spec: RING },
  34: { property: 'packed', qemu: '4.2', spec: RING },
  35: { property: 'in_order', qemu: '10.0', spec: RING },
  38: { property: 'notification_data', qemu: '9.1', spec: RING },
  40: { property: 'queue_reset', machine: DEFAULT_CHANGED.queue_reset, qemu: '7.2', spec: RING },
};

/**
 * Finds what decides over one feature of a device; without a type, of any device. Bits that nobody named have the name
 * `bit N`.
 */
export function featureControl(bit: number, type?: DeviceType): FeatureControl {
  const names: FeatureNames = type?.layer.features ?? {};
  const row = type?.features[bit] ?? transport[bit];
  const name = names[bit] ?? transportFeatures[bit] ?? `bit ${bit}`;
  return { bit, name, ...(row ?? { spec: 'not in the specification that virtkit knows' }) };
}

/** Lists the bits of a set, lowest first. */
export function bitsOf(features: bigint): number[] {
  const bits: number[] = [];
  for (let bit = 0, left = features; left !== 0n; bit++, left >>= 1n) if ((left & 1n) === 1n) bits.push(bit);
  return bits;
}

/** Does a set of offered features lack one that devices with this table always offer? */
function lacksConstant(table: FeatureTable, offered: bigint): boolean {
  return Object.entries(table).some(
    ([bit, { needs, qemu }]) =>
      needs === ALWAYS_OFFERED && qemu === undefined && ((offered >> BigInt(bit)) & 1n) === 0n,
  );
}

/**
 * Finds the device type that has such features, told by bits that only one type has and by those that one always
 * offers. Undefined where it may be several, or none.
 */
export function guessDevice(
  negotiated: bigint,
  offered?: bigint,
  types: readonly DeviceType[] = deviceTypes,
): DeviceType | undefined {
  const bits = bitsOf(negotiated | (offered ?? 0n)).filter((bit) => !(bit in transport));
  const fitting = types.filter(
    ({ features }) =>
      bits.every((bit) => bit in features) && !(offered !== undefined && lacksConstant(features, offered)),
  );
  return fitting.length === 1 ? fitting[0] : undefined;
}
