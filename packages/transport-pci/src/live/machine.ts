import { HostError } from '@virtkit/core/live';
import { compareVersion, DEFAULT_CHANGED } from '@virtkit/core/qemu';
import { VIRTIO_ID } from './virtio-ids.ts';

/**
 * What QEMU's machine types set for virtio over PCI, so that an old guest finds the device that it knows. Each property
 * is visible to the guest or in the saved state; a stream can only be loaded where all of them are the same.
 */
export interface MachineProperties {
  /** `x-pcie-err-unc-mask`: AER has a mask of uncorrectable errors. */
  readonly errUncMask: boolean;
  /** `x-pcie-ext-tag`: PCIe extended tags. */
  readonly extTag: boolean;
  /** `queue_reset`: RING_RESET is offered. */
  readonly ringReset: boolean;
  /** `x-ats-page-aligned`: address translation requests are aligned to pages. */
  readonly atsPageAligned: boolean;
  /** `use-disabled-flag`: without bus mastering the device does nothing. */
  readonly useDisabled: boolean;
  /** `x-pcie-flr-init`: function level reset. */
  readonly flr: boolean;
  /** `use-started`: "started" is a flag beside DRIVER_OK. */
  readonly useStarted: boolean;
  /** `x-pcie-deverr-init`, `-lnkctl-init`, `-pm-init`, `-extcap-init`: writable PCIe control registers. */
  readonly pcieControls: boolean;
  /** `page-per-vq`: a page of notification addresses for each queue. */
  readonly pagePerVq: boolean;
  /** `disable-modern`: legacy only. */
  readonly legacyOnly: boolean;
  /** `migrate-extra`: the modern registers are in the saved state. */
  readonly migrateExtra: boolean;
  /** `x-disable-pcie` off: may be a PCI Express function. */
  readonly express: boolean;
  /** Device types for which `any_layout` is off: ANY_LAYOUT is not offered. */
  readonly withoutAnyLayout: readonly number[];
  /** MSI-X vectors of a device type, where the machine fixes them. */
  readonly vectors: Readonly<Record<number, number>>;
}

/** Machine versions with which cards and disks have as many vectors as queues: those before fix the number. */
const CARD_VECTORS_SINCE = '6.0';
const DISK_VECTORS_SINCE = '2.12';
/** MSI-X vectors of a card before: for the configuration, one receive and one transmit queue. */
const CARD_VECTORS_BEFORE = 3;
/** MSI-X vectors of a disk before: for the configuration and one queue. */
const DISK_VECTORS_BEFORE = 2;

/**
 * The properties of a machine type: `7.2`, `pc-q35-7.2`, or nothing for QEMU 7.2's own.
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
