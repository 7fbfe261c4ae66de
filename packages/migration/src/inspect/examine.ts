// The virtio devices of a stream, each decoded and judged, and what they come to in words.
import {
  type Endian,
  FEATURE,
  type Finding,
  hasFeature,
  nameFeatures,
  nameStatus,
  negotiated,
  STATUS,
  type VirtioState,
} from '@virtkit/core';
import { isStateError, type Json, nodeAt, type StateError } from '@virtkit/vmstate';
import type { MigrationStream } from '../model.ts';
import type { Registry } from '../registry.ts';
import { type DecodedVirtio, decodeVirtio, findVirtio, titleOf, type VirtioDevice } from '../virtio.ts';

/** Virtio device of a stream, decoded, or with the error that says why not. */
export interface Examined {
  /** Device as it was found in the stream. */
  readonly device: VirtioDevice;
  /** State of the device, and where each field lies; absent if it cannot be read. */
  readonly decoded?: DecodedVirtio;
  /** Error that says why the state cannot be read. */
  readonly error?: StateError;
  /** Contradictions between the fields of the state, with the place in the stream where there is one. */
  readonly findings: readonly (Finding & { readonly offset?: number })[];
}

/** Examines all virtio devices of a stream, in its order. */
export function examineDevices(
  { sections }: Pick<MigrationStream, 'sections'>,
  registry: Registry,
): Examined[] {
  return sections.flatMap((section) => {
    const device = findVirtio(section, registry);
    return device === undefined ? [] : [examineDevice(device)];
  });
}

function examineDevice(device: VirtioDevice): Examined {
  try {
    const decoded = decodeVirtio(device);
    const findings = device.codec.check(decoded.state).map((finding) => {
      const offset = nodeAt(decoded.root, finding.path)?.start;
      return offset === undefined ? finding : { ...finding, offset };
    });
    return { device, decoded, findings };
  } catch (error) {
    if (isStateError(error)) return { device, error, findings: [] };
    throw error;
  }
}

/** Finds the byte order of the configuration space: little-endian with VERSION_1, else the guest's. */
export function configEndian({ state }: DecodedVirtio, guest: Endian): Endian {
  if (hasFeature(negotiated(state), FEATURE.VERSION_1)) return 'little';
  const said = state.subsections.deviceEndian;
  if (said !== undefined) return said === 2 ? 'big' : 'little';
  return guest;
}

/** Names the numbers of a device's state. `guest`: byte order of the guest's CPU. */
export function summarizeDevice(decoded: DecodedVirtio, guest: Endian): { readonly [key: string]: Json } {
  const { device, state } = decoded;
  const { transport, device: type } = device.codec;
  const rest = state.rest === undefined ? undefined : type.describeRest?.(state.rest);
  return {
    statusBits: nameStatus(state.status),
    negotiatedFeatures: `0x${negotiated(state).toString(16)}`,
    features: nameFeatures(negotiated(state), type.features).map(({ bit, name }) => ({
      bit,
      name: name ?? null,
    })),
    ...(type.describeConfig !== undefined && {
      configSpace: type.describeConfig(state.config, configEndian(decoded, guest)),
    }),
    ...(rest !== undefined && { rest }),
    ...(transport.describe !== undefined && { transport: transport.describe(state.transport) }),
  };
}

/** Description of a device in a few words: a line of a table, or a card. */
export interface DeviceOutline {
  /** Title of the device: `virtio-blk@0000:00:02.0`. */
  readonly title: string;
  /**
   * Furthest state that the driver has come to: `DRIVER_OK`, `no driver`, `broken`; of a device that cannot be read
   * `not readable`.
   */
  readonly status: string;
  /** Interface that the driver uses, and its kind of rings: `1.x, split`. Absent: no driver. */
  readonly driver?: string;
  /** Number of negotiated features. Absent: no driver. */
  readonly featureCount?: number;
  /** Names of negotiated features in which drivers, machine versions and command lines differ most often: `DISCARD`. */
  readonly telling: readonly string[];
  /**
   * Description of the queues that the driver has set up, and of their sizes: `2 of 3 × 256/64`. Empty if it cannot be
   * read.
   */
  readonly queues: string;
  /** Number of requests in flight, of types that have them in a list. */
  readonly inFlight: number;
}

/** Largest number of features that an outline names, of those that tell how a device is driven. */
const NAMED = 3;

/** Tells in a line what there is to say of a device. */
export function outlineOf({ device, decoded }: Examined): DeviceOutline {
  const title = titleOf(device);
  if (decoded === undefined) return { title, status: 'not readable', telling: [], queues: '', inFlight: 0 };
  const { state } = decoded;
  const { requests = [] } = state.device as { readonly requests?: readonly unknown[] };
  const names = nameFeatures(negotiated(state), device.codec.device.features).flatMap(
    ({ name }) => name ?? [],
  );
  const driven = state.status !== 0;
  return {
    title,
    status: statusOf(state),
    ...(driven && { driver: driverOf(state), featureCount: names.length }),
    telling: driven ? tellingOf(names) : [],
    queues: queuesOf(state),
    inFlight: requests.length,
  };
}

function statusOf({ status, subsections }: VirtioState): string {
  if (subsections.broken === true || (status & STATUS.NEEDS_RESET) !== 0) return 'broken';
  if ((status & STATUS.FAILED) !== 0) return 'FAILED';
  if ((status & STATUS.DRIVER_OK) !== 0) return 'DRIVER_OK';
  return status === 0 ? 'no driver' : 'starting';
}

function driverOf(state: VirtioState): string {
  const features = negotiated(state);
  const ring = state.subsections.packedVirtqueues === undefined ? 'split' : 'packed';
  return `${hasFeature(features, FEATURE.VERSION_1) ? '1.x' : 'legacy'}, ${ring}`;
}

function tellingOf(names: readonly string[]): string[] {
  return names
    .filter((name) => TELLING.test(name))
    .map((name) => name.replace(/^VIRTIO_(?:[A-Z0-9]+_)?F_/, ''))
    .slice(-NAMED);
}

/** Features in which drivers, machine versions and command lines differ most often, by bit. */
const TELLING =
  /_F_(?:MQ|RSS|HOST_USO|ACCESS_PLATFORM|RING_RESET|IN_ORDER|NOTIFICATION_DATA|DISCARD|MULTIPORT|CONFIG_WCE|CTRL_VQ)$/;

/** Writes the number of queues that the driver has set up, and their sizes. */
function queuesOf({ queues }: VirtioState): string {
  const ready = queues.filter(({ desc }) => desc !== 0n);
  const sizes = [...new Set((ready.length === 0 ? queues : ready).map(({ num }) => num))];
  const count = ready.length === queues.length ? `${queues.length}` : `${ready.length} of ${queues.length}`;
  return `${count} × ${sizes.slice(0, 3).join('/')}${sizes.length > 3 ? '/…' : ''}`;
}
