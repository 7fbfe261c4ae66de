import { FEATURE, hasFeature, negotiated, type VirtioState } from '@virtkit/core';
import type { StreamSection } from './model.ts';

/** Pattern that names of the sections of IOMMUs contain: `iommu-intel`, `virtio-iommu`, `smmuv3`, `spapr_iommu`. */
const IOMMU = /iommu|smmu/;

/**
 * Finds the IOMMU of a device whose addresses are no places in guest memory: one that has negotiated ACCESS_PLATFORM
 * (QEMU: `iommu_platform=on`) in a machine with an IOMMU. Virtio 1.3 §6
 *
 * @returns the name of the IOMMU's section; undefined if the device's addresses are guest physical addresses
 */
export function iommuOf(state: VirtioState, sections: readonly StreamSection[]): string | undefined {
  if (!hasFeature(negotiated(state), FEATURE.ACCESS_PLATFORM)) return undefined;
  return sections.find(({ header }) => IOMMU.test(header.idstr))?.header.idstr;
}
