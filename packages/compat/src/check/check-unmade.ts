import { type Finding, isHostError, MappedMemory, QUEUE_MAX, type VirtioState } from '@virtkit/core';
import { type Making, refusal, type Verdict } from '@virtkit/core/qemu';
import { titleOf } from '@virtkit/migration';
import type { PciParts } from '@virtkit/transport-pci';
import { freshDevice, type Made } from '@virtkit/visit';
import { ringTooLarge } from '../qemu-says.ts';
import { AnyDevice } from './any-device.ts';
import { destined, type Section } from './destined.ts';
import { impossible, verdictOf } from './findings.ts';
import { madeTransport } from './made-transport.ts';

/** Offset of the class code in configuration space, which has three bytes. */
const CLASS = 0x09;
const CLASS_VGA = 0x030000;
/** Length in bytes of the guest memory of a device that is made to be asked and never runs. */
const MEMORY_BYTES = 4096;

/** Verdicts over a state in a device of a type without a live device, as far as its properties decide. */
export function checkUnmade(section: Section, making: Making): Verdict[] {
  return [
    ...checkOutside(section, making),
    ...(section.type.check?.(section.state, destined(section, making)) ?? []),
  ];
}

/**
 * Verdicts over a state in the transport of the target's device, and in its queues: nothing of the device's own part.
 */
export function checkOutside(section: Section, making: Making): Verdict[] {
  return [...checkTransport(section, making), ...checkQueues(section, making)];
}

/**
 * Verdicts over a state in the transport of the target's device: one is made around a device that does nothing. What
 * nothing is said of, and no version of QEMU fixes, is as at the source.
 */
function checkTransport({ device, type, state }: Section, making: Making): Verdict[] {
  const title = titleOf(device);
  const pciClass = classOf({ device, type, state }, making);
  const model = new AnyDevice(
    { layer: device.codec.device, queueSizes: state.queues.map(() => QUEUE_MAX) },
    state,
  );
  const around = {
    memory: new MappedMemory([{ gpa: 0, bytes: new Uint8Array(MEMORY_BYTES) }]),
    machine: making.machine,
    targetEndian: making.endian,
  };
  try {
    const { pci, version1 } = madeTransport(making, type, state);
    const made: Made = {
      pci: (inferred) => ({ ...pci?.(inferred), classCode: pciClass }),
      ...(version1 !== undefined && { version1 }),
    };
    return freshDevice(device, state, model, around, made)
      .check(state)
      .filter((finding) => finding.layer === 'transport' && isToldHere(finding, pciClass))
      .map((finding) => verdictOf(title, finding, type, state, making));
  } catch (error) {
    if (!isHostError(error)) throw error;
    return [impossible(title, error.message, making)];
  }
}

/** Does a finding about the transport count? A GPU with VGA beside it has its registers elsewhere: only its class is compared. */
function isToldHere({ code, facts }: Finding, pciClass: number): boolean {
  if (code === 'config-space-size' || code === 'modern-state') return true;
  return code === 'config-space' && (pciClass !== CLASS_VGA || isClass(Number(facts['offset'])));
}

function isClass(offset: number): boolean {
  return offset >= CLASS && offset < CLASS + 3;
}

function classOf(
  { device, type, state }: Pick<Section, 'device' | 'type' | 'state'>,
  making: Making,
): number {
  if (device.codec.transport.name !== 'pci') return 0;
  const { config } = (state as VirtioState<PciParts>).transport;
  const here = (config[CLASS] ?? 0) | ((config[CLASS + 1] ?? 0) << 8) | ((config[CLASS + 2] ?? 0) << 16);
  return type.qemu.pci?.classes?.[making.device.driver] ?? here;
}

/** Verdict over queues that the device does not have: QEMU up to 10.2 takes them all the same, later ones refuse. */
function checkQueues({ device, type, state: { queues } }: Section, making: Making): Verdict[] {
  const sizes = type.qemu.queues?.(making);
  if (sizes === undefined || !making.qemu.checksRingSize) return [];
  const { driver } = making.device;
  const index = queues.findIndex(({ num }, at) => num > (sizes[at] ?? 0));
  const first = queues[index];
  if (first === undefined) return [];
  return [
    refusal(
      'queue-count',
      `${titleOf(device)} / queues[${index}]`,
      index < sizes.length
        ? `${first.num} entries, and the target's ${driver} has ${sizes[index]} there: it has other queues`
        : `${queues.length} queues, and the target's ${driver} has ${sizes.length}`,
      {
        qemuSays: ringTooLarge(index, first.num, sizes[index] ?? 0),
        advice: 'make the device at the target as the one at the source was made',
      },
    ),
  ];
}
