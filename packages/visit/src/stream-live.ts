import {
  type DeviceEvent,
  FEATURE,
  hasFeature,
  type LiveDevice,
  MappedMemory,
  negotiated,
  type VirtioState,
} from '@virtkit/core';
import {
  decodeVirtio,
  findVirtio,
  type MigrationStream,
  machineEndian,
  type RamImage,
  type RamPlacement,
  type Registry,
  ramLayout,
  titleOf,
  type VirtioDevice,
} from '@virtkit/migration';
import { StateError } from '@virtkit/vmstate';
import type { Backends } from './infer-device.ts';
import { liveDevice, type Surroundings } from './live.ts';

/** A device of a stream, live. */
export interface StreamDevice {
  readonly device: VirtioDevice;
  /** As the stream has it. */
  readonly state: VirtioState;
  readonly live: LiveDevice;
  /** The section's body from the live device as it is now. */
  save(): Uint8Array;
}

/** The disks and network cards of a stream, live over its memory. */
export interface LiveStream {
  readonly memory: MappedMemory;
  readonly placements: readonly RamPlacement[];
  readonly devices: readonly StreamDevice[];
}

/** Device types that can be live. Others may be in the registry, for their names. */
const LIVE: ReadonlySet<string> = new Set(['virtio-blk', 'virtio-net']);
/** Sections of IOMMUs: `iommu-intel`, `virtio-iommu`, `smmuv3`, `spapr_iommu`. */
const IOMMU = /iommu|smmu/;

/** How {@link openStream} connects devices. */
export interface OpenOptions extends Backends, Pick<Surroundings, 'sendMsi' | 'setLine' | 'channelHost'> {
  /** Overrides the table of machines: where RAM lies. */
  readonly ramMap?: readonly RamPlacement[];
  readonly onEvent?: (event: DeviceEvent) => void;
}

/**
 * Makes live devices of all disks and network cards in a stream, over the guest memory that came with it.
 *
 * @param ram filled by the same pass over the stream
 * @throws StateError for states that a device does not take, streams without RAM, machines whose layout is not known, devices
 *   whose addresses are an IOMMU's (`iommu`)
 */
export function openStream(
  stream: MigrationStream,
  ram: RamImage,
  registry: Registry,
  options: OpenOptions,
): LiveStream {
  const machine = stream.configuration?.name ?? '';
  if (stream.configuration?.capabilities?.includes('x-ignore-shared') === true) {
    const place = { layer: 'stream', path: 'ram' } as const;
    throw new StateError(
      'ram-absent',
      'guest memory is not in this stream (capability x-ignore-shared): it stayed in its file',
      {},
      place,
    );
  }
  const placements = ramLayout(machine, ram.announced, options.ramMap);
  const memory = new MappedMemory(
    placements.map(({ gpa, block, offset, length }) => {
      const bytes = ram.blocks.get(block);
      if (bytes === undefined || offset + length > bytes.length) {
        const facts = { block, offset, length, blocks: [...ram.blocks.keys()].join(', ') };
        throw new StateError(
          'ram-layout',
          `RAM block "${block}" does not have bytes ${offset} to ${offset + length}`,
          facts,
          { layer: 'stream', path: 'ram' },
        );
      }
      return { gpa, bytes: bytes.subarray(offset, offset + length) };
    }),
  );
  const targetEndian = machineEndian(machine, ram.announced);
  const around: Surroundings = { ...options, memory, machine, targetEndian };
  const devices = stream.sections.flatMap((section): StreamDevice[] => {
    const device = findVirtio(section, registry);
    if (device?.known !== true || !LIVE.has(device.name)) return [];
    const { state } = decodeVirtio(device);
    refuseIommu(device, state, stream);
    const live = liveDevice(device, state, around);
    return [{ device, state, live, save: () => device.codec.encode(live.capture()) }];
  });
  return { memory, placements, devices };
}

/** What a device behind an IOMMU has for addresses are no places in guest memory: nothing there may be touched. */
function refuseIommu(device: VirtioDevice, state: VirtioState, { sections }: MigrationStream): void {
  if (!hasFeature(negotiated(state), FEATURE.ACCESS_PLATFORM)) return;
  const iommu = sections.find(({ header }) => IOMMU.test(header.idstr))?.header.idstr;
  if (iommu === undefined) return;
  throw new StateError(
    'iommu',
    `its addresses are those of the machine's IOMMU (${iommu}), which is not followed (iommu_platform=on)`,
    { iommu },
    { layer: 'device', path: titleOf(device) },
  );
}
