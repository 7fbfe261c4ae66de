import { FEATURE, type TransportHost } from '@virtkit/core/live';
import type { Region } from './access.ts';

/** Range for notification by port I/O: the value is the queue. QEMU: `virtio_pci_notify_write_pio`. */
export class NotifyPioRegion implements Region {
  readonly #host: TransportHost;

  constructor(host: TransportHost) {
    this.#host = host;
  }

  read(): number {
    return 0;
  }

  write(_offset: number, _size: number, value: number): void {
    // Virtio 1.3 §4.1.5.2: with NOTIFICATION_DATA the upper half says where the ring stands, which the ring says as well
    this.#host.kick(this.#host.has(FEATURE.NOTIFICATION_DATA) ? value & 0xffff : value);
  }
}

/** Expansion ROM. It reads as zeros behind its content. */
export class RomRegion implements Region {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  read(offset: number, size: number): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + (this.#bytes[offset + i] ?? 0);
    return value;
  }

  write(): void {}
}
