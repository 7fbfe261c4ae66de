import type { Endian } from '../contract/device.ts';
import type { DeviceEvent } from '../contract/event.ts';
import type { MemoryMap } from '../contract/memory.ts';
import { FEATURE } from '../spec.ts';

/** Default ring alignment of legacy queues, in bytes. QEMU: `VIRTIO_PCI_VRING_ALIGN` */
export const LEGACY_ALIGN = 4096;

/** Ring features that a device offers; the defaults are QEMU's. */
export interface RingFeatures {
  /** Offer INDIRECT_DESC; default true. */
  readonly indirect?: boolean;
  /** Offer EVENT_IDX; default true. */
  readonly eventIdx?: boolean;
  /** Offer RING_PACKED; default false. */
  readonly packed?: boolean;
  /** Offer IN_ORDER; default false. */
  readonly inOrder?: boolean;
  /** Offer NOTIFICATION_DATA; default false. */
  readonly notificationData?: boolean;
  /** Offer RING_RESET; default true, as QEMU's newest machines (property `queue_reset`). */
  readonly ringReset?: boolean;
  /** Offer NOTIFY_ON_EMPTY, which legacy drivers know; default true. */
  readonly notifyOnEmpty?: boolean;
  /** Offer ANY_LAYOUT, which legacy drivers know; default true. */
  readonly anyLayout?: boolean;
}

/** Options with which a live device is made, whatever its type. */
export interface LiveOptions {
  /** Guest memory: a `MappedMemory`, or a memory map of the program's own. */
  readonly memory: MemoryMap;
  /** Features of the rings that are offered; what is left out is as in QEMU 7.2. */
  readonly rings?: RingFeatures;
  /** Offer VERSION_1; default true. Without it the device is legacy only. */
  readonly version1?: boolean;
  /** Offer ACCESS_PLATFORM, which a modern driver must then take; default false. */
  readonly accessPlatform?: boolean;
  /** Byte order of the guest's CPU, which legacy drivers use; default little. */
  readonly targetEndian?: Endian;
  /**
   * Save `started` as a flag of its own, beside DRIVER_OK. QEMU property `use-started`, machines since 4.1; default
   * true.
   */
  readonly useStarted?: boolean;
  /** Ring alignment of legacy queues, bytes; default 4096. */
  readonly align?: number;
  /** Write `virtio/ringsize` where a ring has another size than it was made with: QEMU up to 10.2; default true. */
  readonly saveRingSize?: boolean;
  /** Function that hears of faults of the guest, and of other things that an operator may want to know. */
  readonly onEvent?: (event: DeviceEvent) => void;
}

/** Collects the features of rings and interface that a device with these options offers. */
// Virtio 1.3 §2.2.2 MUST NOT: nothing is offered that is not done
export function ringFeatures({ rings = {}, version1 = true, accessPlatform = false }: LiveOptions): bigint {
  const offered: readonly (readonly [number, boolean])[] = [
    [FEATURE.NOTIFY_ON_EMPTY, rings.notifyOnEmpty ?? true],
    [FEATURE.ANY_LAYOUT, rings.anyLayout ?? true],
    [FEATURE.INDIRECT_DESC, rings.indirect ?? true],
    [FEATURE.EVENT_IDX, rings.eventIdx ?? true],
    [FEATURE.VERSION_1, version1],
    [FEATURE.ACCESS_PLATFORM, accessPlatform],
    [FEATURE.RING_PACKED, rings.packed ?? false],
    [FEATURE.IN_ORDER, rings.inOrder ?? false],
    [FEATURE.NOTIFICATION_DATA, rings.notificationData ?? false],
    [FEATURE.RING_RESET, rings.ringReset ?? true],
  ];
  return offered.reduce((sum, [bit, on]) => (on ? sum | (1n << BigInt(bit)) : sum), 0n);
}
