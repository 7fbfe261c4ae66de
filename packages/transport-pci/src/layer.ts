import type { Recognition, TransportLayer } from '@virtkit/core';
import type { Json, Reader } from '@virtkit/vmstate';
import { describeConfigSpace } from './config-space.ts';
import { pciIdentity } from './identity.ts';
import { DEVICE_ID_MAX, DEVICE_ID_MIN, DEVICE_ID_MODERN, VIRTIO_VENDOR } from './pci-ids.ts';
import { type PciConfigState, type PciParts, pciConfigState, pciExtraState, pciQueueState } from './state.ts';

/** Saved state of virtio over PCI: Virtio 1.3 §4.1; QEMU `hw/virtio/virtio-pci.c`. */
export const pci: TransportLayer<PciParts> = {
  ...pciIdentity,
  recognize,
  config: pciConfigState,
  queue: pciQueueState,
  extraState: pciExtraState,
  describe,
};

/**
 * Length in bytes of the version in front of the configuration space; {@link VERSION_MAX} is the highest version that
 * there is. QEMU: `PCIDevice`
 */
const VERSION_BYTES = 4;
const VERSION_MAX = 2;
/**
 * Length in bytes of a conventional PCI function's configuration space; below it, the offsets of the ids, the vendor's
 * first.
 */
const CONFIG_BYTES = 256;
const DEVICE_ID = 0x02;
const SUBSYSTEM_ID = 0x2e;

function recognize(input: Reader): Recognition | undefined {
  if (input.remaining < VERSION_BYTES + CONFIG_BYTES) return undefined;
  const at = input.offset;
  const { view } = input;
  const device = view.getUint16(at + VERSION_BYTES + DEVICE_ID, true);
  if (view.getUint32(at) > VERSION_MAX || view.getUint16(at + VERSION_BYTES, true) !== VIRTIO_VENDOR)
    return undefined;
  // Virtio 1.3 §4.1.2.1: 0x1040 + device id, or a transitional id and the device id as subsystem
  if (device < DEVICE_ID_MIN || device > DEVICE_ID_MAX) return undefined;
  return {
    confidence: 'certain',
    virtioId:
      device >= DEVICE_ID_MODERN
        ? device - DEVICE_ID_MODERN
        : view.getUint16(at + VERSION_BYTES + SUBSYSTEM_ID, true),
  };
}

function describe(state: PciConfigState): Json {
  return { configSpace: describeConfigSpace(state.config) };
}
