import { hex, StateError } from '@virtkit/vmstate';
import type { RequestInFlight } from '../contract/device-model.ts';
import type { Finding, Report } from '../contract/finding.ts';
import type { QueueState, TransportParts, VirtioState } from '../contract/state.ts';
import { nameFeatures, negotiated } from '../features.ts';
import { checkVirtio } from '../procedure/check.ts';
import { FEATURE } from '../spec.ts';
import type { LiveDevice } from './device.ts';
import { checkInFlight } from './in-flight.ts';
import { QueueSlot } from './queue-slot.ts';
import { freshIndices, type QueueSetup, type RingIndices } from './ring.ts';
import { checkSplitIndices, splitIndices } from './ring-map.ts';

/** What a state does not say of itself. */
export interface RestoreOptions {
  /**
   * Requests in flight that are not in the state's list, for they stay with whoever restores it: their chains are in the
   * rings, and are not given back here.
   */
  readonly withheld?: readonly RequestInFlight[];
}

/** Everything that speaks against a restore: the state in itself, against this device, against guest memory. */
export function checkRestore<T extends TransportParts, D>(
  live: LiveDevice<T, D>,
  state: VirtioState<T, D>,
  options: RestoreOptions,
): Finding[] {
  const { transport, model, attached } = live;
  const findings = checkVirtio(state, { transport: transport.layer, device: model.layer });
  // the other checks read what these found wrong
  if (findings.some(({ severity }) => severity === 'error')) return findings;
  const to =
    (layer: Finding['layer']): Report =>
    (finding) =>
      findings.push({ ...finding, layer });
  checkFeatures(live, state, to('core'));
  checkConfig(live, state, to('core'));
  checkQueueCount(live, state, to('core'));
  transport.check(state, to('transport'));
  attached.check(state, to('device'));
  if (!findings.some(({ severity }) => severity === 'error')) checkRings(live, state, options, to('core'));
  return findings;
}

/**
 * Checks all, then applies all. Nothing is touched before the last check has passed.
 *
 * @param stop is called between the two
 */
export function restoreState<T extends TransportParts, D>(
  live: LiveDevice<T, D>,
  state: VirtioState<T, D>,
  options: RestoreOptions,
  stop: () => void,
): void {
  live.attached.checkApply(state);
  const fatal = checkRestore(live, state, options).find(({ severity }) => severity === 'error');
  if (fatal !== undefined) throw new StateError(fatal.code, fatal.reason, fatal.facts, fatal);
  stop();
  live.attached.reset();
  applyCommon(live, state);
  // before the queues: a ring that makes no sense breaks the device, and then there is an interrupt to be sent
  live.transport.apply(state);
  applyQueues(live, state);
  live.attached.apply(state);
}

function checkFeatures<T extends TransportParts, D>(
  live: LiveDevice<T, D>,
  state: VirtioState<T, D>,
  report: Report,
): void {
  const features = negotiated(state);
  const missing = features & ~live.hostFeatures;
  if (missing === 0n) return;
  const names = nameFeatures(missing, live.model.layer.features).map(({ bit, name }) => name ?? `bit ${bit}`);
  report({
    code: 'features',
    severity: 'error',
    path: state.subsections.features64 === undefined ? 'guestFeatures' : 'subsections.features64',
    reason: `Features ${hex(features)} unsupported. Allowed features: ${hex(live.hostFeatures)}; not offered: ${names.join(', ')}`,
    facts: { features, allowed: live.hostFeatures, missing },
  });
}

function checkConfig<T extends TransportParts, D>(
  live: LiveDevice<T, D>,
  { config }: VirtioState<T, D>,
  report: Report,
): void {
  if (config.length === live.configLength) return;
  // QEMU copies what both have
  report({
    code: 'config-length',
    severity: 'warning',
    path: 'config',
    reason: `${config.length} bytes of configuration space, and this device has ${live.configLength}`,
    facts: { found: config.length, expected: live.configLength },
  });
}

function checkQueueCount<T extends TransportParts, D>(
  live: LiveDevice<T, D>,
  { queues }: VirtioState<T, D>,
  report: Report,
): void {
  // a device type that makes as many queues as the state has checks the number itself
  if (live.attached.makesQueues || queues.length <= live.model.queueSizes.length) return;
  report({
    code: 'queue-count',
    severity: 'error',
    path: 'queues',
    reason: `${queues.length} queues, and this device has ${live.model.queueSizes.length}`,
    facts: { found: queues.length, limit: live.model.queueSizes.length },
  });
}

/** Ring indices against guest memory. What QEMU only breaks the device over is a warning: the load is accepted. */
function checkRings<T extends TransportParts, D>(
  live: LiveDevice<T, D>,
  state: VirtioState<T, D>,
  options: RestoreOptions,
  report: Report,
): void {
  const packed = ((negotiated(state) >> BigInt(FEATURE.RING_PACKED)) & 1n) === 1n;
  const requests = requestsByQueue(live, state, options);
  state.queues.forEach((queue, index) => {
    if (queue.desc === 0n) return;
    const setup = setupFor(live, state, queue, index);
    const finding = packed ? undefined : checkSplitIndices(setup, queue.lastAvailIdx);
    if (finding === undefined) {
      // a broken device does nothing before its reset, which forgets all
      if (requests === undefined || state.subsections.broken === true) return;
      const indices = indicesFor(setup, packed, state, queue);
      checkInFlight({ ...setup, indices }, packed, requests.get(index) ?? [], report);
      return;
    }
    const { fatal, reason, facts } = finding;
    report({
      code: 'queue-index',
      severity: fatal ? 'error' : 'warning',
      path: `queues[${index}].lastAvailIdx`,
      reason,
      facts,
    });
  });
}

