/**
 * The cached bytes of the device's configuration space, as QEMU keeps them: refreshed when the driver reads, patched when
 * it writes, saved as they are.
 */
export class ConfigSpace {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(length: number) {
    this.bytes = new Uint8Array(length);
    this.view = new DataView(this.bytes.buffer);
  }

  get length(): number {
    return this.bytes.length;
  }

  /** Is this an access that there can be? Other widths than 1, 2 and 4 bytes there are none. */
  holds(offset: number, size: number): boolean {
    return (size === 1 || size === 2 || size === 4) && offset >= 0 && offset + size <= this.bytes.length;
  }

  get(offset: number, size: number, littleEndian: boolean): number {
    if (size === 1) return this.view.getUint8(offset);
    return size === 2 ? this.view.getUint16(offset, littleEndian) : this.view.getUint32(offset, littleEndian);
  }

  set(offset: number, size: number, value: number, littleEndian: boolean): void {
    if (size === 1) this.view.setUint8(offset, value);
    else if (size === 2) this.view.setUint16(offset, value, littleEndian);
    else this.view.setUint32(offset, value, littleEndian);
  }
}
