import { net } from './layer.ts';
import { NetDevice as LiveNetDevice } from './live/device.ts';

/**
 * virtio-net, live, of whose state bytes can be made: Virtio 1.3 §5.1; QEMU `hw/net/virtio-net.c`.
 *
 * ```ts
 * const card = new NetDevice({ backend, mac: '52:54:00:12:34:56' });
 * const { device } = new PciFunction(card, { memory }); // of @virtkit/transport-pci
 * ```
 *
 * Queues: receive and transmit of each pair, then control: 3, or with MQ or RSS negotiated as many as there are pairs. A save
 * needs no drain: packets are in the rings or with the back end, never in between.
 */
export class NetDevice extends LiveNetDevice {
  override readonly layer: typeof net = net;
}
