import type { FeatureNames } from './contract/device.ts';
import type { CoreSubsections, EarlyState } from './contract/state.ts';
import { FEATURE, STATUS, transportFeatures } from './spec.ts';

/** Feature bit with its name. */
export interface NamedFeature {
  /** Number of the feature bit, 0 to 127. */
  readonly bit: number;
  /** Name of the bit in the specification; undefined for bits that neither the specification nor the device names. */
  readonly name: string | undefined;
}

/** Lists the bits of a feature set, lowest first, with their names. */
export function nameFeatures(features: bigint, deviceFeatures: FeatureNames): NamedFeature[] {
  const named: NamedFeature[] = [];
  for (let bit = 0, left = features; left !== 0n; bit++, left >>= 1n) {
    if ((left & 1n) !== 0n) named.push({ bit, name: deviceFeatures[bit] ?? transportFeatures[bit] });
  }
  return named;
}

/** Lists the bits of a status byte by name, lowest first; unknown ones as hexadecimal numbers. */
export function nameStatus(status: number): string[] {
  const names = Object.entries(STATUS)
    .filter(([, bit]) => (status & bit) !== 0)
    .map(([name]) => name);
  const unknown = status & ~Object.values(STATUS).reduce((sum, bit) => sum | bit, 0);
  return unknown === 0 ? names : [...names, `0x${unknown.toString(16)}`];
}

/**
 * Collects all negotiated features of a saved state: the low half of the common fields, or what the subsections say.
 */
export function negotiated(
  state: Pick<EarlyState, 'guestFeatures'> & {
    readonly subsections: Pick<CoreSubsections, 'features64' | 'features128'>;
  },
): bigint {
  const { features64, features128 } = state.subsections;
  return (features64 ?? BigInt(state.guestFeatures)) | ((features128 ?? 0n) << 64n);
}

/** Is `bit` set in `features`? */
export function hasFeature(features: bigint, bit: number): boolean {
  return ((features >> BigInt(bit)) & 1n) !== 0n;
}

/** Did the driver negotiate VERSION_1, so that everything is little-endian? */
export function isModern(features: bigint): boolean {
  return hasFeature(features, FEATURE.VERSION_1);
}
