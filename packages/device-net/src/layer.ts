import {
  type DeviceLayer,
  hasFeature,
  negotiated,
  type Report,
  type TransportParts,
  type VirtioState,
} from '@virtkit/core';
import { withContext } from '@virtkit/vmstate';
import { describeNetConfig } from './config-space.ts';
import { NET_FEATURE, netFeatures } from './features.ts';
import { MAC_TABLE_ENTRIES, type NetState, netState } from './state.ts';

/** virtio-net: Virtio 1.3 §5.1; QEMU `hw/net/virtio-net.c`. */
export const net: DeviceLayer<NetState> = {
  contract: 1,
  name: 'virtio-net',
  virtioId: 1,
  version: 11,
  minimum: 11,
  features: netFeatures,
  *loadDevice(early) {
    // bit 2 is in the low half, so that it is known here; QEMU looks at the same place
    const guestOffloads = ((early.guestFeatures >> NET_FEATURE.CTRL_GUEST_OFFLOADS) & 1) === 1;
    const many = early.queues.length > 3;
    yield withContext(netState, { multiqueue: many, guestOffloads });
    yield withContext(netState, { multiqueue: !many, guestOffloads });
  },
  saveDevice: (state) =>
    withContext(netState, {
      multiqueue: state.maxQueuePairs !== undefined,
      guestOffloads: state.currGuestOffloads !== undefined,
    }),
  check,
  describeConfig: describeNetConfig,
};

/** QEMU's `VIRTIO_NET_RSS_MAX_TABLE_LEN`. */
const RSS_TABLE_MAX = 128;
/** Virtio 1.3 §5.1.6.5.6: most queue pairs. */
const PAIRS_MAX = 0x8000;

function check(state: VirtioState<TransportParts, NetState>, report: Report): void {
  checkPairs(state, report);
  const { macTableInUse, mergeableRxBufs, status } = state.device;
  if (macTableInUse > MAC_TABLE_ENTRIES) {
    report({
      code: 'mac-table',
      severity: 'warning',
      path: 'device.macTableInUse',
      reason: `${macTableInUse} addresses, and the table takes ${MAC_TABLE_ENTRIES}: all are dropped on load`,
      facts: { inUse: macTableInUse, limit: MAC_TABLE_ENTRIES },
    });
  }
  const merge = hasFeature(negotiated(state), NET_FEATURE.MRG_RXBUF);
  if ((mergeableRxBufs !== 0) !== merge) {
    report({
      code: 'mergeable',
      severity: 'warning',
      path: 'device.mergeableRxBufs',
      reason: `${mergeableRxBufs} though MRG_RXBUF is ${merge ? '' : 'not '}negotiated`,
      facts: { mergeableRxBufs, negotiated: merge },
    });
  }
  if ((status & ~3) !== 0) {
    report({
      code: 'net-status',
      severity: 'warning',
      path: 'device.status',
      reason: `0x${status.toString(16)} has bits other than 1 (link up) and 2 (announce)`,
      facts: { status },
    });
  }
  checkRss(state, report);
}

function checkPairs(state: VirtioState<TransportParts, NetState>, report: Report): void {
  const { maxQueuePairs, currQueuePairs } = state.device;
  const pairs = maxQueuePairs ?? 1;
  const queues = state.queues.length;
  // receive and transmit queues of each pair and one control queue; QEMU asserts, or writes behind its tables
  if (queues % 2 === 0 || queues < 3 || queues > 2 * pairs + 1) {
    report({
      code: 'queue-count',
      severity: 'error',
      path: 'numQueues',
      reason: `${queues} queues with ${pairs} queue pairs at most, an odd number from 3 to ${2 * pairs + 1} expected`,
      facts: { queues, pairs },
    });
  }
  if (maxQueuePairs !== undefined && (maxQueuePairs === 0 || maxQueuePairs > PAIRS_MAX)) {
    report({
      code: 'queue-pairs',
      severity: 'error',
      path: 'device.maxQueuePairs',
      reason: `${maxQueuePairs} queue pairs, 1 to ${PAIRS_MAX} allowed`,
      facts: { pairs: maxQueuePairs, limit: PAIRS_MAX },
    });
  }
  if (currQueuePairs !== undefined && (currQueuePairs === 0 || currQueuePairs > pairs)) {
    report({
      code: 'queue-pairs',
      severity: 'error',
      path: 'device.currQueuePairs',
      reason: `${currQueuePairs} queue pairs in use, 1 to ${pairs} allowed`,
      facts: { current: currQueuePairs, pairs },
    });
  }
}

function checkRss(state: VirtioState<TransportParts, NetState>, report: Report): void {
  const { rss } = state.device;
  if (rss === undefined) return;
  const pairs = state.device.maxQueuePairs ?? 1;
  const { indirectionsLen: length, defaultQueue, indirectionsTable } = rss;
  if (length === 0 || length > RSS_TABLE_MAX || (length & (length - 1)) !== 0) {
    report({
      code: 'rss-table',
      severity: 'error',
      path: 'device.rss.indirectionsLen',
      reason: `${length} entries, a power of two up to ${RSS_TABLE_MAX} expected`,
      facts: { length, limit: RSS_TABLE_MAX },
    });
  }
  if (defaultQueue >= pairs) {
    report({
      code: 'rss-queue',
      severity: 'error',
      path: 'device.rss.defaultQueue',
      reason: `default queue ${defaultQueue} of ${pairs}`,
      facts: { queue: defaultQueue, pairs },
    });
  }
  const wrong = indirectionsTable.findIndex((queue) => queue >= pairs);
  if (wrong >= 0) {
    const queue = indirectionsTable[wrong] ?? 0;
    report({
      code: 'rss-queue',
      severity: 'error',
      path: `device.rss.indirectionsTable[${wrong}]`,
      reason: `queue ${queue} of ${pairs}`,
      facts: { queue, pairs },
    });
  }
}
