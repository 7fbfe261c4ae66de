/** What went through a card since it was made. Plain numbers, for reading. */
export class NetCounters {
  /** Frames that the guest got. */
  rxPackets = 0;
  /** Their bytes, without virtio headers. */
  rxBytes = 0;
  /** Frames that found no buffer and were given back to the back end. */
  rxRefused = 0;
  /** Frames that the guest's filter did not let through. */
  rxFiltered = 0;
  /** Frames that were lost: link down, too large for the buffer, segmentation that the guest cannot take. */
  rxDropped = 0;
  /** Packets that the back end took. */
  txPackets = 0;
  /** Their bytes, without virtio headers. */
  txBytes = 0;
  /** Times that the back end could not take a packet. */
  txRefused = 0;
  /** Packets that were lost: link down, too large, a header that does not fit what was negotiated. */
  txDropped = 0;
  /** Commands of the control queue. */
  ctrlCommands = 0;
}
