import type { Destination, DestinationDevice } from './destination.ts';
import { numberOf } from './numbers.ts';

/** Numbers of the ports that a console device has at the destination; port 0 is always kept. QEMU: `virtser_port_device_realize` */
export function activePorts({ place }: DestinationDevice, { devices }: Destination): ReadonlySet<number> {
  const ports = new Set([0]);
  let first = true;
  let full = 0;
  for (const { driver, properties, within } of devices) {
    if (within === undefined || within !== place) continue;
    // the first console without a number takes port 0
    while (ports.has(full)) full++;
    const free = driver === 'virtconsole' && first ? 0 : full;
    const port = numberOf(properties.get('nr')) ?? free;
    if (port === 0) first = false;
    ports.add(port);
  }
  return ports;
}
