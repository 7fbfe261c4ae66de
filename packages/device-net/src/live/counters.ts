/** Counters of what went through a card since it was made: plain numbers, for reading. */
export class NetCounters {
  /** Number of frames that the guest got. */
  rxPackets = 0;
  /** Number of bytes of the frames that the guest got, without virtio headers. */
  rxBytes = 0;
  /** Number of frames that found no buffer and were given back to the back end. */
  rxRefused = 0;
  /** Number of frames that the guest's filter did not let through. */
  rxFiltered = 0;
  /**
   * Number of received frames that were lost: link down, too large for the buffer, segmentation that the guest cannot
   * take.
   */
  rxDropped = 0;
  /** Number of packets that the back end took. */
  txPackets = 0;
  /** Number of bytes of the packets that the back end took, without virtio headers. */
  txBytes = 0;
  /** Number of times that the back end could not take a packet. */
  txRefused = 0;
  /** Number of sent packets that were lost: link down, too large, a header that does not fit what was negotiated. */
  txDropped = 0;
  /** Number of commands of the control queue. */
  ctrlCommands = 0;
}
