import type { SubchannelAddress } from './address.ts';

/** Request of an I/O interrupt. */
export interface IoInterrupt {
  /** Id of the subchannel: 1, subchannel set in bits 1 and 2; with MCSS-E also the channel subsystem. */
  readonly id: number;
  /** Number of the subchannel. */
  readonly nr: number;
  /** Parameter that the guest has given the subchannel for its interruptions. */
  readonly intparm: number;
  /** Interruption subclass of the subchannel, 0 to 7. */
  readonly isc: number;
}

/** Machine as a subchannel and the device behind it see it: it takes interrupts. `ChannelSubsystem` is one. */
export interface ChannelHost {
  /** Makes an I/O interrupt pending. */
  ioInterrupt(interrupt: IoInterrupt): void;
  /** Makes an adapter interrupt of this subclass pending. */
  adapterInterrupt(isc: number): void;
  /** True if the guest sees more than one channel subsystem (MCSS-E): it changes the {@link IoInterrupt.id}. */
  readonly mcsse?: boolean;
  /**
   * Is told that a restored state has moved a subchannel to another number.
   *
   * @param subchannel the subchannel itself, no copy: where it is now
   * @param from its number before
   */
  moved?(subchannel: SubchannelAddress, from: number): void;
  /**
   * Finds the length of an indicator area. QEMU shares one description between devices that name the same address, and
   * the first one's length is saved for all; undefined: nobody else uses the address.
   */
  indicatorLength?(address: bigint): number | undefined;
}
