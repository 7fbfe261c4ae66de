import {
  hasFeature,
  negotiated,
  type Report,
  reportError,
  reportWarning,
  type TransportParts,
  type VirtioState,
} from '@virtkit/core/live';
import { NET_FEATURE } from '../features.ts';
import { MAC_TABLE_ENTRIES } from '../limits.ts';
import type { NetState } from '../state.ts';
import { type Card, supportedOffloads } from './card.ts';
import type { Transmitter } from './transmit.ts';

const MAC_BYTES = 6;

/** Takes the card's part of the saved state. QEMU: `vmstate_virtio_net_device`. */
export function captureNet(card: Card, transmitters: readonly Transmitter[]): NetState {
  const { filter, settings, host } = card;
  const due = ({ waiting, blocked }: Transmitter): number => (waiting || blocked ? 1 : 0);
  const [first, ...others] = transmitters.map(due);
  const many = settings.pairs > 1;
  return {
    mac: filter.mac.slice(),
    txWaiting: first ?? 0,
    mergeableRxBufs: card.mergeable ? 1 : 0,
    status: card.status,
    promisc: filter.promisc,
    allmulti: filter.allmulti,
    macTableInUse: filter.inUse,
    macTable: Array.from({ length: filter.inUse }, (_, entry) =>
      filter.table.slice(entry * MAC_BYTES, (entry + 1) * MAC_BYTES),
    ),
    vlans: filter.vlans.slice(),
    hasVnetHdr: settings.vnet ? 1 : 0,
    multiOverflow: filter.multiOverflow,
    uniOverflow: filter.uniOverflow,
    alluni: filter.alluni,
    nomulti: filter.nomulti,
    nouni: filter.nouni,
    nobcast: filter.nobcast,
    hasUfo: settings.ufo ? 1 : 0,
    ...(many && { maxQueuePairs: settings.pairs, currQueuePairs: card.currPairs }),
    txWaitingOthers: others.slice(0, card.currPairs - 1),
    ...(host.has(NET_FEATURE.CTRL_GUEST_OFFLOADS) && { currGuestOffloads: card.guestOffloads }),
    ...(card.rss.enabled && { rss: captureRss(card) }),
  };
}

function captureRss({ rss, settings }: Card): NonNullable<NetState['rss']> {
  return {
    version: settings.rssStateVersion,
    enabled: true,
    redirect: rss.redirect,
    populateHash: rss.populateHash,
    hashTypes: rss.hashTypes,
    ...(settings.rssStateVersion === 2 && { supportedHashTypes: rss.supportedHashTypes }),
    indirectionsLen: rss.indirectionsLen,
    defaultQueue: rss.defaultQueue,
    key: rss.toeplitz.key.slice(),
    indirectionsTable: Array.from(rss.table.subarray(0, rss.indirectionsLen)),
  };
}

/** Reports what speaks against a state in this card; the messages are QEMU's. */
export function checkNet(card: Card, state: VirtioState<TransportParts, NetState>, report: Report): void {
  const { device } = state;
  const { settings } = card;
  if (device.hasVnetHdr !== 0 && !settings.vnet) {
    reportError(
      report,
      'vnet-header',
      'device.hasVnetHdr',
      'virtio-net: saved image requires vnet_hdr=on: a back end with offloads',
      { found: device.hasVnetHdr, offloads: false },
    );
  }
  if (device.hasUfo !== 0 && !settings.ufo) {
    reportError(
      report,
      'ufo',
      'device.hasUfo',
      'virtio-net: saved image requires TUN_F_UFO support: offloads.ufo',
      { found: device.hasUfo, ufo: false },
    );
  }
  if (device.backend !== undefined) {
    reportError(
      report,
      'backend-state',
      'device.backend',
      'state of a vhost-user back end, which this card does not have',
    );
  }
  checkPairs(card, state, report);
  checkOffloads(state, report);
  const firstMulti = device.macTable.findIndex((mac) => ((mac[0] ?? 0) & 1) === 1);
  if (firstMulti >= 0 && device.macTable.slice(firstMulti).some((mac) => ((mac[0] ?? 0) & 1) === 0)) {
    reportWarning(
      report,
      'mac-table-order',
      'device.macTable',
      'a unicast address behind a multicast one, where the filter does not look for it',
      { firstMulti },
    );
  }
}

