import type { FeatureNames } from '@virtkit/core/live';

/** Feature bits of a console device. Virtio 1.3 §5.3.3 */
export const CONSOLE_FEATURE = { SIZE: 0, MULTIPORT: 1, EMERG_WRITE: 2 } as const;

/** Names of the feature bits: `VIRTIO_CONSOLE_F_…`. */
export const consoleFeatures: FeatureNames = Object.fromEntries(
  Object.entries(CONSOLE_FEATURE).map(([name, bit]) => [bit, `VIRTIO_CONSOLE_F_${name}`]),
);
