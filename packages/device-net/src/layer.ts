import type { DeviceLayer } from '@virtkit/core';
import { withContext } from '@virtkit/vmstate';
import { describeNetConfig } from './config-space.ts';
import { NET_FEATURE } from './features.ts';
import { netIdentity } from './identity.ts';
import { type NetState, netState } from './state.ts';

/** Saved state of virtio-net: Virtio 1.3 §5.1; QEMU `hw/net/virtio-net.c`. */
export const net: DeviceLayer<NetState> = {
  ...netIdentity,
  version: 11,
  minimum: 11,
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
  describeConfig: describeNetConfig,
};
