import type { VirtioState } from '@virtkit/core';
import type { BlkState } from '@virtkit/device-blk';
import type { NetState } from '@virtkit/device-net';
import type { ConsoleState } from '@virtkit/device-states';
import type { PciExtraState } from '@virtkit/transport-pci';
import type { FeatureKind } from './control.ts';
import { ringTooLarge } from './qemu-says.ts';
import { createdSize, sizeProperty } from './ring-sizes.ts';
import type { Target } from './target.ts';
import type { Verdict } from './verdict.ts';

/** A state as the target wants it, and what was, or could not be, changed. */
export interface Converted {
  readonly state: VirtioState<never, BlkState & NetState>;
  /** `convertible` ones have been seen to in {@link state}. */
  readonly verdicts: readonly Verdict[];
}

type State = Converted['state'];
type Step = (title: string, kind: FeatureKind, state: State, target: Target, machine: string) => Converted;

/** All hash types: what the field stands for when it is not sent. */
const ALL_HASH_TYPES = 0x1ff;

/** Rewrites a device's state for a target, where that changes nothing that the guest sees. */
export function convertState(
  title: string,
  kind: FeatureKind,
  state: State,
  target: Target,
  machine: string,
): Converted {
  const verdicts: Verdict[] = [];
  let current = state;
  for (const step of STEPS) {
    const done = step(title, kind, current, target, machine);
    verdicts.push(...done.verdicts);
    current = done.state;
  }
  return { state: current, verdicts };
}

/** QEMU 10.0.13 makes every queue with 1024 entries; 11.1 refuses more than the device was created with. */
const ringSizes: Step = (title, kind, state, target, machine) => {
  if (!target.qemu.checksRingSize) return { state, verdicts: [] };
  const verdicts: Verdict[] = [];
  const queues = state.queues.map((queue, index) => {
    const limit = createdSize(kind, index, state, target, machine);
    if (queue.num <= limit) return queue;
    const used = queue.desc !== 0n;
    const property = sizeProperty(kind, index, state.queues.length);
    verdicts.push({
      code: 'ring-size',
      severity: 'refused',
      path: `${title} / queues[${index}].num`,
      reason: `${queue.num} entries${used ? ', and the driver uses them' : ', and no driver has set the queue up'}; the target makes it with ${limit}`,
      qemuSays: ringTooLarge(index, queue.num, limit),
      ...(property !== undefined && { property }),
      advice: !used
        ? 'virtkit convert'
        : property === undefined
          ? 'QEMU has no property for the size of this queue: its driver must set it up anew (reload the driver, or reboot the guest, on a QEMU that makes it smaller)'
          : `give the target ${property}=${queue.num}${property === 'tx_queue_size' ? ' (only vhost-user and vdpa take it); else the driver must set the queue up anew' : ''}`,
      convertible: !used,
    });
    return used ? queue : { ...queue, num: limit };
  });
  const { ringsize: _ignored, ...subsections } = state.subsections;
  return { state: { ...state, queues, subsections } as State, verdicts };
};

/** Version 2 of the RSS state came with QEMU 10.2. */
const rssVersion: Step = (title, kind, state, target) => {
  const { rss } = kind === 'virtio-net' ? state.device : {};
  if (rss === undefined || rss.version <= target.qemu.rss) return { state, verdicts: [] };
  const { supportedHashTypes = ALL_HASH_TYPES, ...others } = rss;
  const possible = supportedHashTypes === ALL_HASH_TYPES;
  const verdict: Verdict = {
    code: 'rss-version',
    severity: 'refused',
    path: `${title} / device.rss.version`,
    reason: `version ${rss.version}, and QEMU ${target.qemu.name} reads up to ${target.qemu.rss}${possible ? '' : `; the hash types that the source supports (0x${supportedHashTypes.toString(16)}) have no place in it`}`,
    qemuSays: 'virtio-net-device/rss: incoming version_id 2 is too new for local version_id 1',
    feature: 'VIRTIO_NET_F_RSS',
    property: 'rss',
    spec: 'Virtio 1.3 §5.1.6.5.7',
    convertible: possible,
  };
  const device = possible ? { ...state.device, rss: { ...others, version: target.qemu.rss } } : state.device;
  return { state: { ...state, device } as State, verdicts: [verdict] };
};

