/** The side of a port that its back end sees, and the host program. */
export interface GuestPort {
  /** Number of the port, 0 to 510. */
  readonly id: number;
  /** What the guest calls it: `/dev/virtio-ports/NAME` in Linux. */
  readonly name: string | undefined;
  /** A program in the guest has it open; a console port always is, once its driver runs. QEMU: `guest_connected`. */
  readonly guestConnected: boolean;
  /** Something is at this end. QEMU: `host_connected`. */
  readonly hostConnected: boolean;
  /**
   * Gives the guest bytes `[start, end)`, as many as it has room for. Answers how many that were; if they are fewer,
   * {@link PortBackend.guestWritable} is called when there may be room. 0 while one of the ends is closed, or the machine is stopped.
   *
   * @throws HostError for a range outside of `bytes`
   */
  send(bytes: Uint8Array, start?: number, end?: number): number;
  /** The back end takes bytes again, after a {@link PortBackend.write} that took fewer than it was given. QEMU: unthrottled. */
  ready(): void;
  /** Something is at this end now: the guest is told. QEMU: `virtio_serial_open`. */
  open(): void;
  /** Nothing is at this end any more: the guest is told, and what it wrote and writes is thrown away. QEMU: `virtio_serial_close`. */
  close(): void;
  /** A console's window has this size now, 0 to 65535 each. @throws HostError for another number, or a port that is no console */
  resize(columns: number, rows: number): void;
}

/**
 * What a port is connected to. All calls are synchronous, and may call the port. It has to be made for one port of one device: where a
 * machine is restored, its devices are new.
 */
export interface PortBackend {
  /** Is called once, when the port is made. */
  attach?(port: GuestPort): void;
  /**
   * The guest wrote bytes `[start, end)` of this array, at most 64 KiB. They are lent for the call, in guest memory: copy what is kept.
   *
   * @returns how many of them were taken, from the first on. If they are fewer than all, the rest stays in the guest's buffer, and the
   *   guest waits, until {@link GuestPort.ready}
   */
  write(bytes: Uint8Array, start: number, end: number): number;
  /** The guest may have room again, after a {@link GuestPort.send} that took fewer bytes than it was given. QEMU: `guest_writable`. */
  guestWritable?(): void;
  /** The guest opened the port, or closed it. Also told where a machine goes on in which it was open. QEMU: `set_guest_connected`. */
  guestConnected?(open: boolean): void;
}
