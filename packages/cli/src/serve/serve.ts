import { resolve } from 'node:path';
import { type DeviceEvent, type DeviceModel, isHostError, type LiveDevice } from '@virtkit/core';
import type { FaultPlan } from '@virtkit/testing/faults';
import type { Terminal } from '../live/commands.ts';
import { textOf } from '../output.ts';
import { isSystemError, systemError } from '../system-error.ts';
import { UsageError } from '../usage.ts';
import { type FaultWishes, makeDevice, type Served } from './device.ts';
import { EventLines } from './event-lines.ts';
import { type ServeOptions, wholeNumber } from './options.ts';
import { vfioUserWords, wordsFor, wordsText } from './words.ts';

/** Longest time between two lines of `--stats`, in seconds. */
const DAY_SECONDS = 86_400;

/**
 * Serves a device until a signal ends it. Events are JSON lines on stdout, or on stderr where stdout is a console's.
 *
 * @throws UsageError, or Error with what the system refused
 */
export async function serve(terminal: Terminal, device: string, options: ServeOptions): Promise<void> {
  const seconds =
    options.stats === undefined ? undefined : wholeNumber('--stats', options.stats, 1, DAY_SECONDS);
  if (options.vfioUser === true && options.client === true)
    throw new UsageError('--client: with --vfio-user it is always QEMU that connects');
  const start = await protocolOf(options);
  const lines = new EventLines(
    device === 'console' ? async (text) => void process.stderr.write(text) : terminal.write,
    (error) => terminal.say(`events are not written: ${error instanceof Error ? error.message : error}`),
  );
  const told: FaultWishes['told'] = (event) => lines.event({ event: 'fault-injected', ...event });
  const plan = options.fault === undefined ? undefined : await planOf(options.fault);
  const served = await makeDevice(device, options, plan && { plan, told });
  const onEvent = ({ name, ...rest }: DeviceEvent): void => lines.event({ event: name, ...rest });
  const path = resolve(options.socket);
  const live: { device?: LiveDevice } = {};
  const model = plan === undefined ? served.model : await faulty(served.model, plan, live);
  const server = listening(path, () => start(model, path, onEvent), served);
  live.device = server.device;
  await sayWords(terminal, lines, server.device, path, options);
  const timer =
    seconds === undefined ? undefined : setInterval(() => lines.line(statsOf(server.device)), 1000 * seconds);
  await ended();
  clearInterval(timer);
  server.close();
  // what the guest was told of is in the image when the command has ended
  await server.device.idle();
  await served.close();
  lines.close();
  terminal.exit('fine');
}

/** Server of a device, whatever the protocol. */
interface Server {
  readonly device: LiveDevice;
  close(): void;
}

type Start = (model: DeviceModel, path: string, onEvent: (event: DeviceEvent) => void) => Server;

/** Loads the package of the protocol that the options want. */
async function protocolOf({ vfioUser = false, client = false }: ServeOptions): Promise<Start> {
  if (vfioUser) {
    const { serveVfioUser } = await optional('@virtkit/vfio-user', () => import('@virtkit/vfio-user'));
    return (model, path, onEvent) => serveVfioUser(model, { path, onEvent });
  }
  const { serveVhostUser } = await optional('@virtkit/vhost-user', () => import('@virtkit/vhost-user'));
  return (model, path, onEvent) =>
    serveVhostUser(model, { path, mode: client ? 'client' : 'server', onEvent });
}

/** Loads a package that may be missing. @throws UsageError where it is not installed */
async function optional<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    // thrown by what scripts/single-file.mjs has in place of the package
    if (error.code === 'VIRTKIT_SINGLE_FILE')
      throw new UsageError(
        'serve is not in the virtkit of a single file: it needs a native module; npm install --global @virtkit/cli has it',
      );
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new UsageError(`serve needs the package ${name}, which is for Linux: npm install ${name}`);
  }
}

/** Reads a plan of faults. @throws UsageError that names the fault that makes no sense */
async function planOf(text: string): Promise<FaultPlan> {
  const { parseFaults } = await import('@virtkit/testing/faults');
  return asUsage(() => parseFaults(text));
}

/** @param live has the device when there is one */
async function faulty(
  model: DeviceModel,
  plan: FaultPlan,
  live: { readonly device?: LiveDevice },
): Promise<DeviceModel> {
  const { faultyDevice } = await import('@virtkit/testing/faults');
  const device = (): LiveDevice => {
    if (live.device === undefined) throw new Error('a request in front of its device');
    return live.device;
  };
  return asUsage(() => faultyDevice(model, plan, { device }));
}

function asUsage<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw isHostError(error) ? new UsageError(`--fault: ${error.message}`) : error;
  }
}

function listening<T>(path: string, start: () => T, served: Served): T {
  try {
    return start();
  } catch (error) {
    void served.close();
    throw isSystemError(error) ? systemError(path, error) : error;
  }
}

async function sayWords(
  { write, say }: Terminal,
  lines: EventLines,
  device: LiveDevice,
  path: string,
  { client = false, json = false, mac, vfioUser = false }: ServeOptions,
): Promise<void> {
  const words = vfioUser
    ? vfioUserWords(path)
    : wordsFor(path, client, {
        id: device.layers.device.virtioId ?? 0,
        queues: device.queueCount,
        queueSize: device.queue(0)?.size ?? 0,
        configBytes: device.readConfig().length,
        ...(mac !== undefined && { mac }),
      });
  if (json) lines.line({ event: 'serving', device: device.layers.device.name, socket: path, words });
  else if (device.layers.device.name === 'virtio-console') for (const text of wordsText(words)) say(text);
  else await write(textOf(wordsText(words)));
}

/** Waits until the command is to end. */
function ended(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
}

function statsOf(device: LiveDevice): Record<string, unknown> {
  const queues = Array.from({ length: device.queueCount }, (_, index) => {
    const queue = device.queue(index);
    return { queue: index, kicks: queue?.kicks, interrupts: queue?.interrupts, inFlight: queue?.inFlight };
  });
  return { event: 'stats', status: device.status, queues };
}
