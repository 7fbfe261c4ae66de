import { hex } from '@virtkit/vmstate';
import type { Endian } from '../contract/device.ts';
import type { RequestInFlight } from '../contract/device-model.ts';
import type { Finding, Report } from '../contract/finding.ts';
import type { RestoreOptions, RestorePlan } from '../contract/live-device.ts';
import type { QueueState, TransportParts, VirtioState } from '../contract/state.ts';
import { hasFeature, isModern, nameFeatures, negotiated } from '../features.ts';
import { checkVirtio } from '../procedure/check.ts';
import { reportError, reportWarning } from '../report.ts';
import { FEATURE } from '../spec.ts';
import type { DeviceCore } from './device-core.ts';
import { checkInFlight } from './in-flight.ts';
import { LEGACY_ALIGN } from './options.ts';
import { QueueSlot } from './queue-slot.ts';
import { setupOf } from './queue-table.ts';
import { applyRestore, type PlannedQueue, type PlannedRestore } from './restore-apply.ts';
import { freshIndices, type QueueSetup, type RingIndices } from './ring.ts';
import { checkSplitIndices, splitIndices } from './ring-map.ts';

/** Value of the subsection `virtio/device_endian` that means big-endian. */
const BIG_ENDIAN = 2;

/**
 * Looks at a saved state once: what speaks against it, and what it means for this device. Nothing is touched before the
 * plan is applied.
 *
 * @throws HostError for a device type that cannot take over its own state
 */
export function planRestore<T extends TransportParts, D>(
  core: DeviceCore<T, D>,
  state: VirtioState<T, D>,
  options: RestoreOptions,
): RestorePlan {
  const { transport, model } = core;
  model.checkApply(state);
  const findings = checkVirtio(state, { transport: transport.layer, device: model.layer });
  const to =
    (layer: Finding['layer']): Report =>
    (finding) =>
      findings.push({ ...finding, layer });
  const refused: RestorePlan = { findings, apply: undefined };
  // the other checks read what these found wrong
  if (hasError(findings)) return refused;
  const features = negotiated(state);
  checkFeatures(core, state, features, to('core'));
  checkConfig(core, state, to('core'));
  checkQueueCount(core, state, to('core'));
  transport.check(state, to('transport'));
  model.check(state, to('device'));
  if (hasError(findings)) return refused;
  const planned = planQueues(core, state, features);
  checkQueues(planned, requestsByQueue(core, state, options), to('core'));
  return hasError(findings) ? refused : { findings, apply: () => applyRestore(core, state, planned) };
}

function hasError(findings: readonly Finding[]): boolean {
  return findings.some(({ severity }) => severity === 'error');
}

function checkFeatures<T extends TransportParts, D>(
  { offered, model }: DeviceCore<T, D>,
  state: VirtioState<T, D>,
  features: bigint,
  report: Report,
): void {
  const missing = features & ~offered;
  if (missing === 0n) return;
  const names = nameFeatures(missing, model.layer.features).map(({ bit, name }) => name ?? `bit ${bit}`);
  reportError(
    report,
    'features',
    state.subsections.features64 === undefined ? 'guestFeatures' : 'subsections.features64',
    `Features ${hex(features)} unsupported. Allowed features: ${hex(offered)}; not offered: ${names.join(', ')}`,
    { features, allowed: offered, missing },
  );
}

function checkConfig<T extends TransportParts, D>(
  { config: { length } }: DeviceCore<T, D>,
  { config }: VirtioState<T, D>,
  report: Report,
): void {
  if (config.length === length) return;
  // QEMU copies what both have
  reportWarning(
    report,
    'config-length',
    'config',
    `${config.length} bytes of configuration space, and this device has ${length}`,
    { found: config.length, expected: length },
  );
}

function checkQueueCount<T extends TransportParts, D>(
  { model }: DeviceCore<T, D>,
  { queues }: VirtioState<T, D>,
  report: Report,
): void {
  const limit = model.queueSizes.length;
  // a save ends at the first queue without entries: what is behind it would be lost in the next one
  const none = queues.findIndex(({ num }) => num === 0);
  if (none !== -1)
    reportError(
      report,
      'queue-size',
      `queues[${none}].num`,
      `queue ${none} of ${queues.length} has no entries, and a save has only those in front of such a queue`,
      { queue: none, queues: queues.length },
    );
  // a device type that makes as many queues as the state has checks the number itself
  if (model.makesQueues || queues.length <= limit) return;
  reportError(report, 'queue-count', 'queues', `${queues.length} queues, and this device has ${limit}`, {
    found: queues.length,
    limit,
  });
}

