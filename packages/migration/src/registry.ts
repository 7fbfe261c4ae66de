import type { DeviceLayer, TransportLayer } from '@virtkit/core';
import type { Field } from '@virtkit/vmstate';
import { globalState, timers } from './companions.ts';

/** Layers that a stream's sections are decoded with. What is not in here stays bytes. */
export interface Registry {
  /** The transports whose devices are found. */
  readonly transports: readonly TransportLayer[];
  /** The device types that are found. */
  readonly devices: readonly DeviceLayer[];
  /** Declarations of other sections by vmsd name, for those whose vmdesc is missing or wrong. */
  readonly sections?: Readonly<Record<string, Field<unknown>>>;
}

/** Splits a section's name into path and vmsd name: `0000:00:02.0/virtio-blk`. */
export function splitIdstr(idstr: string): { readonly path: string; readonly name: string } {
  const slash = idstr.lastIndexOf('/');
  return { path: idstr.slice(0, Math.max(slash, 0)), name: idstr.slice(slash + 1) };
}

/** Declarations of sections that every stream has, for streams without a vmdesc. */
const COMMON_SECTIONS: Readonly<Record<string, Field<unknown>>> = { timer: timers, globalstate: globalState };

/**
 * Finds the declaration of a section that is no virtio device: the registry's own, else that of a section that every
 * stream has.
 */
export function declarationOf(idstr: string, registry: Registry): Field<unknown> | undefined {
  const { name } = splitIdstr(idstr);
  return ownMember(registry.sections, name) ?? ownMember(COMMON_SECTIONS, name);
}

/** Finds the registry's own declaration of a section by its name. */
export function registeredSection(idstr: string, registry: Registry): Field<unknown> | undefined {
  return ownMember(registry.sections, splitIdstr(idstr).name);
}

/** Finds a member of a table that is the table's own: a section may be called `constructor`. */
function ownMember<T>(table: Readonly<Record<string, T>> = {}, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}
