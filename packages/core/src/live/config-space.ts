import type { ConfigRegisters } from '../contract/transport-host.ts';

/** Device whose configuration space it is: fills the bytes, and hears of what the driver writes. */
export interface ConfigOwner {
  /** Byte order of the fields. */
  readonly littleEndian: boolean;
  /** Fills all of the cached bytes from live state. */
  getConfig(config: DataView, littleEndian: boolean): void;
  /** The driver has changed the cached bytes. */
  setConfig(config: DataView, littleEndian: boolean): void;
}

/**
 * The cached bytes of the device's configuration space, as QEMU keeps them: refreshed when the driver reads, patched when
 * it writes, saved as they are.
 */
export class ConfigSpace implements ConfigRegisters {
  readonly bytes: Uint8Array;
  generation = 0;
  readonly #view: DataView;
  readonly #owner: ConfigOwner;

  constructor(length: number, owner: ConfigOwner) {
    this.bytes = new Uint8Array(length);
    this.#view = new DataView(this.bytes.buffer);
    this.#owner = owner;
  }

  get length(): number {
    return this.bytes.length;
  }

  /** Notes that the device's configuration has changed. */
  changed(): void {
    this.generation = (this.generation + 1) >>> 0;
  }

  /** Reads a field as the driver sees it. QEMU: `virtio_config_readb` and siblings. */
  read(offset: number, size: number, guestOrder = false): number {
    if (!this.#holds(offset, size)) return size === 4 ? 0xffffffff : (1 << (8 * size)) - 1;
    // Virtio 1.3 §2.5.2 MUST: any field of an offered feature can be read before FEATURES_OK
    this.refresh();
    const littleEndian = !guestOrder || this.#owner.littleEndian;
    if (size === 1) return this.#view.getUint8(offset);
    return size === 2
      ? this.#view.getUint16(offset, littleEndian)
      : this.#view.getUint32(offset, littleEndian);
  }

  /** Writes a field for the driver. QEMU: `virtio_config_writeb` and siblings. */
  write(offset: number, size: number, value: number, guestOrder = false): void {
    if (!this.#holds(offset, size)) return;
    const littleEndian = !guestOrder || this.#owner.littleEndian;
    if (size === 1) this.#view.setUint8(offset, value);
    else if (size === 2) this.#view.setUint16(offset, value, littleEndian);
    else this.#view.setUint32(offset, value, littleEndian);
    this.#written();
  }

  readAll(): Uint8Array {
    this.refresh();
    return this.bytes.slice();
  }

  writeAll(bytes: Uint8Array): void {
    this.bytes.set(bytes.subarray(0, this.length));
    this.#written();
  }

  /** Fills the cached bytes from live state. */
  refresh(): void {
    this.#owner.getConfig(this.#view, this.#owner.littleEndian);
  }

  #written(): void {
    this.#owner.setConfig(this.#view, this.#owner.littleEndian);
  }

  /** Does an access of 1, 2 or 4 bytes lie in the configuration space? Other widths do not exist. */
  #holds(offset: number, size: number): boolean {
    return (size === 1 || size === 2 || size === 4) && offset >= 0 && offset + size <= this.bytes.length;
  }
}
