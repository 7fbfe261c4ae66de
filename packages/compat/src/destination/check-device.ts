import {
  type Finding,
  isHostError,
  type LiveDevice,
  MappedMemory,
  negotiated,
  type VirtioState,
} from '@virtkit/core';
import { type BlkState, memoryDisk } from '@virtkit/device-blk';
import { titleOf, type VirtioDevice } from '@virtkit/migration';
import { freshDevice } from '@virtkit/visit';
import { hex } from '@virtkit/vmstate';
import { bitsOf, type DeviceKind, featureControl } from '../control.ts';
import { featuresUnsupported, hasDisablePcie, ringTooLarge } from '../qemu-says.ts';
import type { Verdict } from '../verdict.ts';
import { type Making, madeBy } from './made.ts';
import { switchOf } from './numbers.ts';
import { checkRequestLayout } from './requests.ts';

/**
 * What speaks against a state in the device that the destination makes: one is made, and asked. In QEMU's order: what the
 * transport loads, what the device type loads, and then the features.
 */
export function checkDevice(
  device: VirtioDevice,
  kind: DeviceKind,
  state: VirtioState,
  making: Making,
): Verdict[] {
  const title = titleOf(device);
  let live: LiveDevice;
  try {
    live = deviceOf(device, state, making);
  } catch (error) {
    if (!isHostError(error)) throw error;
    return [impossible(title, error.message, making)];
  }
  const layout =
    kind === 'virtio-blk'
      ? checkRequestLayout(
          title,
          device.section.header.idstr,
          state as VirtioState<never, BlkState>,
          live.model.queueSizes.length,
          live.options.rings?.packed === true,
        )
      : undefined;
  const verdicts = live
    .check(state)
    .filter(
      (finding) => counts(finding, making) && !(layout !== undefined && finding.code === 'request-queue'),
    )
    .map((finding): [number, Verdict] => [
      RANK[finding.layer ?? 'core'] ?? 2,
      verdictOf(title, finding, state, making),
    ]);
  if (layout !== undefined) verdicts.push([1, layout]);
  verdicts.sort(([a], [b]) => a - b);
  return [...verdicts.map(([, verdict]) => verdict), ...checkOffered(title, kind, state, live, making)];
}

const RANK: Readonly<Record<string, number>> = { transport: 0, device: 1, core: 2 };

/** Guest memory is not at hand: its part is checked where it is. Features are told bit by bit. */
const ELSEWHERE = new Set(['queue-index', 'request-memory', 'features']);
/** What QEMU loads, and the guest may notice. */
const NOTES = new Set(['config-length', 'interface', 'control-unit-model', 'modern-state', 'revision']);

function counts({ code, severity }: Finding, { qemu }: Making): boolean {
  if (NOTES.has(code)) return true;
  if (ELSEWHERE.has(code) || severity !== 'error') return false;
  // before 11.1, more queues than the device has are loaded all the same
  return code !== 'queue-count' || qemu.checksRingSize;
}

function deviceOf(device: VirtioDevice, state: VirtioState, making: Making): LiveDevice {
  return freshDevice(
    device,
    state,
    {
      memory: new MappedMemory([{ gpa: 0, bytes: new Uint8Array(4096) }]),
      machine: making.machine,
      targetEndian: making.endian,
      disk: () => memoryDisk(1 << 20),
      network: () => ({ send: () => true }),
    },
    madeBy(making, state),
  );
}

/** QEMU does not start with such a device. */
export function impossible(title: string, message: string, { device }: Making): Verdict {
  const iommu = message.startsWith('accessPlatform');
  return {
    code: 'no-such-device',
    severity: 'refused',
    path: title,
    reason: `the target cannot make this ${device.driver}: ${message}`,
    ...(iommu && {
      qemuSays: 'VIRTIO_F_IOMMU_PLATFORM was supported by neither legacy nor transitional device',
      feature: 'VIRTIO_F_ACCESS_PLATFORM',
      property: 'iommu_platform',
      spec: 'Virtio 1.3 §6',
      advice: 'switch iommu_platform off, as at the source',
    }),
  };
}

/** What a finding is about, for the operator. */
interface About {
  readonly says?: (facts: Finding['facts']) => string;
  readonly property?: string;
  readonly spec?: string;
}

const ABOUT: Readonly<Record<string, About>> = {
  'queue-pairs': {
    says: ({ found, expected }) => `${Number(expected).toString(16)} != ${Number(found).toString(16)}`,
    property: 'queues (of -netdev)',
    spec: 'Virtio 1.3 §5.1.2',
  },
  'vnet-header': {
    says: () => 'virtio-net: saved image requires vnet_hdr=on',
    property: 'vnet_hdr (of -netdev tap)',
    spec: 'Virtio 1.3 §5.1.6',
  },
  ufo: {
    says: () => 'virtio-net: saved image requires TUN_F_UFO support',
    property: 'guest_ufo',
    spec: 'Virtio 1.3 §5.1.3',
  },
  'request-queue': {
    says: ({ queue }) => `Invalid virtqueue index in request list: 0x${Number(queue).toString(16)}`,
    property: 'num-queues',
    spec: 'Virtio 1.3 §5.2.2',
  },
  revision: { property: 'max_revision', spec: 'Virtio 1.3 §4.3.2.1' },
  interface: { property: 'force-legacy', spec: 'Virtio 1.3 §4.2.4' },
};

