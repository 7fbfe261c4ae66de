import { rng } from './layer.ts';
import { RngDevice as LiveRngDevice } from './live/device.ts';

/**
 * virtio-rng, live, of whose state bytes can be made: Virtio 1.3 §5.4; QEMU `hw/virtio/virtio-rng.c`.
 *
 * ```ts
 * const entropy = new RngDevice({ backend: webCrypto(crypto) });
 * const { device } = new PciFunction(entropy, { memory }); // of @virtkit/transport-pci
 * ```
 *
 * A request stays in the ring until there are bytes for it, so a save needs no drain, and nothing of it is in the state. Bytes that come
 * while the machine is stopped are thrown away: they are asked for anew when it goes on.
 */
export class RngDevice extends LiveRngDevice {
  override readonly layer: typeof rng = rng;
}
