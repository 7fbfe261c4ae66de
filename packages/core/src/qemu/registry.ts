import type { Field } from '@virtkit/vmstate';
import type { DeviceLayer } from '../contract/device.ts';
import type { TransportLayer } from '../contract/transport.ts';
import type { DeviceType } from './device-type.ts';

/** Transports and device types that a program knows: the registry of `@virtkit/migration`, with descriptors beside. */
export interface TypeRegistry {
  /** The transports whose devices are known. */
  readonly transports: readonly TransportLayer[];
  /** The device types that are known. */
  readonly types: readonly DeviceType[];
  /** The saved states of {@link types}. */
  readonly devices: readonly DeviceLayer[];
  /** Declarations of other sections by vmsd name. */
  readonly sections: Readonly<Record<string, Field<unknown>>>;
}

/** Makes a registry of transports and device types, and of other sections by the last part of their names. */
export function registryOf(
  transports: readonly TransportLayer[],
  types: readonly DeviceType[],
  sections: Readonly<Record<string, Field<unknown>>> = {},
): TypeRegistry {
  return {
    transports,
    types,
    devices: types.map(({ layer }) => layer),
    sections: Object.assign({}, ...types.map((type) => type.sections ?? {}), sections),
  };
}

/** Finds the descriptor of a device type by its name. */
export function typeNamed(types: readonly DeviceType[], name: string): DeviceType | undefined {
  return types.find(({ layer }) => layer.name === name);
}
