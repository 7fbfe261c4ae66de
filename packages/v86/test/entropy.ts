// A device type that is nobody's package: virtio-rng (Virtio 1.3 §5.4), whose entropy is a counter, so that a test can see each byte.
import type { DeviceHost, DeviceLayer, DeviceModel, Virtqueue } from '@virtkit/core';
import { u32, type ValueOf, vmstate } from '@virtkit/vmstate';

const state = vmstate('virtio-entropy-device', 1).fields({ position: u32 });
type EntropyState = ValueOf<typeof state>;

const layer: DeviceLayer<EntropyState> = {
  contract: 1,
  name: 'virtio-entropy',
  virtioId: 4,
  version: 1,
  minimum: 1,
  features: {},
  loadDevice: () => [state],
  saveDevice: () => state,
};

export class Entropy implements DeviceModel<EntropyState> {
  readonly layer = layer;
  readonly features = 0n;
  readonly configLength = 0;
  readonly queueSizes = [8];
  /** Bytes given since it was made. */
  position = 0;
  /** Nothing is given while this is true; requests wait in the ring. */
  dry = false;
  #host: DeviceHost | undefined;

  attach(host: DeviceHost): void {
    this.#host = host;
  }

  handleQueue(queue: Virtqueue): void {
    if (this.dry) return;
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      const { total } = chain.in;
      const bytes = Uint8Array.from({ length: total }, (_, i) => this.position + i);
      this.position = (this.position + total) >>> 0;
      chain.in.copyFrom(0, bytes);
      queue.push(chain, total);
    }
    queue.notify();
  }

  flow(): void {
    this.dry = false;
    // not called by the guest: its memory may have grown, and be elsewhere
    this.#host?.memory.sync();
    const queue = this.#host?.queue(0);
    if (queue !== undefined) this.handleQueue(queue);
  }

  capture(): EntropyState {
    return { position: this.position };
  }

  apply({ device }: { readonly device: EntropyState }): void {
    this.position = device.position;
  }
}
