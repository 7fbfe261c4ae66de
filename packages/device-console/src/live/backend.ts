/** Port as its back end and the host program see it. */
export interface GuestPort {
  /** Number of the port, 0 to 510. */
  readonly id: number;
  /** Name by which the guest knows the port: `/dev/virtio-ports/NAME` in Linux. */
  readonly name: string | undefined;
  /**
   * True if a program in the guest has the port open; a console port always is, once its driver runs. QEMU:
   * `guest_connected`.
   */
  readonly guestConnected: boolean;
  /** True if something is at the host's end. QEMU: `host_connected`. */
  readonly hostConnected: boolean;
  /**
   * Gives the guest bytes `[start, end)`, as many as it has room for. Answers how many that were; if they are fewer,
   * {@link PortBackend.guestWritable} is called when there may be room. 0 while one of the ends is closed, or the machine is stopped.
   *
   * @throws HostError for a range outside of `bytes`
   */
  send(bytes: Uint8Array, start?: number, end?: number): number;
  /**
   * Tells that the back end takes bytes again, after a {@link PortBackend.write} that took fewer than it was given.
   * QEMU: unthrottled.
   */
  ready(): void;
  /** Opens the host's end, where something is now: the guest is told. QEMU: `virtio_serial_open`. */
  open(): void;
  /**
   * Closes the host's end: the guest is told, and what it wrote and writes is thrown away. QEMU: `virtio_serial_close`.
   */
  close(): void;
  /**
   * Tells the size of a console's window, 0 to 65535 each. @throws HostError for another number, or a port that is no
   * console
   */
  resize(columns: number, rows: number): void;
}

/**
 * Back end of a port. All calls are synchronous, and may call the port. It has to be made for one port of one device:
 * where a machine is restored, its devices are new.
 */
export interface PortBackend {
  /** Hands the back end its port, once, when the port is made. */
  attach?(port: GuestPort): void;
  /**
   * Takes bytes that the guest wrote, `[start, end)` of this array, at most 64 KiB. They are lent for the call, in
   * guest memory: copy what is kept.
   *
   * @returns how many of them were taken, from the first on. If they are fewer than all, the rest stays in the guest's
   * buffer, and the
   *   guest waits, until {@link GuestPort.ready}
   */
  write(bytes: Uint8Array, start: number, end: number): number;
  /**
   * Is told that the guest may have room again, after a {@link GuestPort.send} that took fewer bytes than it was given.
   * QEMU: `guest_writable`.
   */
  guestWritable?(): void;
  /**
   * Is told that the guest opened the port, or closed it; and that a machine goes on in which the port was open. QEMU:
   * `set_guest_connected`.
   */
  guestConnected?(open: boolean): void;
}
