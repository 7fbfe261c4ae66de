import type { GuestSysfsDevice } from '../guest.ts';
import type { Qemu } from '../qemu.ts';
import { optional } from './ask.ts';
import { readBlockInflight } from './in-flight.ts';
import type { SerialPortTruth, Truth } from './truth-types.ts';
import { readVirtio } from './virtio.ts';

async function readSerialPorts(vm: Qemu): Promise<SerialPortTruth[]> {
  const lines = (await vm.hmp('info qtree')).matchAll(
    /port (\d+), guest (on|off), host (on|off), throttle (on|off)/g,
  );
  return Array.from(lines, ([, port, guest, host, throttle]) => ({
    port: Number(port),
    guest: guest === 'on',
    host: host === 'on',
    throttle: throttle === 'on',
  }));
}

/** Reads what QEMU says of devices that are neither disk nor card. */
async function readOthers(
  vm: Qemu,
): Promise<Pick<Truth, 'query-balloon' | 'query-memory-devices' | 'serial_ports'>> {
  const balloon = await optional(vm, 'query-balloon');
  const memory = await optional(vm, 'query-memory-devices');
  const ports = await readSerialPorts(vm);
  return {
    ...(balloon === undefined ? {} : { 'query-balloon': balloon }),
    ...(Array.isArray(memory) && memory.length > 0 ? { 'query-memory-devices': memory } : {}),
    ...(ports.length === 0 ? {} : { serial_ports: ports }),
  };
}

/** Reads everything {@link Truth} has; the virtual machine must stand. */
export async function readTruth(vm: Qemu, sysfs: readonly GuestSysfsDevice[] = []): Promise<Truth> {
  const complaints = vm.stderr;
  const virtio = await readVirtio(vm, sysfs);
  const filter = await optional(vm, 'query-rx-filter');
  const block = await optional(vm, 'query-block');
  const inflight = await readBlockInflight(vm, virtio);
  const others = await readOthers(vm);
  if (vm.stderr !== complaints)
    throw new Error(`the queries disturbed QEMU: ${vm.stderr.slice(complaints.length)}`);
  return {
    'query-status': await vm.qmp.execute('query-status'),
    'query-version': await vm.qmp.execute('query-version'),
    virtio,
    ...(filter === undefined ? {} : { 'query-rx-filter': filter }),
    ...(block === undefined ? {} : { 'query-block': block }),
    ...(inflight.length === 0 ? {} : { blk_inflight: inflight }),
    ...others,
  };
}
