import { HostError } from '@virtkit/core';

/**
 * What QEMU's machine types set for virtio over PCI, so that an old guest finds the device that it knows. Each property
 * is visible to the guest or in the saved state; a stream can only be loaded where all of them are the same.
 */
export interface MachineProperties {
  /** `x-pcie-err-unc-mask`: AER has a mask of uncorrectable errors. Since 8.0. */
  readonly errUncMask: boolean;
  /** `x-pcie-ext-tag`: PCIe extended tags. Since 9.2. */
  readonly extTag: boolean;
  /** `queue_reset`: RING_RESET is offered. Since 7.2. */
  readonly ringReset: boolean;
  /** `x-ats-page-aligned`. Since 5.2. */
  readonly atsPageAligned: boolean;
  /** `use-disabled-flag`: without bus mastering the device does nothing. Since 5.0. */
  readonly useDisabled: boolean;
  /** `x-pcie-flr-init`: function level reset. Since 4.2. */
  readonly flr: boolean;
  /** `use-started`: "started" is a flag beside DRIVER_OK. Since 4.1. */
  readonly useStarted: boolean;
  /** `x-pcie-deverr-init`, `-lnkctl-init`, `-pm-init`, `-extcap-init`: writable PCIe control registers. Since 2.9. */
  readonly pcieControls: boolean;
  /** `page-per-vq`: a page of notification addresses for each queue. Up to 2.7. */
  readonly pagePerVq: boolean;
  /** `disable-modern`: legacy only. Up to 2.6. */
  readonly legacyOnly: boolean;
  /** `migrate-extra`: the modern registers are in the saved state. Since 2.5. */
  readonly migrateExtra: boolean;
  /** `x-disable-pcie` off: may be a PCI Express function. Since 2.5. */
  readonly express: boolean;
  /** Device types for which `any_layout` is off: ANY_LAYOUT is not offered. Up to 2.3. */
  readonly withoutAnyLayout: readonly number[];
  /** MSI-X vectors of a device type, where the machine fixes them. */
  readonly vectors: Readonly<Record<number, number>>;
}

const NETWORK_CARD = 1;
const BLOCK_DEVICE = 2;
const CONSOLE = 3;
const ENTROPY_SOURCE = 4;
const BALLOON = 5;
const TRANSPORT_9P = 9;

/**
 * The properties of a machine type: `7.2`, `pc-q35-7.2`, or nothing for QEMU 7.2's own.
 *
 * @throws HostError if no version can be read from the name
 */
export function machineProperties(machine = '7.2'): MachineProperties {
  const match = /(?:^|-)(\d+)\.(\d+)$/.exec(machine);
  if (match === null)
    throw new HostError(`machine '${machine}': a version such as '7.2' expected at the end`);
  const version = 1000 * Number(match[1]) + Number(match[2]);
  const since = (major: number, minor: number): boolean => version >= 1000 * major + minor;
  return {
    extTag: since(9, 2),
    errUncMask: since(8, 0),
    ringReset: since(7, 2),
    atsPageAligned: since(5, 2),
    useDisabled: since(5, 0),
    flr: since(4, 2),
    useStarted: since(4, 1),
    pcieControls: since(2, 9),
    pagePerVq: !since(2, 8),
    legacyOnly: !since(2, 7),
    migrateExtra: since(2, 5),
    express: since(2, 5),
    withoutAnyLayout: since(2, 4) ? [] : [BLOCK_DEVICE, CONSOLE, ENTROPY_SOURCE, BALLOON, TRANSPORT_9P],
    vectors: {
      ...(!since(6, 0) && { [NETWORK_CARD]: 3 }),
      ...(!since(2, 12) && { [BLOCK_DEVICE]: 2 }),
    },
  };
}
