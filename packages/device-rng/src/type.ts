/**
 * The entropy device as a type: what QEMU's versions and options make of it, beside the device itself.
 *
 * You bring:  a registry (`registryOf` of `@virtkit/core/qemu`).
 * You get:    {@link rngType}, with which streams with entropy devices are checked, converted, explained, compared, and opened.
 * @packageDocumentation
 */
import { isSince, type LiveDeviceType, propertyNames } from '@virtkit/core/qemu';
import { RngDevice } from './device.ts';
import { rng } from './layer.ts';
import type { RngOptions } from './live/options.ts';
import type { RngState } from './state.ts';

/** Options of an entropy device but for where its bytes come from. */
export type RngShape = Omit<RngOptions, 'backend'>;

/** Machine version with which the function has interrupt vectors. QEMU: `vectors` in `hw_compat_7_1` */
const VECTORS_SINCE = '7.2';

/** Descriptor of virtio-rng. */
export const rngType: LiveDeviceType<RngState, RngShape, RngOptions> = {
  layer: rng,
  features: {},
  live: {
    // nothing of its options is in its state
    infer: () => ({}),
    make: (options) => new RngDevice(options),
    // whatever stands there is random enough for a device that is only asked
    unconnected: (options = {}) => ({ ...options, backend: { fill: (target) => target.length } }),
  },
  qemu: {
    harmless: propertyNames('rng max-bytes period'),
    queueSize: () => 8,
    pci: {
      vectors: (making, before) => (making.complete ? (isSince(making, VECTORS_SINCE) ? 2 : 0) : before),
    },
  },
};
