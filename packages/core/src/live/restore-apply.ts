import type { Endian } from '../contract/device.ts';
import type { TransportParts, VirtioState } from '../contract/state.ts';
import { isModern } from '../features.ts';
import type { DeviceCore } from './device-core.ts';
import type { QueueSlot } from './queue-slot.ts';
import type { QueueSetup } from './ring.ts';
import type { IndexFinding } from './ring-map.ts';

/** Queue of a saved state, with what follows from it for the device. */
export interface PlannedQueue {
  /** Size, addresses and position of the queue, in a slot that is not the device's. */
  readonly slot: QueueSlot;
  /** Values that the queue's ring would be made from. */
  readonly setup: QueueSetup;
  readonly packed: boolean;
  /** Ring size that a reset goes back to; 0: as the device was made. */
  readonly defaultSize: number;
  /**
   * Reason why the ring makes no sense, if it does not. QEMU takes the state all the same, and the device is broken
   * then.
   */
  readonly problem: IndexFinding | undefined;
}

/** Values derived from a saved state before it is applied. */
export interface PlannedRestore {
  /** Negotiated features. */
  readonly features: bigint;
  /** Byte order of the CPU that reset the device last. */
  readonly endian: Endian;
  /** True if the guest has broken the device. */
  readonly broken: boolean;
  /** Queues of the state, from queue 0 on. */
  readonly queues: readonly PlannedQueue[];
}

/** Gives the device the saved state, paused. Everything was checked before: nothing here can fail. */
export function applyRestore<T extends TransportParts, D>(
  core: DeviceCore<T, D>,
  state: VirtioState<T, D>,
  plan: PlannedRestore,
): void {
  core.memory.sync();
  core.paused = true;
  core.kicks.clear();
  core.model.reset();
  applyCommon(core, state, plan);
  // before the queues: a ring that makes no sense breaks the device, and then there is an interrupt to be sent
  core.transport.apply(state);
  applyQueues(core, plan);
  core.model.apply(state);
}

function applyCommon<T extends TransportParts, D>(
  core: DeviceCore<T, D>,
  state: VirtioState<T, D>,
  { features, endian }: PlannedRestore,
): void {
  const { started = false, disabled = false } = state.subsections;
  core.status = 0;
  core.broken = false;
  core.deviceEndian = endian;
  core.applyFeatures(features);
  // features may change the queues that exist: the state's number is what counts
  core.model.prepareQueues(state.queues.length);
  core.status = state.status;
  core.isr = state.isr;
  core.queueSel = state.queueSel;
  core.started = started;
  core.disabled = disabled;
  core.config.bytes.set(state.config.subarray(0, core.config.length));
  core.startOnKick = !core.isStarted && !isModern(features);
}

function applyQueues<T extends TransportParts, D>(
  core: DeviceCore<T, D>,
  { queues, broken }: PlannedRestore,
): void {
  const { slots } = core.queues;
  for (const slot of slots) {
    const planned = queues[slot.index];
    if (planned === undefined) slot.reset();
    else slot.place(planned.slot, planned.defaultSize);
  }
  core.broken = broken;
  for (const { slot, problem } of queues) {
    if (slot.desc === 0n) continue;
    if (problem === undefined) core.queues.ring(slot.index);
    else core.fault(problem.reason, problem.facts);
  }
}
