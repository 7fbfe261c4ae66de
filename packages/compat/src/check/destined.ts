import type { DeviceModel, VirtioState } from '@virtkit/core';
import type { Destined, DeviceType, Making } from '@virtkit/core/qemu';
import { type MigrationStream, titleOf, type VirtioDevice } from '@virtkit/migration';
import type { Destination } from '../destination/destination.ts';

/** Virtio device of a stream that is to be loaded. */
export interface Section {
  readonly device: VirtioDevice;
  readonly type: DeviceType;
  readonly state: VirtioState;
  readonly stream: MigrationStream;
  /** Destination as a whole, where it is known. */
  readonly destination: Destination | undefined;
  /** Machine type of the target for people: `pc-q35-rhel9.6.0, QEMU's pc-q35-9.1`. */
  readonly machineTitle: string;
}

/** Makes what the check of a device type is told about a section and its destination. */
export function destined(section: Section, making: Making, model?: DeviceModel): Destined {
  const { device, state, stream, destination } = section;
  const { place } = making.device;
  return {
    title: titleOf(device),
    section: device.section.header.idstr,
    making,
    model,
    inside: destination?.devices.filter(({ within }) => within !== undefined && within === place),
    rest: state.rest === undefined ? undefined : device.codec.device.describeRest?.(state.rest),
    sectionOf: (name) =>
      stream.sections.find(({ header }) => header.idstr === `${device.path}/${name}`)?.body,
  };
}
