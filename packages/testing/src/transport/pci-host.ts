/** A message-signalled interrupt: what the function wrote, and where. */
export interface MsiMessage {
  /** 64-bit address as a number. */
  readonly address: number;
  /** The 32-bit word that is written there. */
  readonly data: number;
}

/** A machine with PCI, as a driver in the guest reaches it. {@link PciBus} is one; an emulator's own will do as well. */
export interface PciHost {
  /** Configuration space of a slot, `size` 1, 2 or 4. All ones where there is nothing. */
  configRead(slot: number, offset: number, size: number): number;
  /** Writes `size` bytes of a slot's configuration space. */
  configWrite(slot: number, offset: number, size: number, value: number): void;
  /** I/O ports. */
  portRead(port: number, size: number): number;
  /** Writes `size` bytes to a port. */
  portWrite(port: number, size: number, value: number): void;
  /** Memory-mapped registers, physical address. */
  memoryRead(address: number, size: number): number;
  /** Writes `size` bytes of memory that a BAR is mapped to. */
  memoryWrite(address: number, size: number, value: number): void;
  /** Messages that arrived; the driver takes out its own. */
  readonly messages: MsiMessage[];
  /** Level of a slot's INTx line. */
  intx(slot: number): boolean;
}
