import type { DeviceLayer } from '@virtkit/core';
import { vmstate } from '@virtkit/vmstate';

/** An entropy device saves nothing of its own: requests that wait are in the ring, which is guest memory. */
const nothing = vmstate('virtio-rng-device', 1).fields({});
export type EntropyState = Record<never, never>;

/** The device type's part of a saved state. `virtio-rng` is the name that QEMU gives its section. */
export const entropy: DeviceLayer<EntropyState> = {
  contract: 1,
  name: 'virtio-rng',
  virtioId: 4,
  version: 1,
  minimum: 1,
  features: {},
  loadDevice: () => [nothing],
  saveDevice: () => nothing,
};
