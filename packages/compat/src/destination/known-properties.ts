import { type DeviceType, propertyNames } from '@virtkit/core/qemu';
import { deviceTypes } from '../device-types.ts';

/** Properties of every virtio device that decide something in a load, and are looked at. */
const COMMON = propertyNames(
  'addr bus devno id vectors disable-legacy disable-modern modern-pio-notify page-per-vq multifunction aer ats class',
  'iommu_platform packed event_idx indirect_desc in_order notification_data queue_reset notify_on_empty any_layout',
  'max_revision force-legacy romfile rombar x-disable-pcie nr',
);

/**
 * Properties that decide nothing in a load, of every virtio device and of types whose features are not known: how the host does its
 * work, what the guest reads of it, where it boots from.
 */
const HARMLESS = propertyNames(
  'acpi-index bootindex busnr failover_pair_id romsize virtio-backend ioeventfd iothread x-max-bounce-buffer-size',
  'x-pcie-lnksta-dllla dev_id subch_id x-disable-legacy-check use-disabled-flag',
  'memdev size cryptodev audiodev chmaps jacks streams chardev tag num-request-queues cache-size',
);

function isKnown({ qemu }: DeviceType, property: string): boolean {
  return qemu.properties?.has(property) === true || qemu.harmless?.has(property) === true;
}

/** Is it known what a property of this name means for a load, in any device? */
export function isLookedAt(property: string, types: readonly DeviceType[] = deviceTypes): boolean {
  return COMMON.has(property) || HARMLESS.has(property) || types.some((type) => isKnown(type, property));
}

/** Is it known what the property means in a device of this type? What is harmless in one is so in all. */
export function isLookedAtIn(
  type: DeviceType | undefined,
  types: readonly DeviceType[],
  property: string,
): boolean {
  return (
    COMMON.has(property) ||
    HARMLESS.has(property) ||
    type?.qemu.properties?.has(property) === true ||
    types.some(({ qemu }) => qemu.harmless?.has(property))
  );
}
