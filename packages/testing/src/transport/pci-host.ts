/** Message-signalled interrupt: what the function wrote, and where. */
export interface MsiMessage {
  /** Address that was written to, 64 bits as a number. */
  readonly address: number;
  /** Word that was written there, 32 bits. */
  readonly data: number;
}

/** Machine with PCI, as a driver in the guest reaches it. {@link PciBus} is one; an emulator's own will do as well. */
export interface PciHost {
  /** Reads `size` bytes, 1, 2 or 4, of a slot's configuration space. All ones where there is nothing. */
  configRead(slot: number, offset: number, size: number): number;
  /** Writes `size` bytes of a slot's configuration space. */
  configWrite(slot: number, offset: number, size: number, value: number): void;
  /** Reads `size` bytes of an I/O port. */
  portRead(port: number, size: number): number;
  /** Writes `size` bytes to a port. */
  portWrite(port: number, size: number, value: number): void;
  /** Reads `size` bytes of memory-mapped registers at a physical address. */
  memoryRead(address: number, size: number): number;
  /** Writes `size` bytes of memory that a BAR is mapped to. */
  memoryWrite(address: number, size: number, value: number): void;
  /** Messages that arrived; the driver takes out its own. */
  readonly messages: MsiMessage[];
  /** Level of a slot's INTx line. */
  intx(slot: number): boolean;
}
