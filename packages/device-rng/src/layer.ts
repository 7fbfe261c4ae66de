import type { DeviceLayer } from '@virtkit/core';
import { vmstate } from '@virtkit/vmstate';
import { rngIdentity } from './identity.ts';
import type { RngState } from './state.ts';

const nothing = vmstate('virtio-rng-device', 1).fields({});

/** Saved state of virtio-rng: Virtio 1.3 §5.4; QEMU `hw/virtio/virtio-rng.c`. */
export const rng: DeviceLayer<RngState> = {
  ...rngIdentity,
  version: 1,
  minimum: 1,
  loadDevice: () => [nothing],
  saveDevice: () => nothing,
  describeConfig: () => ({}),
};
