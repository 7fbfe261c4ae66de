import type { CoreSubsections, QueueState, TransportParts, VirtioState } from '../contract/state.ts';
import { FEATURE } from '../spec.ts';
import type { DeviceCore } from './device-core.ts';
import type { QueueSlot } from './queue-slot.ts';

/**
 * Captures a live device as plain state. Each subsection is there under the condition that QEMU's `_needed` function
 * states.
 */
export function captureState<T extends TransportParts, D>(core: DeviceCore<T, D>): VirtioState<T, D> {
  const { transport, model } = core;
  return {
    transport: transport.captureConfig(),
    status: core.status,
    isr: core.isr,
    queueSel: core.queueSel,
    guestFeatures: Number(core.features & 0xffffffffn),
    config: core.config.bytes.slice(),
    queues: captureQueues(core),
    device: model.capture(),
    subsections: captureSubsections(core),
  };
}

/** Captures the queues from 0 up to the first one that does not exist. */
function captureQueues<T extends TransportParts, D>(core: DeviceCore<T, D>): QueueState<T>[] {
  const queues: QueueState<T>[] = [];
  for (const slot of core.queues.slots) {
    if (!slot.exists) break;
    queues.push({
      num: slot.num,
      ...(core.transport.layer.hasVariableVringAlignment && { align: slot.align }),
      desc: slot.desc,
      // A queue that its driver took back keeps its position until a reset; no load, QEMU's neither, takes one without a
      // descriptor table. Of a packed ring it stands in its subsection all the same.
      lastAvailIdx: slot.desc === 0n ? 0 : slot.indices.lastAvailIdx,
      transport: core.transport.captureQueue(slot.index),
    });
  }
  return queues;
}

const ENDIAN = { little: 1, big: 2 } as const;

function captureSubsections<T extends TransportParts, D>(core: DeviceCore<T, D>): CoreSubsections<T> {
  const usual = core.has(FEATURE.VERSION_1) ? 'little' : core.targetEndian;
  const resized =
    core.options.saveRingSize !== false && core.queues.slots.some((slot) => slot.num !== slot.numDefault);
  const extraState = core.transport.captureExtra();
  return {
    ...(core.deviceEndian !== usual && { deviceEndian: ENDIAN[core.deviceEndian] }),
    ...(core.offered >> 64n !== 0n && { features128: core.features >> 64n }),
    ...(core.offered >> 32n !== 0n && { features64: core.features & 0xffffffffffffffffn }),
    ...(core.offers(FEATURE.VERSION_1) && {
      virtqueues: upToLast(
        core.queues.slots,
        ({ avail, used }) => avail !== 0n || used !== 0n,
        ({ avail, used }) => ({ avail, used }),
      ),
    }),
    ...(resized && {
      ringsize: upToLast(
        core.queues.slots,
        ({ numDefault }) => numDefault !== 0,
        ({ numDefault }) => numDefault,
      ),
    }),
    ...(core.broken && { broken: true }),
    ...(extraState !== undefined && { extraState }),
    ...(core.started && { started: true }),
    ...(core.offers(FEATURE.RING_PACKED) && {
      packedVirtqueues: upToLast(core.queues.slots, hasIndices, packedEntry),
    }),
    ...(core.disabled && { disabled: true }),
  };
}

/**
 * Lists the entries of all slots up to the last that differs from a fresh one, as the declared tables of saved states
 * hold them.
 */
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
