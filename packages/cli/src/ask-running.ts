import type { RunningDevice, RunningMachine } from '@virtkit/compat';
import type { Monitor } from './monitor.ts';
import { whyNotAsked } from './questions.ts';
import { UsageError } from './usage.ts';

/** Answers of a running QEMU, and what it was not asked. */
export interface Asked {
  readonly running: RunningMachine;
  /** Sentences about why something was not asked, or not understood. */
  readonly notAsked: readonly string[];
  /** Milliseconds of the longest answer: for so long at most the guest could not do what needs QEMU itself. */
  readonly longestMs: number;
}

/** Largest number of virtio devices that are asked for, and of queues of one. */
const DEVICES_MAX = 1024;
const QUEUES_MAX = 1024;

/**
 * Asks a running QEMU what it is: machine, CPUs, devices with their properties, blocks of RAM; and where that was tried with its
 * version, features and rings of its virtio devices. The guest runs on.
 *
 * @throws UsageError for answers that are not QEMU's
 */
export async function askRunning(monitor: Monitor): Promise<Asked> {
  const asking = new Asking(monitor);
  const version = await asking.version();
  const running = {
    version: version.split('.').slice(0, 2).join('.'),
    type: String(await asking.ask('qom-get', { path: '/machine', property: 'type' })),
    cpus: listIn(await asking.ask('query-cpus-fast')).length,
    tree: String(await asking.human('info qtree')),
    blocks: String(await asking.human('info ramblock')),
    devices: await asking.devices(),
  };
  return { running, notAsked: asking.notAsked, longestMs: asking.longestMs };
}

class Asking {
  readonly notAsked: string[] = [];
  longestMs = 0;
  readonly #monitor: Monitor;
  #version = '';

  constructor(monitor: Monitor) {
    this.#monitor = monitor;
  }

  async version(): Promise<string> {
    const { qemu } = objectIn(await this.#timed('query-version', {}));
    const { major, minor, micro } = objectIn(qemu);
    this.#version = [major, minor, micro].map(Number).join('.');
    if (!/^\d+\.\d+\.\d+$/.test(this.#version))
      throw new UsageError("the answer to query-version is not QEMU's");
    return this.#version;
  }

  /** Asks the QEMU. @throws UsageError for a question that was not tried with this version */
  async ask(command: string, args: object = {}): Promise<unknown> {
    this.#refuse(command);
    return await this.#timed(command, args);
  }

  async human(line: string): Promise<unknown> {
    this.#refuse(line);
    return await this.#timed('human-monitor-command', { 'command-line': line });
  }

  #refuse(command: string): void {
    const why = whyNotAsked(command, this.#version);
    if (why !== undefined)
      throw new UsageError(
        `${why}; check a stream of the guest instead: virsh dump --live NAME FILE, without --memory-only`,
      );
  }

  async #timed(command: string, args: object): Promise<unknown> {
    const start = performance.now();
    const answer = await this.#monitor.execute(command, args);
    this.longestMs = Math.max(this.longestMs, performance.now() - start);
    return answer;
  }

  /** Asks for features and rings of the virtio devices with an id. */
  async devices(): Promise<ReadonlyMap<string, RunningDevice>> {
    const found = new Map<string, RunningDevice>();
    const why =
      whyNotAsked('x-query-virtio-status', this.#version) ?? whyNotAsked('x-query-virtio', this.#version);
    if (why !== undefined) {
      this.notAsked.push(
        `${why}: features that the guest has negotiated are not known, and taken to be all that are offered`,
      );
      return found;
    }
    for (const each of listIn(await this.ask('x-query-virtio')).slice(0, DEVICES_MAX)) {
      const path = String(objectIn(each)['path']);
      const [, id] = /^\/machine\/peripheral\/([^/]+)\//.exec(path) ?? [];
      if (id === undefined) this.notAsked.push(`${path}: a device without an id: its features are not known`);
      else found.set(id, await this.#device(path));
    }
    return found;
  }

  async #device(path: string): Promise<RunningDevice> {
    const status = objectIn(await this.ask('x-query-virtio-status', { path }));
    const queues = Math.min(Number(status['num-vqs']) || 0, QUEUES_MAX);
    const ringSizes: number[] = [];
    for (let queue = 0; queue < queues; queue++) {
      const answer = objectIn(await this.ask('x-query-virtio-queue-status', { path, queue }));
      ringSizes.push(Number(answer['vring-num']) || 0);
    }
    return {
      features: featureNames(objectIn(status['guest-features'])),
      offered: featureNames(objectIn(status['host-features'])),
      ringSizes,
    };
  }
}

/**
 * Lists the names of the features in an answer: texts that begin with one, and numbers for those that this QEMU has no
 * text of.
 */
export function featureNames(features: Readonly<Record<string, unknown>>): string[] {
  const texts = ['dev-features', 'transports'].flatMap((key) => listIn(features[key] ?? []));
  const names = texts.map((text) => String(text).replace(/:.*$/s, ''));
  for (const [key, value] of Object.entries(features)) {
    if (!key.startsWith('unknown-')) continue;
    // exact as a double up to 2^53, and each bit above that alone
    for (let bits = BigInt(Number(value) || 0), bit = 0; bits !== 0n; bits >>= 1n, bit++)
      if ((bits & 1n) === 1n) names.push(`bit ${key.endsWith('2') ? bit + 64 : bit}`);
  }
  return names;
}

function objectIn(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError('an answer of QEMU is not what it is in the versions that are known');
  return value as Readonly<Record<string, unknown>>;
}

function listIn(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new UsageError('an answer of QEMU is no list');
  return value;
}