/** Findings about which QEMU's versions have other words. */
function aboutVersion(
  code: string,
  facts: Finding['facts'],
  { queues }: VirtioState,
  { qemu }: Making,
): About | undefined {
  switch (code) {
    case 'queue-count': {
      const limit = Number(facts['limit']);
      return {
        says: () => ringTooLarge(limit, queues[limit]?.num ?? 0, 0),
        property: 'num-queues',
        spec: 'Virtio 1.3 §5.2.2',
      };
    }
    case 'config-space-size':
      return {
        says: () => 'Failed to load PCIDevice:config',
        property: hasDisablePcie(qemu) ? 'bus, x-disable-pcie' : 'bus',
        spec: 'Virtio 1.3 §4.1',
      };
    default:
      return undefined;
  }
}

export function verdictOf(
  title: string,
  { code, path, reason, facts }: Finding,
  state: VirtioState,
  making: Making,
): Verdict {
  const about =
    code === 'config-space'
      ? aboutConfig(Number(facts['offset'] ?? 0), String(facts['name'] ?? ''))
      : (aboutVersion(code, facts, state, making) ?? ABOUT[code]);
  const says =
    code === 'config-space'
      ? `get_pci_config_device: ${reason
          .replace(/ \(.*\)$/, '')
          .replaceAll('0x', '')
          .replace('i=', 'i=0x')
          .replace(/w1cmask: /, 'w1cmask:')}`
      : about?.says?.(facts);
  return {
    code,
    severity: NOTES.has(code) ? 'note' : 'refused',
    path: `${title} / ${path}`,
    reason: code === 'config-space' ? configReason(facts, making) : reason,
    ...(says !== undefined && { qemuSays: says }),
    ...(about?.property !== undefined && { property: about.property }),
    ...(about?.spec !== undefined && { spec: about.spec }),
    advice: 'make the device at the target as the one at the source was made',
  };
}

function configReason(facts: Finding['facts'], { device }: Making): string {
  const { name, read, device: there } = facts;
  return `${String(name)} of the PCI configuration space is ${hex(Number(read))} in the stream, and ${hex(Number(there))} in this ${device.driver}`;
}

/** Which property stands behind a difference in configuration space. */
function aboutConfig(at: number, name: string): About {
  if (/MSI-X/i.test(name) && at !== 0x34)
    return {
      property: 'vectors (its default follows num-queues, or queues of -netdev)',
      spec: 'Virtio 1.3 §4.1.5.1.2',
    };
  if (at >= 0x100) return { property: 'aer, ats', spec: 'PCI Express' };
  if (at < 0x04 || at === 0x08 || (at >= 0x2c && at < 0x30))
    return { property: 'disable-legacy, disable-modern', spec: 'Virtio 1.3 §4.1.2' };
  if (at === 0x0e) return { property: 'multifunction', spec: 'PCI' };
  if (at === 0x34) return { property: 'vectors, disable-modern', spec: 'Virtio 1.3 §4.1.4' };
  if (at >= 0x18 && at < 0x1c) return { property: 'modern-pio-notify', spec: 'Virtio 1.3 §4.1.4.4' };
  if (at >= 0x20 && at < 0x28) return { property: 'page-per-vq', spec: 'Virtio 1.3 §4.1.4.4' };
  return { property: 'disable-legacy, disable-modern, vectors, page-per-vq', spec: 'Virtio 1.3 §4.1.4' };
}

function checkOffered(
  title: string,
  kind: DeviceKind,
  state: VirtioState,
  live: LiveDevice,
  { device, machine, qemu }: Making,
): Verdict[] {
  const features = negotiated(state);
  const allowed = live.hostFeatures & ~switchedOff(kind, live.hostFeatures, device.properties);
  const qemuSays = featuresUnsupported(qemu, features, features & ~allowed, allowed);
  return bitsOf(features & ~allowed).map((bit) => {
    const { name, property, machine: since, spec } = featureControl(bit, kind);
    return {
      code: 'feature',
      severity: 'refused',
      path: `${title} / features`,
      reason: `${name} is negotiated, and the target's ${device.driver} (machine ${machine}, QEMU ${qemu.name}) does not offer it`,
      qemuSays,
      feature: name,
      ...(property !== undefined && { property }),
      ...(since !== undefined && { machine: since }),
      spec,
      advice:
        property === undefined
          ? 'use the same device at the target'
          : `switch ${property} on at the target, or off at the source before the guest starts`,
    };
  });
}

/** Features that have a property of their own with which virtkit's devices have no option. */
function switchedOff(kind: DeviceKind, offered: bigint, properties: ReadonlyMap<string, string>): bigint {
  return bitsOf(offered).reduce((off, bit) => {
    const names = featureControl(bit, kind).property?.split(', ') ?? [];
    // CONFIG_WCE has FLUSH with it, and SEG_MAX others: those are the device's own to decide
    const own = names.length === 1 && names.some((name) => switchOf(properties.get(name)) === false);
    return own ? off | (1n << BigInt(bit)) : off;
  }, 0n);
}
