// Buses inside of devices that are not virtio: USB ports and SCSI addresses are parts of the names of sections.
import { numberOf } from '@virtkit/core/qemu';
import type { Bus, NewBus } from './bus-tree.ts';

/** Counts the ports of a USB controller or a hub; undefined: the type is neither. A companion has none of its own. */
function portsOf(driver: string, properties: ReadonlyMap<string, string>): number | undefined {
  const said = (name: string): number | undefined => numberOf(properties.get(name));
  switch (driver) {
    case 'qemu-xhci':
    case 'nec-usb-xhci':
      return Math.min(Math.max(said('p2') ?? XHCI_PORTS, said('p3') ?? XHCI_PORTS), PORTS_MAX);
    case 'usb-ehci':
    case 'ich9-usb-ehci1':
    case 'ich9-usb-ehci2':
      return 6;
    case 'pci-ohci':
      return properties.has('masterbus') ? undefined : Math.min(said('num-ports') ?? 3, PORTS_MAX);
    case 'usb-hub':
      return Math.min(said('ports') ?? HUB_PORTS, PORTS_MAX);
    default:
      return /-usb-uhci\d?$/.test(driver) && !properties.has('masterbus') ? 2 : undefined;
  }
}

/** Number of ports of either speed that an xHCI controller has by default. */
export const XHCI_PORTS = 4;
const HUB_PORTS = 8;
/** Largest number of ports that a controller or a hub can have. */
const PORTS_MAX = 64;

const SCSI_CONTROLLER =
  /^([a-z]+-scsi-(pci|ccw|device).*|lsi53c8.*|megasas.*|mptsas1068|pvscsi|am53c974|dc390|usb-bot|usb-uas|usb-storage|spapr-vscsi)$/;

/**
 * Lists the buses that a device has for USB and SCSI devices. `place`: what the names of its own sections begin with.
 */
export function innerBuses(
  driver: string,
  id: string | undefined,
  properties: ReadonlyMap<string, string>,
  place: string,
): NewBus[] {
  const name = id === undefined ? {} : { name: `${id}.0` };
  const ports = driver === 'usb-hub' ? undefined : portsOf(driver, properties);
  if (ports !== undefined) return [{ class: 'usb-bus', prefix: place, ports: numbered('', ports), ...name }];
  return SCSI_CONTROLLER.test(driver) ? [{ class: 'SCSI', prefix: place, ...name }] : [];
}

function numbered(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`);
}

/** Port of a USB bus that a device takes, and hubs that QEMU puts in by itself. QEMU: `usb_claim_port` */
export interface ClaimedPort {
  /** Path of the port: `1`, `2.4`. Undefined: the bus has no such free port. */
  readonly port: string | undefined;
  /** Paths of the ports at which QEMU has put a hub. */
  readonly hubs: readonly string[];
}

/** Takes a port for a device. The last free one gets a hub, unless the device is one. */
export function claimPort(
  { ports = [] }: Bus,
  driver: string,
  properties: ReadonlyMap<string, string>,
): ClaimedPort {
  const hubs: string[] = [];
  const said = properties.get('port');
  if (said === undefined && ports.length === 1 && driver !== 'usb-hub') {
    const [last = ''] = ports.splice(0, 1);
    hubs.push(last);
    ports.push(...numbered(`${last}.`, HUB_PORTS));
  }
  const at = said === undefined ? 0 : ports.indexOf(said);
  const [port] = at < 0 ? [] : ports.splice(at, 1);
  if (driver === 'usb-hub' && port !== undefined)
    ports.push(...numbered(`${port}.`, portsOf(driver, properties) ?? HUB_PORTS));
  return { port, hubs };
}

const TARGETS = 256;

/**
 * Finds channel, target and unit that a SCSI device takes: what is not said is the first that is free. QEMU:
 * `scsi_qdev_realize`
 */
export function scsiAddress({ functions }: Bus, properties: ReadonlyMap<string, string>): string | undefined {
  const channel = numberOf(properties.get('channel')) ?? 0;
  let target = numberOf(properties.get('scsi-id'));
  let unit = numberOf(properties.get('lun'));
  const key = (id: number, lun: number): number => (channel * TARGETS + id) * LUNS + lun;
  if (target === undefined) {
    unit ??= 0;
    for (target = 0; functions.has(key(target, unit)); ) target++;
  } else if (unit === undefined) for (unit = 0; functions.has(key(target, unit)); ) unit++;
  if (target >= TARGETS || unit >= LUNS) return undefined;
  functions.add(key(target, unit));
  return `${channel}:${target}:${unit}`;
}

/** Number of units of a target; the numbers above are never reached by counting. */
const LUNS = 1 << 16;