/** Features above bit 63 came with QEMU 10.2: those that are negotiated, and those that a PCI driver has written. */
const features128: Step = (title, _kind, state, target) => {
  const { features128: negotiated, ...subsections } = state.subsections;
  const written = pciFeatures128(state);
  if ((negotiated ?? written) === undefined || target.qemu.features128) return { state, verdicts: [] };
  const high = (negotiated ?? 0n) | (written ?? 0n);
  const possible = high === 0n;
  const verdict: Verdict = {
    code: 'features128',
    severity: 'refused',
    path: `${title} / subsections.features128`,
    reason: possible
      ? `the source offers features above bit 63, none is negotiated, and QEMU ${target.qemu.name} does not know the subsection`
      : `features above bit 63 are negotiated (0x${(high << 64n).toString(16)}), and QEMU ${target.qemu.name} has none`,
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
  };
  const { extraState } = state.subsections as { readonly extraState?: PciExtraState };
  const { features128: _zero, ...modernState } = extraState?.modernState ?? {};
  const extra = written === undefined ? {} : { extraState: { ...extraState, modernState } };
  return {
    state: possible ? ({ ...state, subsections: { ...subsections, ...extra } } as State) : state,
    verdicts: [verdict],
  };
};

/** What a PCI function has in its own subsection, `virtio_pci/modern_state/features128`. */
function pciFeatures128({ subsections }: State): bigint | undefined {
  return (subsections as { readonly extraState?: PciExtraState }).extraState?.modernState?.features128;
}

/** QEMU writes the ring slots of a request in front of it and reads them behind: it cannot load its own. */
const packedRequests: Step = (title, kind, state) => {
  const { layout, requests } = kind === 'virtio-blk' ? state.device : { layout: undefined, requests: [] };
  if (layout?.ndescs !== 'before' || requests.length === 0) return { state, verdicts: [] };
  const verdict: Verdict = {
    code: 'request-layout',
    severity: 'refused',
    path: `${title} / device.requests`,
    reason: `${requests.length} requests in flight of a device that offers packed rings: QEMU writes a number in front of each and looks for it behind`,
    qemuSays: 'virtio: unexpected memory split',
    property: 'packed',
    spec: 'Virtio 1.3 §2.8',
    advice: 'virtkit convert; or let the requests finish before migrating',
    convertible: true,
  };
  const device = { ...state.device, layout: { ...layout, ndescs: 'after' as const } };
  return { state: { ...state, device } as State, verdicts: [verdict] };
};

/** The same of buffers that a port has half written. */
const packedBuffers: Step = (title, kind, state) => {
  const { ports = [] } = (kind === 'virtio-console' ? state.device : {}) as Partial<ConsoleState>;
  const turned = ports.map((port) =>
    port.buffer?.ndescsPlace === 'before'
      ? { ...port, buffer: { ...port.buffer, ndescsPlace: 'after' as const } }
      : port,
  );
  const changed = turned.filter((port, index) => port !== ports[index]).map(({ id }) => id);
  if (changed.length === 0) return { state, verdicts: [] };
  const verdict: Verdict = {
    code: 'request-layout',
    severity: 'refused',
    path: `${title} / device.ports`,
    reason: `a half-written buffer of port ${changed.join(', ')}, of a device that offers packed rings: QEMU writes a number in front of it and looks for it behind`,
    qemuSays: 'virtio: error trying to map MMIO memory',
    property: 'packed',
    spec: 'Virtio 1.3 §2.8',
    advice: 'virtkit convert; or let the port be read at the host before migrating',
    convertible: true,
  };
  const device = { ...(state.device as object), ports: turned };
  return { state: { ...state, device } as unknown as State, verdicts: [verdict] };
};

const STEPS: readonly Step[] = [ringSizes, rssVersion, features128, packedRequests, packedBuffers];
