import type { Qemu } from '../qemu.ts';
import type { InflightQueue, InflightRequest, VirtioDeviceTruth, VirtioQueueTruth } from './truth-types.ts';

/**
 * Works out from the rings in guest memory which block requests the device holds. Only for split rings in little-endian
 * layout that have not yet gone round, which is what a freshly started guest has.
 */
export async function readBlockInflight(
  vm: Qemu,
  devices: readonly VirtioDeviceTruth[],
): Promise<InflightQueue[]> {
  const result: InflightQueue[] = [];
  for (const device of devices) {
    if (device.name !== 'virtio-blk') continue;
    for (const queue of device.queues) {
      if (queue.ring === undefined || queue.inuse === 0) continue;
      const lastAvail = queue['last-avail-idx'] ?? 0;
      if (lastAvail > queue['vring-num']) continue;
      const requests: InflightRequest[] = [];
      for (const [head, position] of await heldChains(vm, queue, lastAvail))
        requests.push(await readRequest(vm, queue, head, position));
      result.push({ device: device.path, queue: queue['queue-index'], inuse: queue.inuse, requests });
    }
  }
  return result;
}

/** Chains that were taken and not given back: heads, and their places in the available ring. */
async function heldChains(vm: Qemu, queue: VirtioQueueTruth, taken: number): Promise<Map<number, number>> {
  const num = queue['vring-num'];
  const avail = new DataView((await vm.readMemory(queue['vring-avail'], 4 + 2 * num)).buffer);
  const used = new DataView((await vm.readMemory(queue['vring-used'], 4 + 8 * num)).buffer);
  const held = new Map<number, number>();
  const returned: number[] = [];
  for (let i = 0; i < queue['used-idx']; i++) returned.push(used.getUint32(4 + 8 * i, true));
  for (let i = 0; i < taken; i++) {
    const head = avail.getUint16(4 + 2 * i, true);
    const at = returned.indexOf(head);
    if (at >= 0) returned.splice(at, 1);
    else held.set(head, i);
  }
  return held;
}

/** A descriptor of a split ring. Virtio 1.3 §2.7.5 */
interface Descriptor {
  readonly addr: number;
  readonly len: number;
  readonly flags: number;
  readonly next: number;
}

const DESCRIPTOR_BYTES = 16;
const DESC = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;
/** More descriptors are no chain. */
const CHAIN_MAX = 1024;
/** Bytes of a block request's header. Virtio 1.3 §5.2.6 */
const HEADER_BYTES = 16;

async function readDescriptor(vm: Qemu, table: number, index: number): Promise<Descriptor> {
  const view = new DataView((await vm.readMemory(table + DESCRIPTOR_BYTES * index, DESCRIPTOR_BYTES)).buffer);
  return {
    addr: Number(view.getBigUint64(0, true)),
    len: view.getUint32(8, true),
    flags: view.getUint16(12, true),
    next: view.getUint16(14, true),
  };
}

async function readRequest(
  vm: Qemu,
  queue: VirtioQueueTruth,
  head: number,
  position: number,
): Promise<InflightRequest> {
  let table = queue['vring-desc'];
  let descriptor = await readDescriptor(vm, table, head);
  const indirect = (descriptor.flags & DESC.INDIRECT) !== 0;
  if (indirect) {
    table = descriptor.addr;
    descriptor = await readDescriptor(vm, table, 0);
  }
  const descs: InflightRequest['descs'][number][] = [];
  for (;;) {
    const { addr, len, flags, next } = descriptor;
    descs.push({ addr, len, write: (flags & DESC.WRITE) !== 0 });
    if ((flags & DESC.NEXT) === 0 || descs.length > CHAIN_MAX) break;
    descriptor = await readDescriptor(vm, table, next);
  }
  const hdr = await readHeader(vm, descs[0]);
  return { head, 'avail-pos': position, indirect, descs, ...(hdr !== undefined && { hdr }) };
}

async function readHeader(
  vm: Qemu,
  first: InflightRequest['descs'][number] | undefined,
): Promise<InflightRequest['hdr']> {
  if (first === undefined || first.write || first.len < HEADER_BYTES) return undefined;
  const header = new DataView((await vm.readMemory(first.addr, HEADER_BYTES)).buffer);
  return {
    type: header.getUint32(0, true),
    ioprio: header.getUint32(4, true),
    sector: Number(header.getBigUint64(8, true)),
  };
}
