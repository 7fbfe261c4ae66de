import type { DeviceLayer, TransportLayer } from '@virtkit/core';
import type { Field } from '@virtkit/vmstate';
import { globalState, timers } from './companions.ts';

/** The layers to decode with. What is not in here stays bytes. */
export interface Registry {
  /** The transports whose devices are found. */
  readonly transports: readonly TransportLayer[];
  /** The device types that are found. */
  readonly devices: readonly DeviceLayer[];
  /** Declarations of other sections by vmsd name, for those whose vmdesc is missing or wrong. */
  readonly sections?: Readonly<Record<string, Field<unknown>>>;
}

/** `0000:00:02.0/virtio-blk` → path and name. */
export function splitIdstr(idstr: string): { readonly path: string; readonly name: string } {
  const slash = idstr.lastIndexOf('/');
  return { path: idstr.slice(0, Math.max(slash, 0)), name: idstr.slice(slash + 1) };
}

/** Sections that every stream has, for streams without a vmdesc. */
const COMMON_SECTIONS: Readonly<Record<string, Field<unknown>>> = { timer: timers, globalstate: globalState };

/** The declaration of a section that is no virtio device: the registry's own, else of those that every stream has. */
export function declarationOf(idstr: string, registry: Registry): Field<unknown> | undefined {
  const { name } = splitIdstr(idstr);
  return ownMember(registry.sections, name) ?? ownMember(COMMON_SECTIONS, name);
}

/** The registry's own declaration of a section of that name. */
export function registeredSection(idstr: string, registry: Registry): Field<unknown> | undefined {
  return ownMember(registry.sections, splitIdstr(idstr).name);
}

/** A section may be called `constructor`. */
function ownMember<T>(table: Readonly<Record<string, T>> = {}, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}
