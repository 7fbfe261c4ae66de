import { negotiated, type VirtioState } from '@virtkit/core';
import {
  compareVersion,
  type DeviceType,
  type FeatureControl,
  isSince,
  type Making,
  refusal,
  switchOf,
  type Verdict,
} from '@virtkit/core/qemu';
import { bitsOf, featureControl } from '../features/feature-control.ts';
import { featuresUnsupported } from '../qemu-says.ts';
import type { Target } from '../target.ts';

/**
 * Verdicts over negotiated features that the target does not offer, by what the caller says of it and by what its
 * version knows.
 *
 * @param type undefined for a device type that is not known
 * @param making how the target makes the device; undefined: as it was at the source
 */
export function checkFeatures(
  title: string,
  type: DeviceType | undefined,
  state: VirtioState,
  target: Target,
  making?: Making,
): Verdict[] {
  const features = negotiated(state);
  const missing = bitsOf(features)
    .map((bit) => featureControl(bit, type))
    .filter((control) => isMissing(control, type, target, making));
  const set = missing.reduce((bits, { bit }) => bits | (1n << BigInt(bit)), 0n);
  const qemuSays = featuresUnsupported(target.qemu, features, set, target.features);
  return missing.map((control) =>
    featureVerdict(
      title,
      control,
      qemuSays,
      cameLater(control.qemu, target)
        ? `${control.name} is negotiated, and QEMU ${target.qemu.name} does not have it (it came with ${control.qemu})`
        : `${control.name} is negotiated, and the target does not offer it`,
    ),
  );
}

/** Makes the refusal of a feature that is negotiated and not offered. */
export function featureVerdict(
  title: string,
  { name, property, machine, spec }: FeatureControl,
  qemuSays: string,
  reason: string,
): Verdict {
  return refusal('feature', `${title} / features`, reason, {
    qemuSays,
    feature: name,
    ...(property !== undefined && { property }),
    ...(machine !== undefined && { machine }),
    spec,
    advice:
      property === undefined
        ? 'use the same device at the target'
        : `switch ${property} on at the target, or off at the source before the guest starts`,
  });
}

function isMissing(
  control: FeatureControl,
  type: DeviceType | undefined,
  target: Target,
  making: Making | undefined,
): boolean {
  const { bit, property = '', qemu } = control;
  if (property.split(', ').some((each) => switchOf(target.properties.get(each)) === false)) return true;
  if (isOffUnsaid(control, making) || cameLater(qemu, target)) return true;
  const { features } = target;
  if (features === undefined || ((features >> BigInt(bit)) & 1n) !== 0n) return false;
  // the set is of one kind of device, and nobody said of which
  return type?.offersLike?.(features) === true;
}

function cameLater(version: string | undefined, { qemu }: Target): boolean {
  return version !== undefined && compareVersion(version, qemu.name) > 0;
}

/** Is the property off on a whole command line that does not give it: by default, or by the age of the machine? */
function isOffUnsaid(
  { property, offByDefault, machine }: FeatureControl,
  making: Making | undefined,
): boolean {
  if (making?.complete !== true || property === undefined) return false;
  if (making.device.properties.has(property)) return false;
  return offByDefault === true || (machine !== undefined && !isSince(making, machine));
}
