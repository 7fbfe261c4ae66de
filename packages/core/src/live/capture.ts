import type { CoreSubsections, QueueState, TransportParts, VirtioState } from '../contract/state.ts';
import { FEATURE } from '../spec.ts';
import type { LiveDevice } from './device.ts';
import type { QueueSlot } from './queue-slot.ts';

/** A live device as plain state. Says of each subsection what QEMU's `_needed` function says. */
export function captureState<T extends TransportParts, D>(live: LiveDevice<T, D>): VirtioState<T, D> {
  const { transport, model } = live;
  return {
    transport: transport.captureConfig(),
    status: live.status,
    isr: live.isr,
    queueSel: live.queueSel,
    guestFeatures: Number(live.guestFeatures & 0xffffffffn),
    config: live.configSpace.bytes.slice(),
    queues: captureQueues(live),
    device: model.capture(),
    subsections: captureSubsections(live),
  };
}

/** Queue 0 up to the first one that does not exist. */
function captureQueues<T extends TransportParts, D>(live: LiveDevice<T, D>): QueueState<T>[] {
  const queues: QueueState<T>[] = [];
  for (const slot of live.slots) {
    if (!slot.exists) break;
    queues.push({
      num: slot.num,
      ...(live.transport.layer.hasVariableVringAlignment && { align: slot.align }),
      desc: slot.desc,
      lastAvailIdx: slot.indices.lastAvailIdx,
      transport: live.transport.captureQueue(slot.index),
    });
  }
  return queues;
}

const ENDIAN = { little: 1, big: 2 } as const;

function captureSubsections<T extends TransportParts, D>(live: LiveDevice<T, D>): CoreSubsections<T> {
  const usual = live.has(FEATURE.VERSION_1) ? 'little' : live.targetEndian;
  const resized =
    live.options.saveRingSize !== false && live.slots.some((slot) => slot.num !== slot.numDefault);
  const extraState = live.transport.captureExtra();
  return {
    ...(live.deviceEndian !== usual && { deviceEndian: ENDIAN[live.deviceEndian] }),
    ...(live.hostFeatures >> 64n !== 0n && { features128: live.guestFeatures >> 64n }),
    ...(live.hostFeatures >> 32n !== 0n && { features64: live.guestFeatures & 0xffffffffffffffffn }),
    ...(live.offers(FEATURE.VERSION_1) && {
      virtqueues: upToLast(
        live.slots,
        ({ avail, used }) => avail !== 0n || used !== 0n,
        ({ avail, used }) => ({ avail, used }),
      ),
    }),
    ...(resized && {
      ringsize: upToLast(
        live.slots,
        ({ numDefault }) => numDefault !== 0,
        ({ numDefault }) => numDefault,
      ),
    }),
    ...(live.broken && { broken: true }),
    ...(extraState !== undefined && { extraState }),
    ...(live.started && { started: true }),
    ...(live.offers(FEATURE.RING_PACKED) && {
      packedVirtqueues: upToLast(live.slots, hasIndices, packedEntry),
    }),
    ...(live.disabled && { disabled: true }),
  };
}

/** Entries of all slots up to the last that is not as a fresh one: the form of the declared tables. */
function upToLast<V>(
  slots: readonly QueueSlot[],
  inUse: (slot: QueueSlot) => boolean,
  entry: (slot: QueueSlot) => V,
): V[] {
  let count = slots.length;
  for (let slot = slots[count - 1]; slot !== undefined && !inUse(slot); slot = slots[--count - 1]);
  return slots.slice(0, count).map(entry);
}

function hasIndices(slot: QueueSlot): boolean {
  const { lastAvailIdx, lastAvailWrap, usedIdx, usedWrap, inuse } = slot.indices;
  return lastAvailIdx !== 0 || !lastAvailWrap || usedIdx !== 0 || !usedWrap || inuse !== 0;
}

function packedEntry(slot: QueueSlot) {
  const { lastAvailIdx, lastAvailWrap, usedIdx, usedWrap, inuse } = slot.indices;
  return {
    lastAvailIdx,
    lastAvailWrapCounter: lastAvailWrap,
    usedIdx,
    usedWrapCounter: usedWrap,
    inuse,
  };
}
