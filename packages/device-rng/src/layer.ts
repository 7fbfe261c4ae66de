import type { DeviceLayer } from '@virtkit/core';
import { type ValueOf, vmstate } from '@virtkit/vmstate';

const nothing = vmstate('virtio-rng-device', 1).fields({});

/** An entropy device has nothing of its own in a saved state: requests that wait are in the ring. */
export type RngState = ValueOf<typeof nothing>;

/** virtio-rng: Virtio 1.3 §5.4; QEMU `hw/virtio/virtio-rng.c`. */
export const rng: DeviceLayer<RngState> = {
  contract: 1,
  name: 'virtio-rng',
  virtioId: 4,
  version: 1,
  minimum: 1,
  features: {},
  loadDevice: () => [nothing],
  saveDevice: () => nothing,
  describeConfig: () => ({}),
};
