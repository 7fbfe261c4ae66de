import { type Finding, isHostError, type LiveDevice, MappedMemory, negotiated } from '@virtkit/core';
import { type DeviceType, type LiveSide, type Making, switchOf, type Verdict } from '@virtkit/core/qemu';
import { titleOf } from '@virtkit/migration';
import { freshDevice } from '@virtkit/visit';
import { bitsOf, featureControl } from '../features/feature-control.ts';
import { featuresUnsupported } from '../qemu-says.ts';
import { featureVerdict } from './check-features.ts';
import { destined, type Section } from './destined.ts';
import { impossible, isNote, verdictOf } from './findings.ts';
import { madeTransport } from './made-transport.ts';

/** Length in bytes of the guest memory of a device that is made to be asked and never runs. */
const MEMORY_BYTES = 4096;
/** Rank of a layer in the order of QEMU's load: the transport, the device type, and then the features. */
const ORDER: Readonly<Record<string, number>> = { transport: 0, device: 1, core: 2 };
const DEVICE = 1;
/** Codes of findings that are left out: guest memory is not at hand here, and features are told bit by bit. */
const ELSEWHERE = new Set(['queue-index', 'request-memory', 'features']);

/**
 * Verdicts over a state in the device that the destination makes: a live device is made as the destination's would be,
 * and asked.
 */
export function checkMade(
  section: Section,
  live: LiveSide<unknown, unknown, unknown>,
  making: Making,
): Verdict[] {
  const { device, type, state } = section;
  const title = titleOf(device);
  let made: LiveDevice;
  try {
    made = deviceOf(section, live, making);
  } catch (error) {
    if (!isHostError(error)) throw error;
    return [impossible(title, error.message, making)];
  }
  const own = type.check?.(state, destined(section, making, made.model)) ?? [];
  const told = new Set(own.map(({ code }) => code));
  const verdicts = made
    .check(state)
    .filter((finding) => counts(finding, making) && !told.has(type.findings?.[finding.code]?.toldBy ?? ''))
    .map((finding): [number, Verdict] => [
      ORDER[finding.layer ?? 'core'] ?? 2,
      verdictOf(title, finding, type, state, making),
    ]);
  verdicts.push(...own.map((verdict): [number, Verdict] => [DEVICE, verdict]));
  verdicts.sort(([a], [b]) => a - b);
  return [...verdicts.map(([, verdict]) => verdict), ...checkOffered(section, made, making)];
}

function counts({ code, severity }: Finding, { qemu }: Making): boolean {
  if (isNote(code)) return true;
  if (ELSEWHERE.has(code) || severity !== 'error') return false;
  // before 11.1, more queues than the device has are loaded all the same
  return code !== 'queue-count' || qemu.checksRingSize;
}

function deviceOf(
  { device, type, state }: Section,
  live: LiveSide<unknown, unknown, unknown>,
  making: Making,
): LiveDevice {
  const inferred = live.infer(state);
  const options = type.qemu.options?.(inferred, making, state) ?? inferred;
  const model = live.make(live.unconnected(options));
  const around = {
    memory: new MappedMemory([{ gpa: 0, bytes: new Uint8Array(MEMORY_BYTES) }]),
    machine: making.machine,
    targetEndian: making.endian,
  };
  return freshDevice(device, state, model, around, madeTransport(making, type, state));
}

/** Verdicts over the features that are negotiated and that the device does not offer. */
function checkOffered(
  { device, type, state, machineTitle }: Section,
  live: LiveDevice,
  making: Making,
): Verdict[] {
  const { qemu } = making;
  const features = negotiated(state);
  const allowed = live.offeredFeatures & ~switchedOff(type, live.offeredFeatures, making.device.properties);
  const qemuSays = featuresUnsupported(qemu, features, features & ~allowed, allowed);
  return bitsOf(features & ~allowed).map((bit) => {
    const control = featureControl(bit, type);
    const reason = `${control.name} is negotiated, and the target's ${making.device.driver} (machine ${machineTitle}, QEMU ${qemu.name}) does not offer it`;
    return featureVerdict(titleOf(device), control, qemuSays, reason);
  });
}

/**
 * Lists the offered features that a property of the device switches off and for which virtkit's device has no option.
 */
function switchedOff(type: DeviceType, offered: bigint, properties: ReadonlyMap<string, string>): bigint {
  return bitsOf(offered).reduce((off, bit) => {
    const names = featureControl(bit, type).property?.split(', ') ?? [];
    // a property that decides over several features, or several over one: those are the device's own to decide
    const own = names.length === 1 && names.some((name) => switchOf(properties.get(name)) === false);
    return own ? off | (1n << BigInt(bit)) : off;
  }, 0n);
}
