import { negotiated, type VirtioState } from '@virtkit/core';
import {
  compareVersion,
  type DeviceType,
  type FeatureControl,
  type Making,
  notKnown,
  type Verdict,
} from '@virtkit/core/qemu';
import { bitsOf, featureControl } from '../features/feature-control.ts';
import { featuresUnsupported } from '../qemu-says.ts';
import type { Target } from '../target.ts';
import { featureVerdict } from './check-features.ts';

/** Pattern of back ends whose features are the host kernel's to offer. */
const OF_THE_KERNEL = /^(tap|bridge)$/;
/** Pattern of back ends whose features another program offers, or hardware. */
const OF_OTHERS = /^vhost-/;

/**
 * Verdicts over the features in use that the kernel of the target's host offers, and not its QEMU: a card on a tap. The stream does
 * not tell what the card is connected to: where no command line does, it is taken to be what it was at the source.
 */
export function checkHost(
  title: string,
  type: DeviceType | undefined,
  state: VirtioState,
  target: Target,
  making: Making | undefined,
): Verdict[] {
  const kind = making?.device.network?.kind;
  const features = negotiated(state);
  const decided = bitsOf(features)
    .map((bit) => featureControl(bit, type))
    .filter(
      (control): control is FeatureControl & { readonly kernel: string } => control.kernel !== undefined,
    );
  if (decided.length === 0 || (kind !== undefined && !OF_THE_KERNEL.test(kind) && !OF_OTHERS.test(kind)))
    return [];
  if (kind !== undefined && OF_OTHERS.test(kind))
    return decided.map((control) =>
      unknown(
        title,
        control,
        `${control.name} is negotiated, and what is behind -netdev ${kind} decides whether the target offers it`,
        "compare the back end's features on both hosts, or start the target with -incoming and the stream",
      ),
    );
  const { hostKernel } = target;
  if (hostKernel === undefined)
    return decided.map((control) =>
      unknown(
        title,
        control,
        `${control.name} is negotiated, and a tap offers it from Linux ${control.kernel} on: which Linux the target's host runs is not known`,
        'say it: --host-kernel 6.1, or --host FILE with what virtkit host wrote there',
      ),
    );
  const missing = decided.filter(({ kernel }) => compareVersion(hostKernel.version, kernel) < 0);
  const set = missing.reduce((bits, { bit }) => bits | (1n << BigInt(bit)), 0n);
  const says = featuresUnsupported(target.qemu, features, set, undefined);
  return missing.map((control) => ({
    ...featureVerdict(
      title,
      control,
      says,
      `${control.name} is negotiated, and a tap offers it from Linux ${control.kernel} on; the target's host has ${hostKernel.version} (${hostKernel.from})`,
    ),
    advice: `switch ${control.property ?? 'it'} off at the source before the guest starts (also in machines that run on a newer Linux), or take a target with Linux ${control.kernel} or newer`,
  }));
}

function unknown(
  title: string,
  { name, property, spec }: FeatureControl,
  reason: string,
  advice: string,
): Verdict {
  return notKnown('host', `${title} / features`, reason, {
    feature: name,
    ...(property !== undefined && { property }),
    spec,
    advice,
  });
}
