import { type FeatureNames, transportFeatures } from '@virtkit/core';
import { blkFeatures } from '@virtkit/device-blk';
import { netFeatures } from '@virtkit/device-net';
import {
  balloon,
  gpu,
  input,
  iommu,
  mem,
  ninep,
  rng,
  scsi,
  virtioConsole,
  vsock,
} from '@virtkit/device-states';
import {
  ALWAYS_OFFERED,
  balloonRows,
  consoleRows,
  gpuRows,
  iommuRows,
  memRows,
  ninepRows,
  scsiRows,
  vsockRows,
} from './control-others.ts';

/** Who decides whether a QEMU offers a feature. */
export interface FeatureControl {
  readonly bit: number;
  /** `VIRTIO_NET_F_GUEST_USO4` */
  readonly name: string;
  /** The device property that switches it (`guest_uso4`); absent where no property does. */
  readonly property?: string;
  /** First machine version with the property on by default; absent where that never changed or the default is off. */
  readonly machine?: string;
  /** The property is off unless somebody switches it on. */
  readonly offByDefault?: true;
  /** First QEMU that knows the feature at all. */
  readonly qemu?: string;
  /** What else it needs, in a few words. */
  readonly needs?: string;
  /** Where the specification defines it. */
  readonly spec: string;
}

/** A row of a device's table. */
export type FeatureRow = Omit<FeatureControl, 'bit' | 'name'>;

const NET = 'Virtio 1.3 §5.1.3';
const BLK = 'Virtio 1.3 §5.2.3';
const RING = 'Virtio 1.3 §6';
const VNET_HEADER = 'a back end with a virtio-net header (tap, vhost); user and socket back ends have none';

const net: Readonly<Record<number, FeatureRow>> = {
  0: { property: 'csum', needs: VNET_HEADER, spec: NET },
  1: { property: 'guest_csum', needs: VNET_HEADER, spec: NET },
  2: { property: 'ctrl_guest_offloads', spec: NET },
  3: { property: 'host_mtu', needs: 'a value other than 0', spec: NET },
  5: { needs: ALWAYS_OFFERED, spec: NET },
  6: { property: 'gso', needs: VNET_HEADER, spec: 'Virtio 1.3 §5.1.3.3 (legacy)' },
  7: { property: 'guest_tso4', needs: VNET_HEADER, spec: NET },
  8: { property: 'guest_tso6', needs: VNET_HEADER, spec: NET },
  9: { property: 'guest_ecn', needs: VNET_HEADER, spec: NET },
  10: { property: 'guest_ufo', needs: 'a back end that takes UFO packets', spec: NET },
  11: { property: 'host_tso4', needs: VNET_HEADER, spec: NET },
  12: { property: 'host_tso6', needs: VNET_HEADER, spec: NET },
  13: { property: 'host_ecn', needs: VNET_HEADER, spec: NET },
  14: { property: 'host_ufo', needs: 'a back end that takes UFO packets', spec: NET },
  15: { property: 'mrg_rxbuf', spec: NET },
  16: { property: 'status', spec: NET },
  17: { property: 'ctrl_vq', spec: NET },
  18: { property: 'ctrl_rx', spec: NET },
  19: { property: 'ctrl_vlan', spec: NET },
  20: { property: 'ctrl_rx_extra', spec: NET },
  21: { property: 'guest_announce', spec: NET },
  22: { property: 'mq', needs: 'a back end with several queues (tap: queues=N)', spec: NET },
  23: { property: 'ctrl_mac_addr', spec: NET },
  54: {
    property: 'guest_uso4',
    machine: '8.2',
    qemu: '8.2',
    needs: 'a tap whose kernel has TUN_F_USO4 (Linux 6.2)',
    spec: NET,
  },
  55: {
    property: 'guest_uso6',
    machine: '8.2',
    qemu: '8.2',
    needs: 'a tap whose kernel has TUN_F_USO6 (Linux 6.2)',
    spec: NET,
  },
  56: {
    property: 'host_uso',
    machine: '8.2',
    qemu: '8.2',
    needs: 'a tap whose kernel has TUN_F_USO4 and 6 (Linux 6.2)',
    spec: NET,
  },
  57: { property: 'hash', qemu: '5.1', spec: NET },
  60: { property: 'rss', qemu: '5.1', spec: NET },
  61: { property: 'guest_rsc_ext', spec: NET },
  62: { property: 'failover', spec: NET },
  63: { property: 'speed or duplex', needs: 'one of them set', spec: NET },
  65: {
    property: 'guest_tunnel',
    machine: '10.2',
    qemu: '10.2',
    needs: 'a tap whose kernel has UDP tunnel GSO',
    spec: NET,
  },
  66: {
    property: 'guest_tunnel_csum',
    machine: '10.2',
    qemu: '10.2',
    needs: 'a tap whose kernel has UDP tunnel GSO',
    spec: NET,
  },
  67: {
    property: 'host_tunnel',
    machine: '10.2',
    qemu: '10.2',
    needs: 'a tap whose kernel has UDP tunnel GSO',
    spec: NET,
  },
  68: {
    property: 'host_tunnel_csum',
    machine: '10.2',
    qemu: '10.2',
    needs: 'a tap whose kernel has UDP tunnel GSO',
    spec: NET,
  },
};