/** Derives from a state what follows for all queues; guest memory is looked at once. */
function planQueues<T extends TransportParts, D>(
  core: DeviceCore<T, D>,
  state: VirtioState<T, D>,
  features: bigint,
): PlannedRestore {
  const { deviceEndian } = state.subsections;
  const endian: Endian =
    deviceEndian === undefined ? core.targetEndian : deviceEndian === BIG_ENDIAN ? 'big' : 'little';
  const modern = isModern(features);
  const rules = { features, littleEndian: modern || endian === 'little' };
  const queues = state.queues.map((queue, index): PlannedQueue => {
    const slot = new QueueSlot(index, queue.align ?? core.options.align ?? LEGACY_ALIGN);
    placeAddresses(slot, queue, state, modern);
    const setup = setupOf(slot, core, rules);
    const packed = hasFeature(features, FEATURE.RING_PACKED);
    const problem = packed || queue.desc === 0n ? undefined : checkSplitIndices(setup, queue.lastAvailIdx);
    const indices = indicesFor(setup, packed, state, queue);
    // QEMU does not look further into a ring that makes no sense
    slot.indices = problem === undefined ? indices : { ...indices, usedIdx: 0, inuse: 0 };
    const defaultSize = state.subsections.ringsize?.[index] ?? 0;
    return { slot, setup: { ...setup, indices }, packed, defaultSize, problem };
  });
  const broken = state.subsections.broken ?? false;
  return { features, endian, broken, queues };
}

function placeAddresses(slot: QueueSlot, queue: QueueState, state: VirtioState, modern: boolean): void {
  slot.num = queue.num;
  slot.desc = queue.desc;
  const rings = state.subsections.virtqueues?.[slot.index];
  slot.avail = rings?.avail ?? 0n;
  slot.used = rings?.used ?? 0n;
  if (!modern) slot.layOutLegacy();
}

/**
 * Checks ring indices against guest memory. What QEMU only breaks the device over is a warning: the load is accepted.
 */
function checkQueues(
  { queues, broken }: PlannedRestore,
  requests: ReadonlyMap<number, readonly RequestInFlight[]> | undefined,
  report: Report,
): void {
  for (const { slot, setup, packed, problem } of queues) {
    if (slot.desc === 0n) continue;
    if (problem === undefined) {
      // a broken device does nothing before its reset, which forgets all
      if (requests !== undefined && !broken)
        checkInFlight(setup, packed, requests.get(slot.index) ?? [], report);
      continue;
    }
    const { fatal, reason, facts } = problem;
    const tell = fatal ? reportError : reportWarning;
    tell(report, 'queue-index', `queues[${slot.index}].lastAvailIdx`, reason, facts);
  }
}

/** Sorts the requests in flight of a state by queue; undefined if the device type keeps no chains. */
function requestsByQueue<T extends TransportParts, D>(
  { model }: DeviceCore<T, D>,
  state: VirtioState<T, D>,
  { withheld = [] }: RestoreOptions,
): ReadonlyMap<number, readonly RequestInFlight[]> | undefined {
  const requests = model.requestsInFlight(state);
  if (requests === undefined) return undefined;
  const byQueue = new Map<number, RequestInFlight[]>();
  for (const request of [...requests, ...withheld]) {
    const list = byQueue.get(request.queue);
    if (list === undefined) byQueue.set(request.queue, [request]);
    else list.push(request);
  }
  return byQueue;
}

/** Finds the position of a queue: as the state has it, or as its ring in guest memory says. */
function indicesFor(setup: QueueSetup, packed: boolean, state: VirtioState, queue: QueueState): RingIndices {
  const saved = state.subsections.packedVirtqueues?.[setup.index];
  if (packed) {
    return {
      lastAvailIdx: saved?.lastAvailIdx ?? queue.lastAvailIdx,
      lastAvailWrap: saved?.lastAvailWrapCounter ?? true,
      usedIdx: saved?.usedIdx ?? 0,
      usedWrap: saved?.usedWrapCounter ?? true,
      inuse: saved?.inuse ?? 0,
    };
  }
  const fresh = {
    ...freshIndices(),
    lastAvailIdx: queue.lastAvailIdx,
    lastAvailWrap: saved?.lastAvailWrapCounter ?? true,
    usedWrap: saved?.usedWrapCounter ?? true,
  };
  if (queue.desc === 0n) {
    const { lastAvailIdx = queue.lastAvailIdx, usedIdx = 0, inuse = 0 } = saved ?? {};
    return { ...fresh, lastAvailIdx, usedIdx, inuse };
  }
  // Split rings say themselves what was used: used_idx and inuse are never on the wire
  return splitIndices(setup, fresh);
}
