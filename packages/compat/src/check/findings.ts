import type { Finding, VirtioState } from '@virtkit/core';
import { type DeviceType, type FindingWords, type Making, refusal, type Verdict } from '@virtkit/core/qemu';
import { EXTENDED_CAPABILITIES, PCI_HEADER } from '@virtkit/transport-pci';
import { hex } from '@virtkit/vmstate';
import { hasDisablePcie, ringTooLarge } from '../qemu-says.ts';

/** Codes of findings that QEMU loads, and of which the guest may notice something. */
const NOTES = new Set(['config-length', 'interface', 'control-unit-model', 'modern-state', 'revision']);

/** Does QEMU load a state in spite of a finding with this code? */
export function isNote(code: string): boolean {
  return NOTES.has(code);
}

/** Words about a device with `iommu_platform` that also has the legacy interface. */
const NO_PLATFORM = {
  qemuSays: 'VIRTIO_F_IOMMU_PLATFORM was supported by neither legacy nor transitional device',
  feature: 'VIRTIO_F_ACCESS_PLATFORM',
  property: 'iommu_platform',
  spec: 'Virtio 1.3 §6',
  advice: 'switch iommu_platform off, as at the source',
} as const;

/** Makes the verdict over a device with which QEMU does not start. */
export function impossible(title: string, message: string, { device }: Making): Verdict {
  return refusal(
    'no-such-device',
    title,
    `the target cannot make this ${device.driver}: ${message}`,
    message.startsWith('accessPlatform') ? NO_PLATFORM : {},
  );
}

/** Words of QEMU for findings about the transports. */
const ABOUT: Readonly<Record<string, FindingWords>> = {
  revision: { property: 'max_revision', spec: 'Virtio 1.3 §4.3.2.1' },
  interface: { property: 'force-legacy', spec: 'Virtio 1.3 §4.2.4' },
};

/** Words of QEMU for findings about which they depend on its version. */
function aboutVersion(
  code: string,
  facts: Finding['facts'],
  { queues }: VirtioState,
  { qemu }: Making,
): FindingWords | undefined {
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

/** Makes the verdict over something that a live device finds in a state. */
export function verdictOf(
  title: string,
  { code, path, reason, facts }: Finding,
  type: DeviceType,
  state: VirtioState,
  making: Making,
): Verdict {
  const about =
    code === 'config-space'
      ? aboutConfig(Number(facts['offset'] ?? 0), String(facts['name'] ?? ''))
      : (aboutVersion(code, facts, state, making) ?? type.findings?.[code] ?? ABOUT[code]);
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
    severity: isNote(code) ? 'note' : 'refused',
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

/** Finds the property that decides over a byte of configuration space. */
function aboutConfig(at: number, name: string): FindingWords {
  if (/MSI-X/i.test(name) && at !== PCI_HEADER.CAPABILITIES)
    return {
      property: 'vectors (its default follows num-queues, or queues of -netdev)',
      spec: 'Virtio 1.3 §4.1.5.1.2',
    };
  if (at >= EXTENDED_CAPABILITIES) return { property: 'aer, ats', spec: 'PCI Express' };
  const { COMMAND, REVISION_ID, SUBSYSTEM_VENDOR_ID, ROM } = PCI_HEADER;
  if (at < COMMAND || at === REVISION_ID || (at >= SUBSYSTEM_VENDOR_ID && at < ROM))
    return { property: 'disable-legacy, disable-modern', spec: 'Virtio 1.3 §4.1.2' };
  if (at === PCI_HEADER.HEADER_TYPE) return { property: 'multifunction', spec: 'PCI' };
  if (at === PCI_HEADER.CAPABILITIES)
    return { property: 'vectors, disable-modern', spec: 'Virtio 1.3 §4.1.4' };
  if (isInBar(at, 2)) return { property: 'modern-pio-notify', spec: 'Virtio 1.3 §4.1.4.4' };
  if (isInBar(at, 4) || isInBar(at, 5)) return { property: 'page-per-vq', spec: 'Virtio 1.3 §4.1.4.4' };
  return { property: 'disable-legacy, disable-modern, vectors, page-per-vq', spec: 'Virtio 1.3 §4.1.4' };
}

/** Is this a byte of a BAR's register? BAR 2 is port I/O for notifications; 4 and 5 are the 64 bits of the modern structures' address. */
function isInBar(at: number, bar: number): boolean {
  return Math.floor((at - PCI_HEADER.BAR0) / 4) === bar;
}
