// A device type that gives chains back as they are, at once or when it is told to; and a transport that is nothing but a call.
import type { DeviceLayer } from '../../src/contract/device.ts';
import type { DeviceHost } from '../../src/contract/device-host.ts';
import type { DeviceModel } from '../../src/contract/device-model.ts';
import type { DeviceEvent } from '../../src/contract/event.ts';
import type { LiveDevice } from '../../src/contract/live-device.ts';
import type { Chain, Virtqueue } from '../../src/contract/queue.ts';
import type { TransportParts } from '../../src/contract/state.ts';
import type { TransportLayer } from '../../src/contract/transport.ts';
import type { TransportHost } from '../../src/contract/transport-host.ts';
import type { TransportModel } from '../../src/contract/transport-model.ts';
import { DeviceCore } from '../../src/live/device-core.ts';
import { LiveFacade } from '../../src/live/live-facade.ts';
import { MappedMemory } from '../../src/live/memory.ts';
import { ModelFacade } from '../../src/live/model-facade.ts';
import type { LiveOptions } from '../../src/live/options.ts';
import { TransportFacade } from '../../src/live/transport-facade.ts';
import { FEATURE } from '../../src/spec.ts';
import { empty } from './empty-field.ts';

export interface Wire extends TransportParts {
  readonly config: null;
  readonly queue: null;
  readonly extra: null;
}

export const echoLayer: DeviceLayer<null> = {
  contract: 1,
  name: 'echo',
  version: 1,
  minimum: 1,
  features: {},
  loadDevice: () => [empty],
  saveDevice: () => empty,
};

export const wireLayer: TransportLayer<Wire> = {
  contract: 1,
  name: 'wire',
  hasVariableVringAlignment: false,
  recognize: () => undefined,
  config: empty,
  queue: () => empty,
};

/** A transport that does nothing but what `parts` says. */
export function wire(parts: Partial<TransportModel<Wire>>): TransportModel<Wire> {
  return {
    layer: wireLayer,
    features: 0n,
    notify: () => {},
    captureConfig: () => null,
    captureQueue: () => null,
    captureExtra: () => undefined,
    check: () => {},
    apply: () => {},
    resetQueue: () => {},
    ...parts,
  };
}

export class Echo implements DeviceModel<null> {
  readonly layer = echoLayer;
  readonly features: bigint = 0n;
  readonly configLength: number = 0;
  readonly queueSizes: readonly number[] = [8, 8];
  /** Chains are kept until {@link answer}. */
  slow = false;
  readonly kept: Chain[] = [];
  host: DeviceHost | undefined;
  kicks = 0;
  /** How often {@link handleQueue} is on the stack, now and at most. */
  depth = 0;
  deepest = 0;

  attach(host: DeviceHost): void {
    this.host = host;
  }
  handleQueue(queue: Virtqueue): void {
    this.kicks++;
    this.deepest = Math.max(this.deepest, ++this.depth);
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      if (this.slow) this.kept.push(chain);
      else this.#give(chain);
    }
    this.depth--;
  }
  #give(chain: Chain): void {
    chain.queue.push(chain, 0);
    chain.queue.notify();
  }
  /** As a back end does that is done. */
  answer(): void {
    this.deepest = Math.max(this.deepest, ++this.depth);
    for (const chain of this.kept.splice(0)) this.#give(chain);
    this.depth--;
  }
  reset(): void {
    this.kept.length = 0;
  }
  capture(): null {
    return null;
  }
}

/** A machine with an echo device, whose driver has set its queues up. Rings are where {@link ringsOf} says. */
export class EchoMachine {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly echo: Echo;
  readonly events: DeviceEvent[] = [];
  /** What an interrupt does. */
  onInterrupt: (queue: number) => void = () => {};
  interrupts = 0;
  /** What nobody outside sees. */
  readonly core: DeviceCore<Wire, null>;
  readonly live: LiveDevice<Wire, null>;
  readonly driver: TransportHost;
  #added = 0;

  constructor(
    options: Partial<LiveOptions> & {
      readonly echo?: Echo;
      /** What its memory lies on; a memory of the caller's own has to be over the same. */
      readonly bytes?: Uint8Array;
      readonly wire?: Partial<TransportModel<Wire>>;
    } = {},
  ) {
    const { echo = new Echo(), wire: override, bytes = new Uint8Array(0x10000), ...others } = options;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer);
    this.echo = echo;
    const transport = wire({
      notify: (queue) => {
        this.interrupts++;
        this.onInterrupt(queue);
      },
      ...override,
    });
    this.core = new DeviceCore(
      this.echo,
      transport,
      {
        memory: new MappedMemory([{ gpa: 0, bytes: this.bytes }]),
        onEvent: (event) => this.events.push(event),
        ...others,
      },
      (core) => new ModelFacade(core),
    );
    this.live = new LiveFacade(this.core, this.echo);
    this.driver = new TransportFacade(this.core);
  }

  start(features: readonly number[] = []): void {
    const { driver } = this;
    driver.setStatus(3);
    driver.setDriverFeatures(
      [FEATURE.VERSION_1, ...features].reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n),
    );
    driver.setStatus(11);
    for (const queue of [0, 1]) {
      const { desc, avail, used } = this.ringsOf(queue);
      driver.queue(queue)?.setAddresses(BigInt(desc), BigInt(avail), BigInt(used));
    }
    driver.setStatus(15);
  }

  ringsOf(queue: number): { desc: number; avail: number; used: number } {
    const at = 0x1000 + 0x3000 * queue;
    return { desc: at, avail: at + 0x1000, used: at + 0x2000 };
  }

  /** Split: makes a buffer available; no kick. */
  offer(queue: number): void {
    const { desc, avail } = this.ringsOf(queue);
    const index = this.view.getUint16(avail + 2, true);
    const head = this.#added++ % 8;
    this.view.setBigUint64(desc + 16 * head, 0xc000n, true);
    this.view.setUint32(desc + 16 * head + 8, 16, true);
    this.view.setUint16(desc + 16 * head + 12, 2, true);
    this.view.setUint16(avail + 4 + 2 * (index % 8), head, true);
    this.view.setUint16(avail + 2, index + 1, true);
  }

  /** Packed: makes a buffer available in the next slot of the first round; no kick. */
  offerPacked(queue: number): void {
    const slot = this.ringsOf(queue).desc + 16 * this.#added++;
    this.view.setBigUint64(slot, 0xc000n, true);
    this.view.setUint32(slot + 8, 16, true);
    this.view.setUint16(slot + 12, this.#added, true);
    this.view.setUint16(slot + 14, 0x82, true);
  }

  used(queue: number): number {
    return this.view.getUint16(this.ringsOf(queue).used + 2, true);
  }
}
