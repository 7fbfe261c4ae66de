/**
 * Machine with channel I/O, as the kernel in the guest reaches it: the instructions, each with the address of its
 * operand in guest memory, answering the condition code.
 */
export interface ChannelInstructions {
  /** Executes STORE SUBCHANNEL. */
  stsch(schid: number, address: number): number;
  /** Executes MODIFY SUBCHANNEL. */
  msch(schid: number, address: number): number;
  /** Executes START SUBCHANNEL. */
  ssch(schid: number, address: number): number;
  /** Executes TEST SUBCHANNEL. */
  tsch(schid: number, address: number): number;
  /** Executes CLEAR SUBCHANNEL. */
  csch(schid: number): number;
  /** Executes TEST PENDING INTERRUPTION, of all subclasses. Address 0: stored in low core. */
  tpi(address: number): number;
  /** Executes DIAGNOSE 0x500, virtio-ccw notify (subcode 3): answers what register 2 holds afterwards. */
  notify(schid: number, queue: number): number;
}
