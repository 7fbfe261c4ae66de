import type { VirtioState } from '@virtkit/core';
import { type ConsoleState, type MemState, memEarlyState } from '@virtkit/device-states';
import { type MigrationStream, titleOf, type VirtioDevice } from '@virtkit/migration';
import { hex, Reader } from '@virtkit/vmstate';
import { ringTooLarge } from '../qemu-says.ts';
import type { Verdict } from '../verdict.ts';
import { compareVersion } from '../versions.ts';
import { checkFunction } from './check-function.ts';
import type { Destination } from './destination.ts';
import { type Making, since } from './made.ts';
import { bytesOf, numberOf, switchOf } from './numbers.ts';
import { activePorts } from './ports.ts';

const SCSI_FIXED_QUEUES = 2;
const DEFAULT_PORTS = 31;
/** What a queue has at most. */
const LARGEST = 1024;

/** What is on either side of the device. */
interface Around {
  readonly stream: MigrationStream;
  readonly destination: Destination | undefined;
}

/** What speaks against a load into a device that cannot be made here, as far as its properties decide it. */
export function checkOther(
  device: VirtioDevice,
  state: VirtioState,
  making: Making,
  { stream, destination }: Around,
): Verdict[] {
  const title = titleOf(device);
  return [
    ...checkFunction(device, state, making, scsiQueuesAll(making)),
    ...checkQueues(title, device, state, making),
    ...(device.name === 'virtio-console'
      ? checkPorts(title, state.device as ConsoleState, making, destination)
      : []),
    ...(device.name === 'virtio-gpu' ? checkOutputs(title, device, state, making) : []),
    ...(device.name === 'virtio-mem' ? checkMemory(title, constantPart(device, state, stream), making) : []),
  ];
}

/** Request queues of a SCSI adapter; undefined: as at the source. */
function scsiQueues(making: Making): number | undefined {
  const said = numberOf(making.device.properties.get('num_queues'));
  if (said !== undefined || !making.complete) return said;
  return making.device.driver.includes('pci') && since(making, '5.2') ? making.cpus : 1;
}

/** All queues of a SCSI adapter. */
function scsiQueuesAll(making: Making): number {
  return (scsiQueues(making) ?? 1) + SCSI_FIXED_QUEUES;
}

/** The sizes of the queues that the target's device is made with; undefined: as at the source, or not known. */
function queuesOf({ name }: VirtioDevice, making: Making): readonly number[] | undefined {
  const { properties } = making.device;
  const on = (property: string): boolean => switchOf(properties.get(property)) === true;
  switch (name) {
    case 'virtio-console': {
      const ports = numberOf(properties.get('max_ports')) ?? (making.complete ? DEFAULT_PORTS : undefined);
      return ports === undefined ? undefined : [128, 128, 32, 32, ...repeated(128, 2 * (ports - 1))];
    }
    case 'virtio-scsi': {
      const queues = scsiQueues(making);
      return queues === undefined ? undefined : repeated(LARGEST, queues + SCSI_FIXED_QUEUES);
    }
    case 'virtio-balloon':
      if (!making.complete) return undefined;
      return [
        128,
        128,
        128,
        ...(on('free-page-hint') ? [LARGEST] : []),
        ...(on('free-page-reporting') ? [32] : []),
      ];
    default:
      return undefined;
  }
}

function repeated(size: number, times: number): number[] {
  return new Array<number>(Math.max(times, 0)).fill(size);
}

/** QEMU takes more queues than it has made up to 10.2, and writes their state beside; then it refuses. */
function checkQueues(
  title: string,
  device: VirtioDevice,
  { queues }: VirtioState,
  making: Making,
): Verdict[] {
  const sizes = queuesOf(device, making);
  if (sizes === undefined || !making.qemu.checksRingSize) return [];
  const index = queues.findIndex(({ num }, at) => num > (sizes[at] ?? 0));
  const first = queues[index];
  if (first === undefined) return [];
  return [
    {
      code: 'queue-count',
      severity: 'refused',
      path: `${title} / queues[${index}]`,
      reason:
        index < sizes.length
          ? `${first.num} entries, and the target's ${making.device.driver} has ${sizes[index]} there: it has other queues`
          : `${queues.length} queues, and the target's ${making.device.driver} has ${sizes.length}`,
      qemuSays: ringTooLarge(index, first.num, sizes[index] ?? 0),
      advice: 'make the device at the target as the one at the source was made',
    },
  ];
}