/** Undefined: the device type keeps no chains. */
function requestsByQueue<T extends TransportParts, D>(
  { attached }: LiveDevice<T, D>,
  state: VirtioState<T, D>,
  { withheld = [] }: RestoreOptions,
): ReadonlyMap<number, readonly RequestInFlight[]> | undefined {
  const requests = attached.requestsInFlight(state);
  if (requests === undefined) return undefined;
  const byQueue = new Map<number, RequestInFlight[]>();
  for (const request of [...requests, ...withheld]) {
    const list = byQueue.get(request.queue);
    if (list === undefined) byQueue.set(request.queue, [request]);
    else list.push(request);
  }
  return byQueue;
}

/** The ring as it will be, from the state alone. */
function setupFor<T extends TransportParts, D>(
  live: LiveDevice<T, D>,
  state: VirtioState<T, D>,
  queue: QueueState<T>,
  index: number,
): QueueSetup {
  const features = negotiated(state);
  const has = (bit: number): boolean => ((features >> BigInt(bit)) & 1n) === 1n;
  const slot = new QueueSlot(index, queue.align ?? 4096);
  placeAddresses(slot, queue, state, has(FEATURE.VERSION_1));
  const { deviceEndian } = state.subsections;
  const endian = deviceEndian === undefined ? live.targetEndian : deviceEndian === 2 ? 'big' : 'little';
  return {
    ...live.setupOf(slot),
    littleEndian: has(FEATURE.VERSION_1) || endian === 'little',
    eventIdx: has(FEATURE.EVENT_IDX),
    inOrder: has(FEATURE.IN_ORDER),
  };
}

function placeAddresses(slot: QueueSlot, queue: QueueState, state: VirtioState, modern: boolean): void {
  slot.num = queue.num;
  slot.desc = queue.desc;
  if (queue.align !== undefined) slot.align = queue.align;
  const rings = state.subsections.virtqueues?.[slot.index];
  slot.avail = rings?.avail ?? 0n;
  slot.used = rings?.used ?? 0n;
  if (!modern) slot.layOutLegacy();
}

function applyCommon<T extends TransportParts, D>(live: LiveDevice<T, D>, state: VirtioState<T, D>): void {
  const { subsections: sub } = state;
  live.attached.prepareQueues(state.queues.length);
  live.status = 0;
  live.broken = false;
  live.startOnKick = false;
  live.deviceEndian =
    sub.deviceEndian === undefined ? live.targetEndian : sub.deviceEndian === 2 ? 'big' : 'little';
  live.applyFeatures(negotiated(state));
  // setting features may have changed the queues that exist: the state's number is what counts
  live.attached.prepareQueues(state.queues.length);
  live.status = state.status;
  live.isr = state.isr;
  live.queueSel = state.queueSel;
  live.started = sub.started ?? false;
  live.disabled = sub.disabled ?? false;
  live.configSpace.bytes.set(state.config.subarray(0, live.configLength));
  if (!live.isStarted && !live.has(FEATURE.VERSION_1)) live.startOnKick = true;
}

function applyQueues<T extends TransportParts, D>(live: LiveDevice<T, D>, state: VirtioState<T, D>): void {
  const { subsections: sub } = state;
  const modern = live.has(FEATURE.VERSION_1);
  for (const slot of live.slots) {
    const queue = state.queues[slot.index];
    if (queue === undefined) {
      live.clearQueue(slot);
      continue;
    }
    slot.numDefault = sub.ringsize?.[slot.index] || slot.numDefault;
    placeAddresses(slot, queue, state, modern);
    const setup = setupFor(live, state, queue, slot.index);
    slot.indices = indicesFor(setup, live.has(FEATURE.RING_PACKED), state, queue);
    slot.ring = undefined;
  }
  live.broken = sub.broken ?? false;
  for (const slot of live.slots) if (slot.desc !== 0n) placeRing(live, state, slot);
}

/** Sets the running queue up. One that makes no sense breaks the device, as in QEMU, and the load is accepted. */
function placeRing<T extends TransportParts, D>(
  live: LiveDevice<T, D>,
  state: VirtioState<T, D>,
  slot: QueueSlot,
): void {
  const queue = state.queues[slot.index];
  if (queue === undefined) return;
  if (!live.has(FEATURE.RING_PACKED)) {
    const finding = checkSplitIndices(setupFor(live, state, queue, slot.index), queue.lastAvailIdx);
    if (finding !== undefined) {
      slot.indices = { ...slot.indices, usedIdx: 0, inuse: 0 };
      live.fault(finding.reason, finding.facts);
      return;
    }
  }
  live.placeQueue(slot);
}

/** Where the queue stands: as the state has it, or its ring. */
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
  if (queue.desc === 0n) return { ...fresh, usedIdx: saved?.usedIdx ?? 0, inuse: saved?.inuse ?? 0 };
  // Split rings say themselves what was used: used_idx and inuse are never on the wire
  return splitIndices(setup, fresh);
}