function checkPairs(card: Card, state: VirtioState<TransportParts, NetState>, report: Report): void {
  const { pairs } = card.settings;
  const saved = state.device.maxQueuePairs;
  if ((saved ?? 1) !== pairs || (saved === undefined) !== (pairs === 1)) {
    reportError(
      report,
      'queue-pairs',
      'device.maxQueuePairs',
      `${(saved ?? 1).toString(16)} != ${pairs.toString(16)}: queue pairs of the saved card, and of this one`,
      { found: saved ?? 1, expected: pairs },
    );
  }
}

function checkOffloads(state: VirtioState<TransportParts, NetState>, report: Report): void {
  const { currGuestOffloads } = state.device;
  const extra = (currGuestOffloads ?? 0n) & ~supportedOffloads(negotiated(state));
  if (extra === 0n) return;
  reportWarning(
    report,
    'guest-offloads',
    'device.currGuestOffloads',
    `0x${extra.toString(16)} switched on and not negotiated`,
    { currGuestOffloads: currGuestOffloads ?? 0n, extra },
  );
}

/** Takes over a checked state. The features are in place. QEMU: `virtio_net_post_load_device` and `_virtio`. */
export function applyNet(
  card: Card,
  transmitters: readonly Transmitter[],
  state: VirtioState<TransportParts, NetState>,
): void {
  const { device } = state;
  const { filter, settings } = card;
  const features = negotiated(state);
  filter.mac.set(device.mac);
  for (const mode of ['promisc', 'allmulti', 'alluni', 'nomulti', 'nouni', 'nobcast'] as const)
    filter[mode] = device[mode];
  filter.uniOverflow = device.uniOverflow;
  filter.multiOverflow = device.multiOverflow;
  applyMacTable(card, device);
  // QEMU 7.2 forgets the filter here, and lets no tagged frame pass any more
  filter.vlans.set(device.vlans);
  card.status = device.status;
  card.setPairs(device.currQueuePairs ?? 1);
  transmitters.forEach((transmitter, pair) => {
    const waiting = pair === 0 ? device.txWaiting : device.txWaitingOthers[pair - 1];
    transmitter.waiting = (waiting ?? 0) !== 0;
  });
  // the driver may have switched some off; without the command they are what was negotiated
  const offloads = hasFeature(features, NET_FEATURE.CTRL_GUEST_OFFLOADS)
    ? (device.currGuestOffloads ?? 0n)
    : supportedOffloads(features);
  if (settings.vnet) card.setGuestOffloads(offloads);
  else card.guestOffloads = offloads;
  applyRss(card, device);
}

function applyMacTable({ filter }: Card, { macTable }: NetState): void {
  const entries = macTable.length <= MAC_TABLE_ENTRIES ? macTable : [];
  filter.table.fill(0);
  entries.forEach((mac, entry) => {
    filter.table.set(mac, entry * MAC_BYTES);
  });
  filter.inUse = entries.length;
  const firstMulti = entries.findIndex((mac) => ((mac[0] ?? 0) & 1) === 1);
  filter.firstMulti = firstMulti < 0 ? entries.length : firstMulti;
}

function applyRss({ rss }: Card, { rss: saved }: NetState): void {
  rss.enabled = saved?.enabled ?? false;
  if (saved === undefined) return;
  rss.hashTypes = saved.hashTypes;
  if (saved.supportedHashTypes !== undefined) rss.supportedHashTypes = saved.supportedHashTypes;
  rss.indirectionsLen = saved.indirectionsLen;
  rss.defaultQueue = saved.defaultQueue;
  rss.table.set(saved.indirectionsTable);
  rss.toeplitz.key.set(saved.key);
  rss.toeplitz.changed();
}
