// The device that is served: one of ours with a back end that the options name, or one of a module of the user's.
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type DeviceModel, isHostError } from '@virtkit/core';
import type { BlkBackend } from '@virtkit/device-blk';
import type { DiskFaultEvent, FaultPlan } from '@virtkit/testing/faults';
import { say } from '../output.ts';
import { isSystemError, systemError } from '../system-error.ts';
import { UsageError } from '../usage.ts';
import { type ServeOptions, wholeNumber } from './options.ts';

/** Device that is served, and what its back end leaves open. */
export interface Served {
  readonly model: DeviceModel;
  /** Closes the back end, when the device does not use it any more. */
  close(): void | Promise<void>;
}

/** Faults that a device is to make, and who hears of what only the back end of a disk knows. */
export interface FaultWishes {
  readonly plan: FaultPlan;
  readonly told: (event: DiskFaultEvent) => void;
}

/**
 * Makes the device. @throws UsageError for a device that there is not, or options that do not make one; Error for a
 * back end that cannot be had
 */
export function makeDevice(device: string, options: ServeOptions, faults?: FaultWishes): Promise<Served> {
  if (device !== 'blk' && faults?.plan.faults.some(({ kind }) => kind === 'torn'))
    throw new UsageError(`--fault: torn is for blk, whose disk is known here`);
  switch (device) {
    case 'blk':
      return makeBlk(options, faults);
    case 'net':
      return makeNet(options);
    case 'rng':
      return makeRng();
    case 'console':
      return makeConsole();
    default:
      return loadDevice(device);
  }
}

async function makeBlk(
  { disk, readOnly = false, serial, queues }: ServeOptions,
  faults: FaultWishes | undefined,
): Promise<Served> {
  if (disk === undefined) throw new UsageError('serve blk: --disk IMAGE is missing');
  const { BlkDevice } = await import('@virtkit/device-blk');
  const { backend, close } = await openDisk(disk, readOnly);
  const model = new BlkDevice({
    backend: faults === undefined ? backend : await torn(backend, faults),
    queues: wholeNumber('--queues', queues, 1, 1024),
    readOnly,
    ...(serial !== undefined && { serial }),
  });
  return { model, close };
}

async function torn(backend: BlkBackend, { plan, told }: FaultWishes): Promise<BlkBackend> {
  const { faultyDisk } = await import('@virtkit/testing/faults');
  return faultyDisk(backend, plan, told);
}

async function openDisk(disk: string, readOnly: boolean) {
  if (/^https?:/.test(disk)) {
    const [{ httpDisk }, { overlayDisk }] = await Promise.all([
      import('@virtkit/device-blk/http'),
      import('@virtkit/device-blk/overlay'),
    ]);
    const image = await httpDisk(disk);
    // what the guest writes stays here, in memory, and goes with the command
    return { backend: readOnly ? image : overlayDisk(image), close: () => {} };
  }
  if (/^nbds?(?:\+unix)?:/.test(disk)) {
    const backend = await openNbd(disk, readOnly);
    return { backend, close: () => backend.close() };
  }
  const { fileDisk } = await import('@virtkit/device-blk/node');
  try {
    const backend = fileDisk(disk, { readOnly, discard: 'unmap' });
    return { backend, close: () => backend.close() };
  } catch (error) {
    throw systemError(disk, error);
  }
}

async function openNbd(disk: string, readOnly: boolean) {
  const { nbdDisk } = await import('@virtkit/device-blk/nbd');
  try {
    return await nbdDisk(disk, {
      readOnly,
      discard: 'unmap',
      // the guest waits until a server that has gone away is there again: on standard error, since the other stream is for events
      onEvent: (event) => say(`${disk}: ${event.type === 'lost' ? event.error.message : event.type}`),
    });
  } catch (error) {
    if (isHostError(error)) throw new UsageError(error.message);
    // what the server said is in words; what the system said is not
    throw isSystemError(error) && error.syscall !== undefined ? systemError(disk, error) : error;
  }
}

async function makeNet({
  connect,
  listen,
  mac = '52:54:00:12:34:56',
  queues,
  vfioUser = false,
}: ServeOptions): Promise<Served> {
  if ((connect === undefined) === (listen === undefined))
    throw new UsageError('serve net: one of --connect ADDRESS and --listen ADDRESS expected');
  const [{ NetDevice }, { StreamBackend }, { parseAddress }] = await Promise.all([
    import('@virtkit/device-net'),
    import('@virtkit/device-net/node'),
    import('../live/address.ts'),
  ]);
  const address = parseAddress(connect ?? listen ?? '');
  const where = address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port };
  const backend = connect !== undefined ? StreamBackend.connect(where) : await StreamBackend.listen(where);
  // with vhost-user the control queue is the front end's: QEMU has one of its own, and tells the back end nothing of it
  const model = new NetDevice({
    backend,
    mac,
    queuePairs: wholeNumber('--queues', queues, 1, 255),
    frontEndControl: !vfioUser,
  });
  return { model, close: () => backend.close() };
}

async function makeRng(): Promise<Served> {
  const [{ RngDevice, webCrypto }, { webcrypto }] = await Promise.all([
    import('@virtkit/device-rng'),
    import('node:crypto'),
  ]);
  return { model: new RngDevice({ backend: webCrypto(webcrypto) }), close: () => {} };
}

async function makeConsole(): Promise<Served> {
  const [{ ConsoleDevice }, { nodePort }] = await Promise.all([
    import('@virtkit/device-console'),
    import('@virtkit/device-console/node'),
  ]);
  // events go to standard error then: standard output is the guest's
  const backend = nodePort({ readable: process.stdin, writable: process.stdout });
  return {
    model: new ConsoleDevice({ ports: [{ console: true, backend }] }),
    close: () => void process.stdin.destroy(),
  };
}

async function loadDevice(path: string): Promise<Served> {
  if (!/[./]/.test(path))
    throw new UsageError(`serve ${path}: blk, net, rng, console or a module (./my-device.ts) expected`);
  const module: unknown = await import(pathToFileURL(resolve(path)).href).catch((error: unknown) => {
    // a loader that was registered (tsx) reads it in any Node
    if (isSystemError(error) && error.code === 'ERR_UNKNOWN_FILE_EXTENSION' && /\.[cm]?ts$/.test(path))
      throw new UsageError(
        `${path}: Node ${process.versions.node} does not read TypeScript. Use Node 22.18 or newer, or install tsx and set NODE_OPTIONS='--import tsx'`,
      );
    throw systemError(path, error);
  });
  const exported = (module as { readonly default?: unknown }).default;
  const model: unknown = typeof exported === 'function' ? await exported() : exported;
  if (!isModel(model))
    throw new UsageError(
      `${path}: its default export is no device, nor a function that makes one; a DeviceModel of @virtkit/core has ${MEMBERS.join(', ')}`,
    );
  return { model, close: () => {} };
}

const MEMBERS = ['layer', 'features', 'queueSizes', 'attach', 'handleQueue', 'capture'] as const;

function isModel(value: unknown): value is DeviceModel {
  return typeof value === 'object' && value !== null && MEMBERS.every((name) => name in value);
}
