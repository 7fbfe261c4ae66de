import type { TransportParts, VirtioState } from '@virtkit/core';
import {
  compareVersion,
  type Destined,
  type DeviceType,
  type Making,
  numberOf,
  propertyNames,
  type QemuDevice,
  type Rewritten,
  refusal,
  type Verdict,
} from '@virtkit/core/qemu';
import { type ConsoleState, virtioConsole } from '../console.ts';

const SPEC = 'Virtio 1.3 §5.3.3';
/** `max_ports` of QEMU's console device, without port 0. */
const DEFAULT_PORTS = 31;
/** Ring sizes of port 0 and of the control queues; each further port has two queues of {@link PORT_RING}. */
const FIRST_RINGS = [128, 128, 32, 32];
const PORT_RING = 128;
const BITS_OF_WORD = 32;

/** virtio-console. */
export const consoleType: DeviceType<ConsoleState> = {
  layer: virtioConsole,
  features: {
    1: { property: 'max_ports', needs: 'more than 1', spec: SPEC },
    2: { property: 'emergency-write', machine: '2.8', spec: SPEC },
  },
  qemu: {
    drivers: ['virtio-serial'],
    properties: propertyNames('max_ports emergency-write'),
    queueSize: (index) => FIRST_RINGS[index] ?? PORT_RING,
    queues: ({ device, complete }) => {
      const ports = numberOf(device.properties.get('max_ports')) ?? (complete ? DEFAULT_PORTS : undefined);
      if (ports === undefined) return undefined;
      return [...FIRST_RINGS, ...new Array<number>(Math.max(2 * (ports - 1), 0)).fill(PORT_RING)];
    },
    pci: { vectors: ({ complete }, before) => (complete ? 2 : before) },
  },
  conversions: [{ convert: slotsBehind }],
  check: checkPorts,
  messages: [
    {
      // QEMU says nothing but where it stopped, and QEMU 11 not even that it was a console
      silent: true,
      pattern: /^Failed to load (?:virtio-console:virtio|element of type virtio)/,
      explain: (_match, { device }) =>
        device === virtioConsole.name
          ? {
              code: 'console-ports',
              role: 'cause',
              meaning:
                'The console does not take its state, and QEMU does not say why: then its ports are not those of the source. The numbers of all ports must be the same on both sides.',
              advice: [
                'Give the destination the same virtserialport and virtconsole devices (the guest agent has one), each with the nr that it has at the source.',
                'virtkit inspect FILE --device virtio-console shows the ports of the stream.',
              ],
              facts: {},
            }
          : undefined,
    },
  ],
};

/** The ports must be the same, at the same numbers: QEMU compares the maps, and says nothing but where it stopped. */
function checkPorts(
  { device }: VirtioState<TransportParts, ConsoleState>,
  { title, making, inside }: Destined,
): Verdict[] {
  if (!making.complete || inside === undefined) return [];
  const there = activePorts(inside);
  const here = portsOf(device);
  const missing = [...here].filter((port) => !there.has(port));
  const added = [...there].filter((port) => !here.has(port));
  if (missing.length === 0 && added.length === 0) return [];
  const differences = [
    ...(missing.length === 0 ? [] : [`does not have port ${missing.join(', ')}`]),
    ...(added.length === 0 ? [] : [`has port ${added.join(', ')} more`]),
  ];
  return [
    refusal(
      'console-ports',
      `${title} / device.portsMap`,
      `the target's console ${differences.join(' and ')}`,
      {
        qemuSays: whereItStops(making),
        property: 'nr (of virtserialport, virtconsole)',
        spec: 'Virtio 1.3 §5.3',
        advice:
          'give the target the same virtserialport and virtconsole devices, each with the nr it has at the source',
      },
    ),
  ];
}

function whereItStops({ qemu }: Making): string {
  return compareVersion(qemu.name, '11.0') < 0
    ? 'Failed to load virtio-console:virtio'
    : 'Failed to load element of type virtio for virtio';
}

/** Numbers of the ports in a state's map. */
function portsOf({ portsMap }: ConsoleState): ReadonlySet<number> {
  const ports = new Set<number>();
  portsMap.forEach((word, index) => {
    for (let bit = 0; bit < BITS_OF_WORD; bit++)
      if (((word >>> bit) & 1) === 1) ports.add(BITS_OF_WORD * index + bit);
  });
  return ports;
}

/** Numbers of the ports that a console has with these devices inside; port 0 is always kept. QEMU: `virtser_port_device_realize` */
function activePorts(devices: readonly QemuDevice[]): ReadonlySet<number> {
  const ports = new Set([0]);
  let first = true;
  let full = 0;
  for (const { driver, properties } of devices) {
    // the first console without a number takes port 0
    while (ports.has(full)) full++;
    const free = driver === 'virtconsole' && first ? 0 : full;
    const port = numberOf(properties.get('nr')) ?? free;
    if (port === 0) first = false;
    ports.add(port);
  }
  return ports;
}

/** QEMU writes the ring slots of a port's half-written buffer in front of it and looks for them behind it. */
function slotsBehind(title: string, device: ConsoleState): Rewritten<ConsoleState> | undefined {
  const changed: number[] = [];
  const ports = device.ports.map((port) => {
    if (port.buffer?.ndescsPlace !== 'before') return port;
    changed.push(port.id);
    return { ...port, buffer: { ...port.buffer, ndescsPlace: 'after' as const } };
  });
  if (changed.length === 0) return undefined;
  return {
    device: { ...device, ports },
    verdict: refusal(
      'request-layout',
      `${title} / device.ports`,
      `a half-written buffer of port ${changed.join(', ')}, of a device that offers packed rings: QEMU writes a number in front of it and looks for it behind`,
      {
        qemuSays: 'virtio: error trying to map MMIO memory',
        property: 'packed',
        spec: 'Virtio 1.3 §2.8',
        advice: 'virtkit convert; or let the port be read at the host before migrating',
        convertible: true,
      },
    ),
  };
}