/** The ports must be the same, at the same numbers: QEMU compares the maps, and says nothing but where it stopped. */
function checkPorts(
  title: string,
  { portsMap }: ConsoleState,
  making: Making,
  destination: Destination | undefined,
): Verdict[] {
  if (!making.complete || destination === undefined) return [];
  const there = activePorts(making.device, destination);
  const here = new Set<number>();
  portsMap.forEach((word, index) => {
    for (let bit = 0; bit < 32; bit++) if (((word >>> bit) & 1) === 1) here.add(32 * index + bit);
  });
  const missing = [...here].filter((port) => !there.has(port));
  const added = [...there].filter((port) => !here.has(port));
  if (missing.length === 0 && added.length === 0) return [];
  const differences = [
    ...(missing.length === 0 ? [] : [`does not have port ${missing.join(', ')}`]),
    ...(added.length === 0 ? [] : [`has port ${added.join(', ')} more`]),
  ];
  return [
    {
      code: 'console-ports',
      severity: 'refused',
      path: `${title} / device.portsMap`,
      reason: `the target's console ${differences.join(' and ')}`,
      qemuSays:
        compareVersion(making.qemu.name, '11.0') < 0
          ? 'Failed to load virtio-console:virtio'
          : 'Failed to load element of type virtio for virtio',
      property: 'nr (of virtserialport, virtconsole)',
      spec: 'Virtio 1.3 §5.3',
      advice:
        'give the target the same virtserialport and virtconsole devices, each with the nr it has at the source',
    },
  ];
}

function checkOutputs(
  title: string,
  { codec }: VirtioDevice,
  { rest }: VirtioState,
  making: Making,
): Verdict[] {
  const described = rest === undefined ? undefined : codec.device.describeRest?.(rest);
  if (described === undefined) return [];
  const { scanouts } = described as { readonly scanouts: readonly unknown[] };
  const there = numberOf(making.device.properties.get('max_outputs')) ?? (making.complete ? 1 : undefined);
  if (there === undefined || there === scanouts.length) return [];
  return [
    {
      code: 'gpu-outputs',
      severity: 'refused',
      path: `${title} / rest.scanouts`,
      reason: `${scanouts.length} outputs in the stream, and ${there} at the target's GPU`,
      qemuSays: `${there.toString(16)} != ${scanouts.length.toString(16)}`,
      property: 'max_outputs',
      advice: `give the target max_outputs=${scanouts.length}`,
    },
  ];
}

type Constant = Pick<MemState, 'addr' | 'blockSize' | 'node'>;

/** Machines older than QEMU 8.0 have it with the rest; newer ones in a section of its own, in front of the RAM. */
function constantPart({ path }: VirtioDevice, state: VirtioState, { sections }: MigrationStream): Constant {
  const mem = state.device as MemState;
  const early = sections.find(({ header }) => header.idstr === `${path}/virtio-mem-device-early`);
  return early === undefined ? mem : memEarlyState.decode(new Reader(early.body), undefined);
}

function checkMemory(title: string, { blockSize, node, addr }: Constant, making: Making): Verdict[] {
  const { properties } = making.device;
  const values: readonly (readonly [string, bigint | undefined, number | undefined])[] = [
    ['block-size', blockSize, bytesOf(properties.get('block-size'), 'b')],
    ['node', node === undefined ? undefined : BigInt(node), numberOf(properties.get('node'))],
    ['memaddr', addr, numberOf(properties.get('memaddr'))],
  ];
  return values.flatMap(([property, here, there]): Verdict[] => {
    if (here === undefined || there === undefined || here === BigInt(there)) return [];
    const numbers = property === 'node' ? [here, there] : [hex(here), hex(there)];
    return [
      {
        code: 'memory-device',
        severity: 'refused',
        path: `${title} / device`,
        reason: `${property} is ${numbers[0]} in the stream, and ${numbers[1]} at the target`,
        qemuSays: `Property '${property}' changed from ${numbers[0]} to ${numbers[1]}`,
        property,
        spec: 'Virtio 1.3 §5.15',
        advice: `give the target ${property}=${numbers[0]}`,
      },
    ];
  });
}
