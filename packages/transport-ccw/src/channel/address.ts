/** Address of a subchannel. */
export interface SubchannelAddress {
  /** Number of the channel subsystem; 0xfe is that of virtual devices. */
  readonly cssid: number;
  /** Number of the subchannel set, 0 to 3. */
  readonly ssid: number;
  /** Subchannel number in its set, 0 to 0xffff. */
  readonly schid: number;
  /** Device number, 0 to 0xffff. */
  readonly devno: number;
}
