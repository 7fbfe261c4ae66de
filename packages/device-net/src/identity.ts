import {
  type DeviceIdentity,
  hasFeature,
  negotiated,
  type Report,
  reportError,
  reportWarning,
  type TransportParts,
  type VirtioState,
} from '@virtkit/core/live';
import { NET_FEATURE, netFeatures } from './features.ts';
import { MAC_TABLE_ENTRIES } from './limits.ts';
import type { NetState } from './state.ts';

/** Name, number and rules of virtio-net, without the format of its state. */
export const netIdentity: DeviceIdentity<NetState> = {
  contract: 1,
  name: 'virtio-net',
  virtioId: 1,
  features: netFeatures,
  check,
};

/** Largest number of entries of the indirection table. QEMU: `VIRTIO_NET_RSS_MAX_TABLE_LEN`. */
const RSS_TABLE_MAX = 128;
/** Largest number of queue pairs. Virtio 1.3 §5.1.6.5.6 */
const PAIRS_MAX = 0x8000;

function check(state: VirtioState<TransportParts, NetState>, report: Report): void {
  checkPairs(state, report);
  const { macTableInUse, mergeableRxBufs, status } = state.device;
  if (macTableInUse > MAC_TABLE_ENTRIES) {
    reportWarning(
      report,
      'mac-table',
      'device.macTableInUse',
      `${macTableInUse} addresses, and the table takes ${MAC_TABLE_ENTRIES}: all are dropped on load`,
      { inUse: macTableInUse, limit: MAC_TABLE_ENTRIES },
    );
  }
  const merge = hasFeature(negotiated(state), NET_FEATURE.MRG_RXBUF);
  if ((mergeableRxBufs !== 0) !== merge) {
    reportWarning(
      report,
      'mergeable',
      'device.mergeableRxBufs',
      `${mergeableRxBufs} though MRG_RXBUF is ${merge ? '' : 'not '}negotiated`,
      { mergeableRxBufs, negotiated: merge },
    );
  }
  if ((status & ~3) !== 0) {
    reportWarning(
      report,
      'net-status',
      'device.status',
      `0x${status.toString(16)} has bits other than 1 (link up) and 2 (announce)`,
      { status },
    );
  }
  checkRss(state, report);
}

function checkPairs(state: VirtioState<TransportParts, NetState>, report: Report): void {
  const { maxQueuePairs, currQueuePairs } = state.device;
  const pairs = maxQueuePairs ?? 1;
  const queues = state.queues.length;
  // receive and transmit queues of each pair and one control queue; QEMU asserts, or writes behind its tables
  if (queues % 2 === 0 || queues < 3 || queues > 2 * pairs + 1) {
    reportError(
      report,
      'queue-count',
      'numQueues',
      `${queues} queues with ${pairs} queue pairs at most, an odd number from 3 to ${2 * pairs + 1} expected`,
      { queues, pairs },
    );
  }
  if (maxQueuePairs !== undefined && (maxQueuePairs === 0 || maxQueuePairs > PAIRS_MAX)) {
    reportError(
      report,
      'queue-pairs',
      'device.maxQueuePairs',
      `${maxQueuePairs} queue pairs, 1 to ${PAIRS_MAX} allowed`,
      { pairs: maxQueuePairs, limit: PAIRS_MAX },
    );
  }
  if (currQueuePairs !== undefined && (currQueuePairs === 0 || currQueuePairs > pairs)) {
    reportError(
      report,
      'queue-pairs',
      'device.currQueuePairs',
      `${currQueuePairs} queue pairs in use, 1 to ${pairs} allowed`,
      { current: currQueuePairs, pairs },
    );
  }
}

function checkRss(state: VirtioState<TransportParts, NetState>, report: Report): void {
  const { rss } = state.device;
  if (rss === undefined) return;
  const pairs = state.device.maxQueuePairs ?? 1;
  const { indirectionsLen: length, defaultQueue, indirectionsTable } = rss;
  if (length === 0 || length > RSS_TABLE_MAX || (length & (length - 1)) !== 0) {
    reportError(
      report,
      'rss-table',
      'device.rss.indirectionsLen',
      `${length} entries, a power of two up to ${RSS_TABLE_MAX} expected`,
      { length, limit: RSS_TABLE_MAX },
    );
  }
  if (defaultQueue >= pairs) {
    reportError(report, 'rss-queue', 'device.rss.defaultQueue', `default queue ${defaultQueue} of ${pairs}`, {
      queue: defaultQueue,
      pairs,
    });
  }
  const wrong = indirectionsTable.findIndex((queue) => queue >= pairs);
  if (wrong >= 0) {
    const queue = indirectionsTable[wrong] ?? 0;
    reportError(report, 'rss-queue', `device.rss.indirectionsTable[${wrong}]`, `queue ${queue} of ${pairs}`, {
      queue,
      pairs,
    });
  }
}
