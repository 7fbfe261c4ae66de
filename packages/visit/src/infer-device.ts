import { type DeviceModel, FEATURE, hasFeature, negotiated, type VirtioState } from '@virtkit/core';
import { BLK_FEATURE, type BlkBackend, BlkDevice, type BlkOptions, type BlkState } from '@virtkit/device-blk';
import { NET_FEATURE, type NetBackend, NetDevice, type NetOptions, type NetState } from '@virtkit/device-net';
import { StateError } from '@virtkit/vmstate';
import type { Made } from './made.ts';

/** What the devices of a stream are connected to where they go on. */
export interface Backends {
  /** The disk of a block device; the title is `virtio-blk@0000:00:02.0`. `readOnly`: its driver was told so. */
  disk(title: string, readOnly: boolean): BlkBackend;
  /** The network of a card. */
  network(title: string): NetBackend;
  /** More options for a block device, such as error policies. */
  readonly blk?: Partial<BlkOptions>;
}

/** Configuration bytes up to which a feature reaches. Virtio 1.3 §5.2.4 */
const DISCARD_END = 48;
const WRITE_ZEROES_END = 57;
/** Virtio 1.3 §5.1.4: bytes of the address, all that a card without STATUS has. */
const MAC_END = 6;

/**
 * The device type that wrote this state, made anew: what QEMU's command line said is read from what it left in the state.
 * What left no trace is as QEMU's defaults are, and does not show.
 *
 * @throws StateError `device-type` for types that virtkit has no live device of
 */
export function inferDevice(
  name: string,
  title: string,
  state: VirtioState,
  backends: Backends,
  made: Made = {},
): DeviceModel<unknown> {
  if (name === 'virtio-blk') {
    const options = inferBlk(title, state as VirtioState<never, BlkState>, backends);
    return new BlkDevice(made.blk?.(options) ?? options) as DeviceModel<unknown>;
  }
  if (name === 'virtio-net') {
    const options = inferNet(title, state as VirtioState<never, NetState>, backends);
    return new NetDevice(made.net?.(options) ?? options) as DeviceModel<unknown>;
  }
  throw new StateError(
    'device-type',
    `${title}: there is no live device of this type`,
    { name },
    { layer: 'device' },
  );
}

function inferBlk(title: string, state: VirtioState<never, BlkState>, backends: Backends): BlkOptions {
  const { config, device } = state;
  const features = negotiated(state);
  const readOnly = hasFeature(features, BLK_FEATURE.RO);
  const disk = backends.disk(title, readOnly);
  return {
    backend: disk,
    queues: Math.max(state.queues.length, 1),
    queueSize: ringSize(state, 0, 4),
    readOnly: readOnly || (disk.readOnly ?? false),
    discard: config.length >= DISCARD_END,
    writeZeroes: config.length >= WRITE_ZEROES_END,
    ...(device.layout !== undefined && {
      ndescs: device.layout.ndescs === 'before' ? 'before' : 'after',
      hostEndian: device.layout.byteOrder,
    }),
    ...backends.blk,
  };
}

function inferNet(title: string, state: VirtioState<never, NetState>, backends: Backends): NetOptions {
  const { config, device } = state;
  const features = negotiated(state);
  const has = (bit: number): boolean => hasFeature(features, bit);
  const offloads: NetOptions['offloads'] = {
    csum: true,
    tso: true,
    ufo: device.hasUfo !== 0,
    uso: has(NET_FEATURE.GUEST_USO4) || has(NET_FEATURE.GUEST_USO6) || has(NET_FEATURE.HOST_USO),
    udpTunnel: state.subsections.features128 !== undefined,
  };
  return {
    backend: backends.network(title),
    mac: device.mac,
    queuePairs: device.maxQueuePairs ?? 1,
    rxQueueSize: ringSize(state, 0, 256),
    txQueueSize: ringSize(state, 1, 256),
    ...(device.hasVnetHdr !== 0 && { offloads }),
    ...(has(NET_FEATURE.MTU) && { mtu: 1500 }),
    ...((has(NET_FEATURE.SPEED_DUPLEX) || config.length === 17) && { speed: 1000 }),
    status: config.length > MAC_END,
    rss: has(NET_FEATURE.RSS),
    hashReport: has(NET_FEATURE.HASH_REPORT),
    standby: has(NET_FEATURE.STANDBY),
    ...(device.rss?.version === 2 && { rssStateVersion: 2 }),
  };
}

/** Ring size that a queue was created with, as far as the state tells: a driver may have lowered it. */
function ringSize({ queues, subsections }: VirtioState, index: number, least: number): number {
  const size = subsections.ringsize?.[index] || queues[index]?.num || 256;
  const valid = size >= least && size <= 1024 && Number.isInteger(Math.log2(size));
  return valid ? size : 256;
}

/** Ring features that were offered: those that left a trace, and QEMU's defaults. */
export function inferRings(state: VirtioState) {
  const features = negotiated(state);
  const { subsections } = state;
  return {
    packed: subsections.packedVirtqueues !== undefined,
    inOrder: hasFeature(features, FEATURE.IN_ORDER),
    notificationData: hasFeature(features, FEATURE.NOTIFICATION_DATA),
    // the subsection of the upper features is there if one of them is offered; on a legacy device this is the only one
    ringReset: subsections.features64 !== undefined,
  };
}
