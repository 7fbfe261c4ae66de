/**
 * The device types whose saved state is in this package, as types: what QEMU's versions and options make of them.
 *
 * You bring:  a registry (`registryOf` of `@virtkit/core/qemu`).
 * You get:    {@link otherTypes}, with which streams with such devices are checked, converted, explained and compared.
 * @packageDocumentation
 */
import type { DeviceType } from '@virtkit/core/qemu';
import { balloonType } from './types/balloon.ts';
import { gpuType } from './types/gpu.ts';
import { memType } from './types/mem.ts';
import { scsiType } from './types/scsi.ts';
import { inputType, iommuType, ninepType, vsockType } from './types/small.ts';

export { balloonType, gpuType, inputType, iommuType, memType, ninepType, scsiType, vsockType };

/** Descriptors of all device types of this package, for a registry. */
export const otherTypes: readonly DeviceType[] = [
  balloonType,
  scsiType,
  ninepType,
  inputType,
  vsockType,
  gpuType,
  iommuType,
  memType,
];
