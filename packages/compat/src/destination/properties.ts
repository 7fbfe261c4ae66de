import { hex } from '@virtkit/vmstate';
import type { Target } from '../target.ts';
import type { Verdict } from '../verdict.ts';
import type { Making } from './made.ts';
import { numberOf } from './numbers.ts';

/** Properties of virtio devices whose part in a load is known here: those that are looked at, and those that decide nothing. */

function names(...lines: readonly string[]): ReadonlySet<string> {
  return new Set(lines.flatMap((line) => line.split(' ')));
}

/** Looked at, of any device. */
const COMMON = names(
  'addr bus devno id vectors disable-legacy disable-modern modern-pio-notify page-per-vq multifunction aer ats class',
  'iommu_platform packed event_idx indirect_desc in_order notification_data queue_reset notify_on_empty any_layout',
  'max_revision force-legacy romfile rombar x-disable-pcie nr',
);

/** They decide how the host does its work, what the guest reads of it, or where it boots from: nothing that a load compares. */
const HARMLESS = names(
  'acpi-index bootindex busnr failover_pair_id romsize virtio-backend ioeventfd iothread x-max-bounce-buffer-size',
  'x-pcie-lnksta-dllla dev_id subch_id x-disable-legacy-check use-disabled-flag',
  // disks
  'account-failed account-invalid backend_defaults cyls heads secs lcyls lheads lsecs discard_granularity drive',
  'iothread-vq-mapping max-discard-sectors max-write-zeroes-sectors min_io_size opt_io_size rerror werror',
  'report-discard-granularity request-merging serial share-rw stats-intervals',
  // cards
  'ebpf-rss-fds mac netdev rsc_interval tx x-mtu-bypass-backend x-txburst x-txtimer',
  'hash-ipv4 hash-ipv6 hash-ipv6ex hash-tcp4 hash-tcp6 hash-tcp6ex hash-udp4 hash-udp6 hash-udp6ex',
  // others
  'rng max-bytes period guest-stats guest-stats-polling-interval cmd_per_lun max_sectors xres yres outputs stats',
  'display head wheel-axis memdev prealloc requested-size size dynamic-memslots unplugged-inaccessible',
  'aw-bits granule len-reserved-regions reserved-regions primary-bus fsdev mount_tag cryptodev evdev audiodev',
  'chmaps jacks streams chardev guest-cid vhostfd tag num-request-queues cache-size max_hostmem hostmem',
);

/** Looked at, of devices of a kind. */
const OWN: Readonly<Record<string, ReadonlySet<string>>> = {
  'virtio-blk': names(
    'num-queues queue-size config-wce discard write-zeroes seg-max-adjust write-cache logical_block_size',
    'physical_block_size x-enable-wce-if-config-wce scsi',
  ),
  'virtio-net': names(
    'csum gso guest_csum guest_tso4 guest_tso6 guest_ecn guest_ufo guest_announce host_tso4 host_tso6 host_ecn host_ufo',
    'mrg_rxbuf status ctrl_vq ctrl_rx ctrl_vlan ctrl_rx_extra ctrl_mac_addr ctrl_guest_offloads mq rss hash guest_rsc_ext',
    'guest_uso4 guest_uso6 host_uso guest_tunnel guest_tunnel_csum host_tunnel host_tunnel_csum rx_queue_size',
    'tx_queue_size host_mtu failover speed duplex',
  ),
  'virtio-console': names('max_ports emergency-write'),
  'virtio-scsi': names('num_queues seg_max_adjust hotplug param_change'),
  'virtio-balloon': names(
    'deflate-on-oom free-page-hint free-page-reporting page-poison qemu-4-0-config-size',
  ),
  'virtio-gpu': names('max_outputs edid blob virgl'),
  'virtio-mem': names('block-size node memaddr'),
  'virtio-iommu': names('boot-bypass'),
  'virtio-pmem': names('memaddr'),
};

/** The properties of a device that nothing here looks at, though a load may depend on them. */
export function notLookedAt(section: string, properties: Iterable<string>): string[] {
  return [...properties].filter(
    (property) => !COMMON.has(property) && !HARMLESS.has(property) && OWN[section]?.has(property) !== true,
  );
}

/** Properties of the target's device that nothing looks at: with one of them, there is no yes. */
export function checkProperties(
  title: string,
  section: string,
  { device }: Making,
  asked: Target,
): Verdict[] {
  const { driver, properties } = device;
  // what is said of the whole target may be meant for others
  const own = [...properties.keys()].filter((property) => !asked.properties.has(property));
  return notLookedAt(section, own).map((property) => ({
    code: 'property',
    severity: 'unknown',
    path: title,
    reason: `the target's ${driver} has ${property}=${properties.get(property)}, and virtkit does not know what that means for a load`,
    property,
    advice: 'give the target the value that the source had, or ask QEMU itself (virtkit check --qemu BINARY)',
  }));
}

/** The class code of the function, where the command line sets it. */
export function checkClass(
  title: string,
  config: Uint8Array,
  { device: { driver, properties } }: Making,
): Verdict[] {
  const said = numberOf(properties.get('class'));
  const here = (config[CLASS + 1] ?? 0) | ((config[CLASS + 2] ?? 0) << 8);
  if (said === undefined || said === 0 || said === here) return [];
  const at = (said & 0xff) === (here & 0xff) ? CLASS + 2 : CLASS + 1;
  const byte = (word: number): string => ((word >> (8 * (at - CLASS - 1))) & 0xff).toString(16);
  return [
    {
      code: 'config-space',
      severity: 'refused',
      path: `${title} / transport.config[${hex(at)}]`,
      reason: `class ${hex(here)} in the stream, and ${hex(said)} in the target's ${driver}`,
      qemuSays: `get_pci_config_device: Bad config data: i=${hex(at)} read: ${byte(here)} device: ${byte(said)} cmask: ff wmask: 0 w1cmask:0`,
      property: 'class',
      advice: 'give the target the class that the source had',
    },
  ];
}

/** Offset of the class code in configuration space: interface, then the two bytes of the class. */
const CLASS = 0x09;

/** Is a property of this name looked at in any device? */
export function isLookedAt(property: string): boolean {
  return (
    COMMON.has(property) || HARMLESS.has(property) || Object.values(OWN).some((own) => own.has(property))
  );
}
