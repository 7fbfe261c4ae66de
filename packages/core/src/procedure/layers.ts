import { type Field, jsonError, StateError } from '@virtkit/vmstate';
import type { DeviceIdentity, DeviceLayer } from '../contract/device.ts';
import type { TransportParts } from '../contract/state.ts';
import type { TransportIdentity, TransportLayer } from '../contract/transport.ts';
import { type CoreSubsectionsDeclaration, coreSubsections } from '../state/subsections.ts';

/** Names and rules of the two layers around core, without the format of their state. */
export interface Identities<T extends TransportParts, D> {
  /** The transport's name, number and rules. */
  readonly transport: TransportIdentity<T>;
  /** The device type's name, number and rules. */
  readonly device: DeviceIdentity<D>;
}

/** The two layers that core joins. */
export interface Layers<T extends TransportParts, D> extends Identities<T, D> {
  /** Transport's layer: registers or channel, vectors or indicators. */
  readonly transport: TransportLayer<T>;
  /** Device type's layer. */
  readonly device: DeviceLayer<D>;
}

/** Field of transports without extra state: QEMU answers -1 when the subsection comes all the same. */
const noExtraState: Field<never> = {
  type: 'buffer',
  minSize: 0,
  decode: (input) => {
    throw new StateError('extra-state', 'the transport has no extra state', {}, { offset: input.position });
  },
  encode: () => {
    throw new StateError('extra-state', 'the transport has no extra state');
  },
  toJSON: () => null,
  fromJSON: (json) => {
    throw jsonError('no extra state', json);
  },
};

const declarations = new WeakMap<object, CoreSubsectionsDeclaration<unknown>>();

/** Declares core's subsections with the transport's extra state in them; made once for each transport. */
export function subsectionsOf<T extends TransportParts>(
  transport: TransportLayer<T>,
): CoreSubsectionsDeclaration<T['extra']> {
  let found = declarations.get(transport);
  if (found === undefined) {
    found = coreSubsections<unknown>(transport.extraState ?? noExtraState);
    declarations.set(transport, found);
  }
  return found as CoreSubsectionsDeclaration<T['extra']>;
}
