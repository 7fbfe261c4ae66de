import { type VirtioCodec, virtioDevice } from '@virtkit/core';
import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import { type PciParts, pci } from '@virtkit/transport-pci';

/** Bytes ⇄ state of the device that both sides have. */
export function codecFor(device: 'blk' | 'net'): VirtioCodec<PciParts, unknown> {
  return device === 'blk' ? virtioDevice(pci, blk) : virtioDevice(pci, net);
}