const blk: Readonly<Record<number, FeatureRow>> = {
  2: { needs: ALWAYS_OFFERED, spec: BLK },
  4: { needs: ALWAYS_OFFERED, spec: BLK },
  5: { property: 'read-only (of the drive)', spec: BLK },
  6: { needs: ALWAYS_OFFERED, spec: BLK },
  7: { needs: 'a device that does not offer VERSION_1', spec: 'Virtio 1.3 §5.2.3.1 (legacy)' },
  9: { property: 'write-cache, config-wce', spec: BLK },
  10: { needs: ALWAYS_OFFERED, spec: BLK },
  11: { property: 'config-wce', spec: BLK },
  12: {
    property: 'num-queues',
    machine: '5.2',
    needs: 'more than 1; PCI devices get one a vCPU from this machine version on',
    spec: BLK,
  },
  13: { property: 'discard', machine: '4.0', qemu: '4.0', spec: BLK },
  14: { property: 'write-zeroes', machine: '4.0', qemu: '4.0', spec: BLK },
  17: { qemu: '8.1', needs: 'a zoned drive', spec: BLK },
};

const transport: Readonly<Record<number, FeatureRow>> = {
  24: { property: 'notify_on_empty', spec: 'Virtio 1.3 §6.3 (legacy)' },
  27: { property: 'any_layout', machine: '2.4', spec: 'Virtio 1.3 §6.3 (legacy)' },
  28: { property: 'indirect_desc', spec: RING },
  29: { property: 'event_idx', spec: RING },
  30: { needs: 'PCI: always offered', spec: 'legacy drivers acknowledge it by mistake' },
  32: {
    property: 'disable-modern (PCI), max_revision (ccw), force-legacy (MMIO)',
    machine: '2.7',
    spec: RING,
  },
  33: { property: 'iommu_platform', needs: 'a modern-only device', spec: RING },
  34: { property: 'packed', qemu: '4.2', spec: RING },
  35: { property: 'in_order', qemu: '10.0', spec: RING },
  38: { property: 'notification_data', qemu: '9.1', spec: RING },
  40: { property: 'queue_reset', machine: '7.2', qemu: '7.2', spec: RING },
};

/** The kinds of device that can be made as a QEMU makes them. */
export type DeviceKind = 'virtio-net' | 'virtio-blk';

const own = {
  'virtio-net': { rows: net, names: netFeatures },
  'virtio-blk': { rows: blk, names: blkFeatures },
  'virtio-console': { rows: consoleRows, names: virtioConsole.features },
  'virtio-balloon': { rows: balloonRows, names: balloon.features },
  'virtio-scsi': { rows: scsiRows, names: scsi.features },
  'virtio-gpu': { rows: gpuRows, names: gpu.features },
  'virtio-mem': { rows: memRows, names: mem.features },
  'virtio-iommu': { rows: iommuRows, names: iommu.features },
  'virtio-vhost_vsock': { rows: vsockRows, names: vsock.features },
  'virtio-9p': { rows: ninepRows, names: ninep.features },
  'virtio-rng': { rows: {}, names: rng.features },
  'virtio-input': { rows: {}, names: input.features },
} as const satisfies Readonly<
  Record<string, { readonly rows: Readonly<Record<number, FeatureRow>>; readonly names: FeatureNames }>
>;

/** The kinds of device whose features are known, by the names of their sections. */
export type FeatureKind = keyof typeof own;

/** Are the features of such a section known? */
export function isFeatureKind(name: string): name is FeatureKind {
  return Object.hasOwn(own, name);
}

/** What decides over one feature of a device. Bits that nobody named have the name `bit N`. */
export function featureControl(bit: number, device?: FeatureKind): FeatureControl {
  const rows: Readonly<Record<number, FeatureRow>> = device === undefined ? {} : own[device].rows;
  const names: FeatureNames = device === undefined ? {} : own[device].names;
  const row = rows[bit] ?? transport[bit];
  const name = names[bit] ?? transportFeatures[bit] ?? `bit ${bit}`;
  return { bit, name, ...(row ?? { spec: 'not in the specification that virtkit knows' }) };
}

/** The bits of a set, lowest first. */
export function bitsOf(features: bigint): number[] {
  const bits: number[] = [];
  for (let bit = 0, left = features; left !== 0n; bit++, left >>= 1n) if ((left & 1n) === 1n) bits.push(bit);
  return bits;
}

/** Does a device that offers this have to be of another kind? A device without what its kind always has is none. */
function lacks(rows: Readonly<Record<number, FeatureRow>>, offered: bigint): boolean {
  return Object.entries(rows).some(
    ([bit, { needs, qemu }]) =>
      needs === ALWAYS_OFFERED && qemu === undefined && ((offered >> BigInt(bit)) & 1n) === 0n,
  );
}

/**
 * Which kind of device has such features? Told by bits that only one of them has, and by those that one always offers;
 * undefined where it may be several.
 */
export function guessDevice(negotiated: bigint, offered?: bigint): FeatureKind | undefined {
  const bits = bitsOf(negotiated | (offered ?? 0n)).filter((bit) => !(bit in transport));
  const [only, ...others] = Object.entries(own)
    .filter(
      ([, { rows }]) => bits.every((bit) => bit in rows) && !(offered !== undefined && lacks(rows, offered)),
    )
    .map(([kind]) => kind);
  return only !== undefined && others.length === 0 && isFeatureKind(only) ? only : undefined;
}
