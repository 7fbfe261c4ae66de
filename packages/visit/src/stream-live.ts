import { type LiveDevice, MappedMemory, type VirtioState } from '@virtkit/core';
import type { ConnectedType } from '@virtkit/core/qemu';
import {
  decodeVirtio,
  findVirtio,
  iommuOf,
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
import { liveDevice, type Surroundings } from './live.ts';

/** Device of a stream, and the live device made from it. */
export interface StreamDevice {
  /** Device as it was found in the stream. */
  readonly device: VirtioDevice;
  /** The state as the stream has it. */
  readonly state: VirtioState;
  /** The live device, paused. */
  readonly live: LiveDevice;
  /** Device type, with what its devices are connected to. */
  readonly type: ConnectedType;
  /** Encodes the section's body from the live device as it is now. */
  save(): Uint8Array;
}

/** Devices of a stream that can be live, over the stream's memory. */
export interface LiveStream {
  /** Guest memory out of the stream. */
  readonly memory: MappedMemory;
  /** Places of each piece of a RAM block in {@link memory}. */
  readonly placements: readonly RamPlacement[];
  /** The virtio devices, in the order of the stream. */
  readonly devices: readonly StreamDevice[];
}

/** Options of {@link openStream}: how devices are connected. */
export interface OpenOptions extends Pick<Surroundings, 'sendMsi' | 'setLine' | 'channelHost' | 'onEvent'> {
  /** Device types that become live, with what their devices are connected to. Others stay bytes. */
  readonly types: readonly ConnectedType[];
  /** Places of RAM instead of those in the table of machines. */
  readonly ramMap?: readonly RamPlacement[];
}

/**
 * Makes live devices of those in a stream whose types are connected to something, over the guest memory that came with it.
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
  const { types, ramMap: _ramMap, ...host } = options;
  const around: Surroundings = { ...host, memory, machine, targetEndian };
  const devices = stream.sections.flatMap((section): StreamDevice[] => {
    const device = findVirtio(section, registry);
    const type = types.find(({ name }) => name === device?.name);
    if (device?.known !== true || type === undefined) return [];
    const { state } = decodeVirtio(device);
    refuseIommu(device, state, stream);
    const live = liveDevice(device, state, types, around);
    return [{ device, state, live, type, save: () => device.codec.encode(live.capture()) }];
  });
  return { memory, placements, devices };
}

/** Refuses a device behind an IOMMU: its addresses are no places in guest memory. */
function refuseIommu(device: VirtioDevice, state: VirtioState, { sections }: MigrationStream): void {
  const iommu = iommuOf(state, sections);
  if (iommu === undefined) return;
  throw new StateError(
    'iommu',
    `its addresses are those of the machine's IOMMU (${iommu}), which is not followed (iommu_platform=on)`,
    { iommu },
    { layer: 'device', path: titleOf(device) },
  );
}
