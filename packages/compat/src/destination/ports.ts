import type { Destination, DestinationDevice } from './destination.ts';
import { numberOf } from './numbers.ts';

/** Numbers of the ports that a console device has at the destination; port 0 is always kept. QEMU: `virtser_port_device_realize` */
export function activePorts({ place }: DestinationDevice, { devices }: Destination): ReadonlySet<number> {
  const ports = new Set([0]);
  let first = true;
  for (const { driver, properties, within } of devices) {
    if (within === undefined || within !== place) continue;
    // the first console without a number takes port 0
    const free = driver === 'virtconsole' && first ? 0 : lowestFree(ports);
    const port = numberOf(properties.get('nr')) ?? free;
    if (port === 0) first = false;
    ports.add(port);
  }
  return ports;
}

function lowestFree(ports: ReadonlySet<number>): number {
  let port = 0;
  while (ports.has(port)) port++;
  return port;
}
