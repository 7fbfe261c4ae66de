import type { TransportHost } from '@virtkit/core/live';
import type { Subchannel } from '../channel/subchannel.ts';
import type { Indicators } from './indicators.ts';

/** State between core and the subchannel, which the virtio commands work on. QEMU: `VirtioCcwDevice`. */
export class VirtioProxy {
  readonly host: TransportHost;
  readonly subchannel: Subchannel;
  readonly indicators: Indicators;
  /** Highest revision that a driver may choose, 0 to 2. */
  readonly maxRevision: number;
  /** True if legacy drivers are rejected. */
  readonly modernOnly: boolean;
  /** Revision that the driver chose; -1 before it did. */
  revision = -1;

  constructor(
    host: TransportHost,
    subchannel: Subchannel,
    indicators: Indicators,
    maxRevision: number,
    modernOnly: boolean,
  ) {
    this.host = host;
    this.subchannel = subchannel;
    this.indicators = indicators;
    this.maxRevision = maxRevision;
    this.modernOnly = modernOnly;
  }

  /** Resets the virtio device. The revision stays: it belongs to the subchannel. QEMU: `virtio_ccw_reset_virtio`. */
  resetVirtio(): void {
    this.host.reset();
    this.indicators.drop();
  }
}
