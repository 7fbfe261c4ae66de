import type { Destination, DestinationDevice } from './destination.ts';
import { numberOf } from './words.ts';

const CONSOLE = /^virtio-serial(-pci|-ccw|-device)?(-transitional|-non-transitional)?$/;
const PORT = /^(virtconsole|virtserialport)$/;

/** Numbers of the ports that a console device has at the destination; port 0 is always kept. QEMU: `virtser_port_device_realize` */
export function activePorts(device: DestinationDevice, { devices }: Destination): ReadonlySet<number> {
  const consoles = devices.filter(({ driver }) => CONSOLE.test(driver));
  const at = consoles.findIndex(({ place }) => place === device.place);
  const ports = new Set([0]);
  let first = true;
  for (const { driver, properties } of devices) {
    if (!PORT.test(driver) || busIndex(properties.get('bus'), consoles) !== at) continue;
    // the first console without a number takes port 0
    const free = driver === 'virtconsole' && first ? 0 : lowestFree(ports);
    const port = numberOf(properties.get('nr')) ?? free;
    if (port === 0) first = false;
    ports.add(port);
  }
  return ports;
}

/** `serial0.0` is the bus of the device with that id; without an id it has a number; without a bus it is the first. */
function busIndex(bus: string | undefined, consoles: readonly DestinationDevice[]): number {
  if (bus === undefined) return 0;
  const named = consoles.findIndex(({ properties }) => bus === `${properties.get('id')}.0`);
  if (named >= 0) return named;
  const index = /^virtio-serial-bus\.(\d+)$/.exec(bus)?.[1];
  const without = consoles.filter(({ properties }) => properties.get('id') === undefined);
  const found = index === undefined ? undefined : without[Number(index)];
  return found === undefined ? -1 : consoles.indexOf(found);
}

function lowestFree(ports: ReadonlySet<number>): number {
  let port = 0;
  while (ports.has(port)) port++;
  return port;
}
