import type { GuestSysfsDevice } from '../guest.ts';
import { compareVersions, type Qemu, type QemuArch } from '../qemu.ts';
import { isObject, type JsonObject } from '../qmp.ts';
import { asText, optional } from './ask.ts';
import type { SplitRing, VirtioDeviceTruth, VirtioQueueTruth, VirtioStatus } from './truth-types.ts';

async function readSplitRing(
  vm: Qemu,
  queue: VirtioQueueTruth,
  littleEndian: boolean,
): Promise<SplitRing | undefined> {
  const num = queue['vring-num'];
  const [avail, used] = [queue['vring-avail'], queue['vring-used']];
  if (!vm.sharedMemory || queue['vring-desc'] === 0 || avail === 0 || used === 0 || num === 0)
    return undefined;
  try {
    const availBytes = new DataView((await vm.readMemory(avail, 6 + 2 * num)).buffer);
    const usedBytes = new DataView((await vm.readMemory(used, 6 + 8 * num)).buffer);
    return {
      'avail-flags': availBytes.getUint16(0, littleEndian),
      'avail-idx': availBytes.getUint16(2, littleEndian),
      'used-flags': usedBytes.getUint16(0, littleEndian),
      'used-idx': usedBytes.getUint16(2, littleEndian),
      'used-event': availBytes.getUint16(4 + 2 * num, littleEndian),
      'avail-event': usedBytes.getUint16(4 + 8 * num, littleEndian),
    };
  } catch (error) {
    if (error instanceof RangeError) return undefined; // a vIOMMU translates the addresses
    throw error;
  }
}

interface RingKind {
  readonly packed: boolean;
  readonly littleEndian: boolean;
}

function ringKind(
  arch: QemuArch,
  status: VirtioStatus | undefined,
  sysfs: GuestSysfsDevice | undefined,
): RingKind {
  if (status !== undefined) {
    const negotiated = (name: string): boolean =>
      status['guest-features'].transports.some((text) => text.startsWith(`${name}:`));
    return {
      packed: negotiated('VIRTIO_F_RING_PACKED'),
      littleEndian: negotiated('VIRTIO_F_VERSION_1') || status['device-endian'] !== 'big',
    };
  }
  const features = sysfs?.features_bit0_first ?? '';
  const bigEndianGuest = arch === 's390x' || arch === 'm68k';
  return { packed: features[34] === '1', littleEndian: features[32] === '1' || !bigEndianGuest };
}

/** Queue indices to ask about: all that exist. A device may have gaps. */
async function readQueues(vm: Qemu, path: string, count: number | undefined): Promise<VirtioQueueTruth[]> {
  const queues: VirtioQueueTruth[] = [];
  for (
    let index = 0;
    index < 1024 &&
    (count === undefined || queues.length < count) &&
    index < (queues.at(-1)?.['queue-index'] ?? 0) + 40;
    index++
  ) {
    const answer = await optional(vm, 'x-query-virtio-queue-status', { path, queue: index });
    if (isObject(answer)) queues.push(answer as unknown as VirtioQueueTruth);
  }
  return queues;
}

const DEVICE_IDS: Readonly<Record<string, string>> = { 'virtio-net': '0x0001', 'virtio-blk': '0x0002' };

/**
 * Asks QEMU about all virtio devices; the virtual machine must stand. `sysfs` (what the guest reported) supplies the
 * negotiated features where QEMU cannot be asked for them.
 */
export async function readVirtio(
  vm: Qemu,
  sysfs: readonly GuestSysfsDevice[] = [],
): Promise<VirtioDeviceTruth[]> {
  const devices = await optional(vm, 'x-query-virtio');
  if (!Array.isArray(devices)) return [];
  const truths: VirtioDeviceTruth[] = [];
  for (const device of devices) if (isObject(device)) truths.push(await readDevice(vm, device, sysfs));
  return truths;
}

async function readDevice(
  vm: Qemu,
  device: JsonObject,
  sysfs: readonly GuestSysfsDevice[],
): Promise<VirtioDeviceTruth> {
  const path = asText(device['path']);
  const name = asText(device['name']);
  const canAsk = compareVersions(vm.binary.version, '10.2') < 0;
  const answer = canAsk ? await optional(vm, 'x-query-virtio-status', { path }) : undefined;
  const status = isObject(answer) ? (answer as unknown as VirtioStatus) : undefined;
  const reported = sysfs.find((entry) => entry.device === DEVICE_IDS[name]);
  const kind = ringKind(vm.binary.arch, status, reported);
  const queues: VirtioQueueTruth[] = [];
  for (const queue of await readQueues(vm, path, undefined))
    queues.push(await withRing(vm, path, queue, kind));
  return { path, name, ...(status !== undefined && { status }), queues };
}

/** Adds what stands in the ring, and the element that the device takes next. */
async function withRing(
  vm: Qemu,
  path: string,
  queue: VirtioQueueTruth,
  kind: RingKind,
): Promise<VirtioQueueTruth> {
  const live = !kind.packed && queue['vring-desc'] !== 0;
  const ring = live ? await readSplitRing(vm, queue, kind.littleEndian) : undefined;
  // Asking for an element that is not there makes QEMU follow a stale descriptor, which can break the device.
  const pending = ring !== undefined && ring['avail-idx'] !== queue['last-avail-idx'];
  const element = pending
    ? await optional(vm, 'x-query-virtio-queue-element', { path, queue: queue['queue-index'] })
    : undefined;
  return {
    ...queue,
    ...(ring !== undefined && { ring }),
    ...(isObject(element) && { 'element-at-last-avail': element }),
  };
}
