import type { DeviceIdentity } from '@virtkit/core/live';
import type { RngState } from './state.ts';

/** Name, number and rules of virtio-rng, without the format of its state. */
export const rngIdentity: DeviceIdentity<RngState> = {
  contract: 1,
  name: 'virtio-rng',
  virtioId: 4,
  features: {},
};
