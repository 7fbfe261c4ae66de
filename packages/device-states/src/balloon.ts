import type { DeviceLayer } from '@virtkit/core';
import { u32, type ValueOf, vmstate } from '@virtkit/vmstate';
import { configSpace, featureNames } from './config-space.ts';

/** State of free page hinting, there while it is negotiated. */
const freePageReport = vmstate('virtio-balloon-device/free-page-report', 1).fields({
  /** Number of the hinting that runs, as the guest is told: 0 stop, 1 done, or a number of its own. */
  freePageHintCmdId: u32,
  /** Status of the hinting: 0 stop, 1 requested, 2 started, 3 done. */
  freePageHintStatus: u32,
});

/** State of page poisoning, there while PAGE_POISON is negotiated. QEMU 5.1 and later. */
const pagePoison = vmstate('virtio-balloon-device/page-poison', 1).fields({
  /** Value that the guest fills free pages with. */
  poisonVal: u32,
});

/** Structure `virtio-balloon-device`. */
export const balloonState = vmstate('virtio-balloon-device', 1)
  .fields({
    /** Number of pages of 4 KiB that the guest is asked to give up. */
    numPages: u32,
    /** Number of pages of 4 KiB that the guest has given up, by its own word. */
    actual: u32,
  })
  .subsection('freePageReport', 'virtio-balloon-device/free-page-report', freePageReport)
  .subsection('pagePoison', 'virtio-balloon-device/page-poison', pagePoison);

/** Type of the value that {@link balloonState} decodes. */
export type BalloonState = ValueOf<typeof balloonState>;

/** Saved state of virtio-balloon: Virtio 1.3 §5.5; QEMU `hw/virtio/virtio-balloon.c`. */
export const balloon: DeviceLayer<BalloonState> = {
  contract: 1,
  name: 'virtio-balloon',
  virtioId: 5,
  version: 1,
  minimum: 1,
  features: featureNames('BALLOON', [
    'MUST_TELL_HOST',
    'STATS_VQ',
    'DEFLATE_ON_OOM',
    'FREE_PAGE_HINT',
    'PAGE_POISON',
    'REPORTING',
  ]),
  loadDevice: () => [balloonState],
  saveDevice: () => balloonState,
  // little-endian for legacy drivers, too: §5.5.4.0.0.1
  describeConfig: configSpace(
    [
      ['numPages', 'u32'],
      ['actual', 'u32'],
      ['freePageHintCmdId', 'u32'],
      ['poisonVal', 'u32'],
    ],
    'little',
  ),
};
