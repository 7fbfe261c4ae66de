import { type DeviceHost, type DeviceModel, HostError, type LiveDevice, type Virtqueue } from '@virtkit/core';
import { FaultCounter } from './counter.ts';
import { type FaultKind, type FaultPlan, isOfDisk } from './language.ts';
import { FaultyQueue, type FaultyWorld } from './queue.ts';

/** Options of a faulty device. */
export interface FaultyDeviceOptions {
  /**
   * Finds the live device that the model becomes, once there is one: `bad-id` and `bad-index` ask it where its rings
   * lie. Only a plan with one of these needs it.
   */
  readonly device?: () => LiveDevice;
  /** Function that calls back after some milliseconds; default: the platform's timer. */
  readonly after?: (milliseconds: number, run: () => void) => void;
}

declare const setTimeout: (run: () => void, milliseconds: number) => unknown;

const IN_RINGS: ReadonlySet<FaultKind> = new Set(['bad-id', 'bad-index']);
/** Number of the device type block device. Virtio 1.3 §5 */
const DISK_ID = 2;

/**
 * Makes a device that does what a plan says, and works as the model behind it otherwise. The model behind it knows
 * nothing of it, and neither do transport and core: it can be put wherever the model could be.
 *
 * Each fault is an event, `fault-injected`, with its kind, queue, and the number of the request.
 *
 * @param model attached to nothing yet; from now on it is this one's
 * @throws HostError for a plan that does not fit the device, or that has only faults of a disk's back end
 */
export function faultyDevice<D>(
  model: DeviceModel<D>,
  plan: FaultPlan,
  options: FaultyDeviceOptions = {},
): DeviceModel<D> {
  const isDisk = model.layer.virtioId === DISK_ID;
  for (const { kind, request } of plan.faults) {
    if (request !== undefined && !isDisk)
      throw new HostError(`fault '${kind}:${request}': ${model.layer.name} has no such requests`);
    if (IN_RINGS.has(kind) && options.device === undefined)
      throw new HostError(`fault '${kind}': the option device is needed, for it is in the ring`);
  }
  const faulty = new Faulty(model, plan, options, isDisk);
  return new Proxy(model, {
    get(target, name) {
      const own = faulty.member(name);
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Layer between core and a device type. */
class Faulty<D> {
  readonly #model: DeviceModel<D>;
  readonly #plan: FaultPlan;
  readonly #options: FaultyDeviceOptions;
  readonly #isDisk: boolean;
  readonly #queues = new Map<Virtqueue, FaultyQueue>();
  readonly #members: Readonly<Record<string, unknown>>;
  #world: FaultyWorld | undefined;
  #paused = false;
  /** Calls that came while the machine was stopped. */
  #missed: (() => void)[] = [];

  constructor(model: DeviceModel<D>, plan: FaultPlan, options: FaultyDeviceOptions, isDisk: boolean) {
    this.#model = model;
    this.#plan = plan;
    this.#options = options;
    this.#isDisk = isDisk;
    this.#members = {
      attach: (host: DeviceHost) => this.#attach(host),
      handleQueue: (queue: Virtqueue) => model.handleQueue(this.#wrap(queue)),
      reset: () => this.#reset(),
      resetQueue: (index: number) => this.#resetQueue(index),
      missedKick: (queue: Virtqueue) => model.missedKick?.(this.#wrap(queue)),
      capture: () => this.#capture(),
      pause: () => this.#pause(),
      resume: () => this.#resume(),
    };
  }

  /** Finds the members of a model that are another here. */
  member(name: string | symbol): unknown {
    return typeof name === 'string' && Object.hasOwn(this.#members, name) ? this.#members[name] : undefined;
  }

  #attach(host: DeviceHost): void {
    const { seed, faults } = this.#plan;
    this.#world = {
      host,
      counters: faults
        .map((fault, place) => new FaultCounter(fault, seed, place))
        .filter(({ fault }) => !isOfDisk(fault)),
      isDisk: this.#isDisk,
      device: this.#options.device,
      stuck: false,
      after: (milliseconds, run) => this.#after(milliseconds, run),
    };
    const queueOf = (index: number): Virtqueue | undefined => {
      const queue = host.queue(index);
      return queue === undefined ? undefined : this.#wrap(queue);
    };
    this.#model.attach(
      new Proxy(host, {
        get(target, name) {
          if (name === 'queue') return queueOf;
          const value: unknown = Reflect.get(target, name, target);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      }),
    );
  }

  #wrap(queue: Virtqueue): FaultyQueue {
    const known = this.#queues.get(queue);
    if (known !== undefined) return known;
    if (this.#world === undefined) throw new HostError('a faulty device is used before it is attached');
    // a queue that was set up anew is another one
    this.#close(queue.index);
    const faulty = new FaultyQueue(queue, this.#world);
    this.#queues.set(queue, faulty);
    return faulty;
  }

  #close(index: number): void {
    for (const [queue, faulty] of this.#queues) {
      if (queue.index !== index) continue;
      faulty.close();
      this.#queues.delete(queue);
    }
  }

  #after(milliseconds: number, run: () => void): void {
    const { after = setTimeoutFor } = this.#options;
    after(milliseconds, () => {
      if (this.#paused) this.#missed.push(run);
      else run();
    });
  }

  #reset(): void {
    for (const faulty of this.#queues.values()) faulty.close();
    this.#queues.clear();
    this.#missed = [];
    if (this.#world !== undefined) this.#world.stuck = false;
    this.#model.reset?.();
  }

  #resetQueue(index: number): void {
    this.#close(index);
    this.#model.resetQueue?.(index);
  }

  #capture(): D {
    for (const { waiting, index } of this.#queues.values())
      if (waiting > 0)
        throw new HostError(
          `a faulty device that holds ${waiting} answers of queue ${index} back cannot be saved`,
        );
    return this.#model.capture();
  }

  #pause(): void {
    this.#paused = true;
    this.#model.pause?.();
  }

  #resume(): void {
    this.#paused = false;
    this.#model.resume?.();
    for (const run of this.#missed.splice(0)) run();
  }
}

function setTimeoutFor(milliseconds: number, run: () => void): void {
  setTimeout(run, milliseconds);
}
