import type { SubchannelAddress } from './address.ts';

/** An I/O interrupt request. */
export interface IoInterrupt {
  /** Subchannel id: 1, subchannel set in bits 1 and 2; with MCSS-E also the channel subsystem. */
  readonly id: number;
  /** Subchannel number. */
  readonly nr: number;
  /** Interruption parameter of the subchannel. */
  readonly intparm: number;
  /** Interruption subclass, 0 to 7. */
  readonly isc: number;
}

/** What a subchannel and the device behind it need of the machine: interrupts. `ChannelSubsystem` is one. */
export interface ChannelHost {
  /** Makes an I/O interrupt pending. */
  ioInterrupt(interrupt: IoInterrupt): void;
  /** Makes an adapter interrupt of this subclass pending. */
  adapterInterrupt(isc: number): void;
  /** Guest sees more than one channel subsystem (MCSS-E): it changes the {@link IoInterrupt.id}. */
  readonly mcsse?: boolean;
  /**
   * A restored state has moved a subchannel to another number.
   *
   * @param subchannel the subchannel itself, no copy: where it is now
   * @param from its number before
   */
  moved?(subchannel: SubchannelAddress, from: number): void;
  /**
   * Length of an indicator area. QEMU shares one description between devices that name the same address, and the
   * first one's length is saved for all; undefined: nobody else uses the address.
   */
  indicatorLength?(address: bigint): number | undefined;
}
