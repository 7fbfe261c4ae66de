import { HostError } from '@virtkit/core/live';
import { compareVersion, DEFAULT_CHANGED } from '@virtkit/core/qemu';
import { VIRTIO_ID } from './virtio-ids.ts';

/**
 * Properties of virtio over PCI that QEMU's machine types set, so that an old guest finds the device that it knows.
 * Each property is visible to the guest or in the saved state; a stream can only be loaded where all of them are the
 * same.
 */
export interface MachineProperties {
  /** True if AER has a mask of uncorrectable errors (`x-pcie-err-unc-mask`). */
  readonly errUncMask: boolean;
  /** True if PCIe has extended tags (`x-pcie-ext-tag`). */
  readonly extTag: boolean;
  /** True if RING_RESET is offered (`queue_reset`). */
  readonly ringReset: boolean;
  /** True if address translation requests are aligned to pages (`x-ats-page-aligned`). */
  readonly atsPageAligned: boolean;
  /** True if the device does nothing without bus mastering (`use-disabled-flag`). */
  readonly useDisabled: boolean;
  /** True if there is a function level reset (`x-pcie-flr-init`). */
  readonly flr: boolean;
  /** True if "started" is a flag beside DRIVER_OK (`use-started`). */
  readonly useStarted: boolean;
  /** True if PCIe control registers are writable (`x-pcie-deverr-init`, `-lnkctl-init`, `-pm-init`, `-extcap-init`). */
  readonly pcieControls: boolean;
  /** True if each queue has a page of notification addresses (`page-per-vq`). */
  readonly pagePerVq: boolean;
  /** True if there is only the legacy interface (`disable-modern`). */
  readonly legacyOnly: boolean;
  /** True if the modern registers are in the saved state (`migrate-extra`). */
  readonly migrateExtra: boolean;
  /** True if the function may be PCI Express (`x-disable-pcie` off). */
  readonly express: boolean;
  /** Numbers of the device types for which ANY_LAYOUT is not offered (`any_layout` off). */
  readonly withoutAnyLayout: readonly number[];
  /** Numbers of MSI-X vectors by device type, where the machine fixes them. */
  readonly vectors: Readonly<Record<number, number>>;
}

/** Machine version since which cards and disks have as many vectors as queues: machines before fix the number. */
const CARD_VECTORS_SINCE = '6.0';
const DISK_VECTORS_SINCE = '2.12';
/** Number of MSI-X vectors of a card on older machines: for the configuration, one receive and one transmit queue. */
const CARD_VECTORS_BEFORE = 3;
/** Number of MSI-X vectors of a disk on older machines: for the configuration and one queue. */
const DISK_VECTORS_BEFORE = 2;

/**
 * Finds the properties of a machine type: `7.2`, `pc-q35-7.2`, or nothing for QEMU 7.2's own.
 *
 * @throws HostError if no version can be read from the name
 */
export function machineProperties(machine = '7.2'): MachineProperties {
  const match = /(?:^|-)(\d+)\.(\d+)$/.exec(machine);
  if (match === null)
    throw new HostError(`machine '${machine}': a version such as '7.2' expected at the end`);
  const version = `${match[1]}.${match[2]}`;
  const since = (changed: string): boolean => compareVersion(version, changed) >= 0;
  return {
    extTag: since(DEFAULT_CHANGED['x-pcie-ext-tag']),
    errUncMask: since(DEFAULT_CHANGED['x-pcie-err-unc-mask']),
    ringReset: since(DEFAULT_CHANGED.queue_reset),
    atsPageAligned: since(DEFAULT_CHANGED['x-ats-page-aligned']),
    useDisabled: since(DEFAULT_CHANGED['use-disabled-flag']),
    flr: since(DEFAULT_CHANGED['x-pcie-flr-init']),
    useStarted: since(DEFAULT_CHANGED['use-started']),
    pcieControls: since(DEFAULT_CHANGED['x-pcie-deverr-init']),
    pagePerVq: !since(DEFAULT_CHANGED['page-per-vq']),
    legacyOnly: !since(DEFAULT_CHANGED['disable-modern']),
    migrateExtra: since(DEFAULT_CHANGED['migrate-extra']),
    express: since(DEFAULT_CHANGED['x-disable-pcie']),
    withoutAnyLayout: since(DEFAULT_CHANGED.any_layout)
      ? []
      : [VIRTIO_ID.BLK, VIRTIO_ID.CONSOLE, VIRTIO_ID.RNG, VIRTIO_ID.BALLOON, VIRTIO_ID.P9],
    vectors: {
      ...(!since(CARD_VECTORS_SINCE) && { [VIRTIO_ID.NET]: CARD_VECTORS_BEFORE }),
      ...(!since(DISK_VECTORS_SINCE) && { [VIRTIO_ID.BLK]: DISK_VECTORS_BEFORE }),
    },
  };
}
