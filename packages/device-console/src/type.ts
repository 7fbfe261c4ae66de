/**
 * The console device as a type: what QEMU's versions and options make of it, beside the device itself.
 *
 * You bring:  a registry (`registryOf` of `@virtkit/core/qemu`).
 * You get:    {@link consoleType}, with which streams with consoles are checked, converted, explained, compared, and opened.
 * @packageDocumentation
 */
import type { TransportParts, VirtioState } from '@virtkit/core';
import {
  chosen,
  compareVersion,
  type Destined,
  defined,
  isSince,
  type LiveDeviceType,
  type Making,
  numberOf,
  propertyNames,
  type QemuDevice,
  type Rewritten,
  refusal,
  switchOf,
  type Verdict,
} from '@virtkit/core/qemu';
import { CONFIG_BYTES } from './config-space.ts';
import { ConsoleDevice } from './device.ts';
import { virtioConsole } from './layer.ts';
import { PORTS_MAX } from './limits.ts';
import type { ConsoleOptions, PortOptions } from './live/options.ts';
import type { ConsoleState } from './state.ts';

/** Options of a port but for what it is connected to. */
export type PortShape = Omit<PortOptions, 'backend'>;

/** Options of a console device but for what its ports are connected to. */
export type ConsoleShape = Omit<ConsoleOptions, 'ports'> & { readonly ports?: readonly PortShape[] };

const SPEC = 'Virtio 1.3 §5.3.3';
/** Default number of ports of QEMU's console device. QEMU: `max_ports`. */
const DEFAULT_PORTS = 31;
/** Machine version with which there are emergency writes by default. QEMU: `hw_compat_2_7` */
const EMERGENCY_SINCE = '2.8';
const BITS_OF_WORD = 32;

/** Descriptor of virtio-console. */
export const consoleType: LiveDeviceType<ConsoleState, ConsoleShape, ConsoleOptions> = {
  layer: virtioConsole,
  features: {
    1: { property: 'max_ports', needs: 'more than 1', spec: SPEC },
    2: { property: 'emergency-write', machine: EMERGENCY_SINCE, spec: SPEC },
  },
  live: {
    infer: inferConsole,
    make: (options) => new ConsoleDevice(options),
    unconnected: ({ ports = [], ...options } = {}) => ({
      ...options,
      // what is written is taken, and nobody sends anything
      ports: ports.map((port) => ({ ...port, backend: { write: (_bytes, start, end) => end - start } })),
    }),
  },
  qemu: {
    drivers: ['virtio-serial'],
    properties: propertyNames('max_ports emergency-write'),
    queueSize: (index) => (index === 2 || index === 3 ? 32 : 128),
    pci: { vectors: ({ complete }, before) => (complete ? 2 : before) },
    options: consoleMadeBy,
  },
  conversions: [{ convert: slotsBehind }],
  check: checkPorts,
  findings: { ports: { toldBy: 'console-ports' }, 'port-unknown': { toldBy: 'console-ports' } },
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

/**
 * Infers the options with which the console was made that has this state. Names and sizes leave no trace, nor does it
 * which ports are terminals.
 */
function inferConsole({ device, queues, config }: VirtioState<TransportParts, ConsoleState>): ConsoleShape {
  const { ports } = device;
  const layouts = ports.flatMap(({ buffer }) => (buffer === null ? [] : [buffer]));
  const [layout] = layouts;
  return {
    maxPorts: Math.min(Math.max(queues.length / 2 - 1, 1), PORTS_MAX),
    // the configuration is as long as its last field reaches
    emergencyWrite: config.length > CONFIG_BYTES,
    ports: ports.map(({ id, hostConnected }) => ({ id, console: id === 0, open: hostConnected !== 0 })),
    ...(layout !== undefined && {
      ndescs: layout.ndescsPlace === 'before' ? 'before' : 'after',
      hostEndian: layout.byteOrder,
    }),
  };
}

/**
 * Derives the options of the console that a QEMU makes to take the state of one with these options. Its ports are
 * judged by themselves.
 */
function consoleMadeBy(inferred: ConsoleShape, making: Making): ConsoleShape {
  const { properties } = making.device;
  const given = defined({
    maxPorts: chosen(making, numberOf(properties.get('max_ports')), DEFAULT_PORTS),
    emergencyWrite: chosen(
      making,
      switchOf(properties.get('emergency-write')),
      isSince(making, EMERGENCY_SINCE),
    ),
  });
  const { maxPorts = DEFAULT_PORTS } = { ...inferred, ...given };
  const ports = (inferred.ports ?? []).filter(({ id = 0 }) => id < maxPorts);
  return { ...inferred, ...given, ports };
}

/**
 * Checks that the ports are the same, at the same numbers: QEMU compares the maps, and says nothing but where it
 * stopped.
 */
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

/** Lists the numbers of the ports in a state's map. */
function portsOf({ portsMap }: ConsoleState): ReadonlySet<number> {
  const ports = new Set<number>();
  portsMap.forEach((word, index) => {
    for (let bit = 0; bit < BITS_OF_WORD; bit++)
      if (((word >>> bit) & 1) === 1) ports.add(BITS_OF_WORD * index + bit);
  });
  return ports;
}

/**
 * Lists the numbers of the ports that a console has with these devices inside; port 0 is always kept. QEMU:
 * `virtser_port_device_realize`
 */
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

/**
 * Moves the ring slots of a port's half-written buffer behind it: QEMU writes them in front of it and looks for them
 * behind.
 */
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
