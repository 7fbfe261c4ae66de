import type { CoreSubsections, TransportParts, VirtioState } from '@virtkit/core';
import { type DeviceType, type QueueDefaults, refusal, type Verdict } from '@virtkit/core/qemu';
import type { PciExtraState } from '@virtkit/transport-pci';
import { ringTooLarge } from '../qemu-says.ts';
import { createdSize, sizeProperty } from './ring-sizes.ts';

/** State as the target wants it, and what was, or could not be, changed. */
export interface Converted<T extends TransportParts> {
  readonly state: VirtioState<T>;
  /** Verdicts over the state; those that are `convertible` have been seen to in {@link state}. */
  readonly verdicts: readonly Verdict[];
}

/** Rewrites a device's state for a target, where that changes nothing that the guest sees. */
export function convertState<T extends TransportParts>(
  title: string,
  type: DeviceType,
  state: VirtioState<T>,
  to: QueueDefaults,
): Converted<T> {
  const verdicts: Verdict[] = [];
  let current = fittingRings(title, type, state, to, verdicts);
  for (const conversion of type.conversions ?? []) {
    const rewritten = conversion.convert(title, current.device, to);
    if (rewritten === undefined) continue;
    verdicts.push(rewritten.verdict);
    current = { ...current, device: rewritten.device };
  }
  current = knownFeatures(title, current, to, verdicts);
  return { state: current, verdicts };
}

/** Makes rings that no driver has set up as large as the target's. QEMU 10.0.13 makes every queue with 1024 entries; 11.1 refuses more than it has made. */
function fittingRings<T extends TransportParts>(
  title: string,
  type: DeviceType,
  state: VirtioState<T>,
  to: QueueDefaults,
  verdicts: Verdict[],
): VirtioState<T> {
  if (!to.qemu.checksRingSize) return state;
  const queues = state.queues.map((queue, index) => {
    const limit = createdSize(type, index, state, to);
    if (queue.num <= limit) return queue;
    const used = queue.desc !== 0n;
    verdicts.push(
      ringVerdict(title, queue.num, used, limit, index, sizeProperty(type, index, state.queues.length)),
    );
    return used ? queue : { ...queue, num: limit };
  });
  return { ...state, queues, subsections: without(state.subsections, 'ringsize') };
}

function ringVerdict(
  title: string,
  entries: number,
  used: boolean,
  limit: number,
  index: number,
  property: string | undefined,
): Verdict {
  return refusal(
    'ring-size',
    `${title} / queues[${index}].num`,
    `${entries} entries${used ? ', and the driver uses them' : ', and no driver has set the queue up'}; the target makes it with ${limit}`,
    {
      qemuSays: ringTooLarge(index, entries, limit),
      ...(property !== undefined && { property }),
      advice: !used
        ? 'virtkit convert'
        : property === undefined
          ? 'QEMU has no property for the size of this queue: its driver must set it up anew (reload the driver, or reboot the guest, on a QEMU that makes it smaller)'
          : `give the target ${property}=${entries}${property === 'tx_queue_size' ? ' (only vhost-user and vdpa take it); else the driver must set the queue up anew' : ''}`,
      convertible: !used,
    },
  );
}

/** Leaves out features above bit 63 where the target does not know them: those that are negotiated, and those that a PCI driver has written. */
function knownFeatures<T extends TransportParts>(
  title: string,
  state: VirtioState<T>,
  { qemu }: QueueDefaults,
  verdicts: Verdict[],
): VirtioState<T> {
  const { features128: negotiated } = state.subsections;
  const extra = state.subsections.extraState as PciExtraState | undefined;
  const written = extra?.modernState?.features128;
  if ((negotiated ?? written) === undefined || qemu.features128) return state;
  const high = (negotiated ?? 0n) | (written ?? 0n);
  const possible = high === 0n;
  verdicts.push(
    refusal(
      'features128',
      `${title} / subsections.features128`,
      possible
        ? `the source offers features above bit 63, none is negotiated, and QEMU ${qemu.name} does not know the subsection`
        : `features above bit 63 are negotiated (0x${(high << 64n).toString(16)}), and QEMU ${qemu.name} has none`,
      {
        qemuSays:
          negotiated === undefined
            ? "VM subsection 'virtio_pci/modern_state/features128' in 'virtio_pci/modern_state' does not exist"
            : "VM subsection 'virtio/128bit_features' in 'virtio' does not exist",
        property: 'host_tunnel, guest_tunnel, host_tunnel_csum, guest_tunnel_csum',
        machine: '10.2',
        advice: possible
          ? 'virtkit convert'
          : 'switch the tunnel properties off at the source before the guest starts',
        convertible: possible,
      },
    ),
  );
  if (!possible) return state;
  const subsections = without(state.subsections, 'features128');
  if (written === undefined) return { ...state, subsections };
  const { features128: _zero, ...modernState } = extra?.modernState ?? {};
  // what has modern registers is a PCI function's
  const extraState = { ...extra, modernState } as CoreSubsections<T>['extraState'];
  return { ...state, subsections: { ...subsections, extraState } };
}

/** Leaves out one of the subsections. */
function without<T extends TransportParts>(
  subsections: CoreSubsections<T>,
  name: keyof CoreSubsections,
): CoreSubsections<T> {
  const { [name]: _left, ...kept } = subsections;
  return kept as CoreSubsections<T>;
}
