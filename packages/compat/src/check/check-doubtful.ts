import { negotiated, type VirtioState } from '@virtkit/core';
import { type DeviceType, type Making, notKnown, switchOf, type Verdict } from '@virtkit/core/qemu';
import type { MachineThere } from '../distributions/machine-there.ts';
import { bitsOf, featureControl } from '../features/feature-control.ts';

/**
 * Verdicts over the features in use that the target's machine type switches off in some packages of its distribution, where it is not
 * known whether the target's is one of them.
 */
export function checkDoubtful(
  title: string,
  type: DeviceType | undefined,
  state: VirtioState,
  making: Making | undefined,
  machine: MachineThere,
): Verdict[] {
  const { doubtful } = machine;
  if (doubtful.length === 0) return [];
  return bitsOf(negotiated(state)).flatMap((bit): Verdict[] => {
    const { name, property, spec } = featureControl(bit, type);
    const difference = doubtful.find((each) => each.property === property && switchOf(each.value) === false);
    if (difference === undefined || making?.device.properties.has(difference.property) === true) return [];
    return [
      notKnown(
        'package',
        `${title} / features`,
        `${name} is negotiated, and some packages switch ${difference.property} off for ${machine.name}: whether the target's does is not known (${difference.source})`,
        {
          feature: name,
          property: difference.property,
          spec,
          advice: 'name the package that the target runs: --target qemu-kvm-9.1.0-20.el9',
        },
      ),
    ];
  });
}
