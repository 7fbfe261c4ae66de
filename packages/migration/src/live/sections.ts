import { codecOf, errorOf, type LiveDevice, type TransportParts, type VirtioState } from '@virtkit/core';
import {
  countedBytes,
  describe,
  isStateError,
  Reader,
  StateError,
  Trace,
  u32,
  type VMState,
  vmstate,
  Writer,
} from '@virtkit/vmstate';
import type { LiveSection } from './machine.ts';

/** Options of a virtio device's section. */
export interface VirtioSectionOptions<T extends TransportParts = TransportParts, D = unknown> {
  /** Path of the device: `0000:00:02.0` on PCI, `/fe.0.0001` on channel I/O. Empty or absent: none. */
  readonly path?: string;
  /** Number that tells apart several sections of the same name; default 0. */
  readonly instanceId?: number;
  /**
   * Changes the state before it is written, so that the destination reads it: `stateFor` of `@virtkit/compat` does so for a QEMU
   * version.
   */
  readonly convert?: (state: VirtioState<T, D>) => VirtioState<T, D>;
}

/**
 * Makes the section of a live virtio device, as QEMU has it.
 *
 * @throws HostError for a device without the format of its state, from an entry `…/live`
 */
export function virtioSection<T extends TransportParts, D>(
  device: LiveDevice<T, D>,
  options: VirtioSectionOptions<T, D> = {},
): LiveSection {
  const { path = '', instanceId = 0, convert = (state) => state } = options;
  const codec = codecOf(device);
  const { device: layer } = codec;
  return {
    idstr: path === '' ? layer.name : `${path}/${layer.name}`,
    instanceId,
    versionId: layer.version,
    minimumVersionId: layer.minimum,
    save: () => codec.encode(convert(device.capture())),
    load: (body) => {
      const state = codec.decode(body);
      const { findings, apply } = device.planRestore(state);
      const error = errorOf(findings);
      if (error !== undefined) throw error;
      return () => apply?.();
    },
    accepts: (body) => reads(() => codec.decode(body)),
    lengths: (bytes) => codec.lengths(bytes),
    // QEMU describes a virtio device as one field, whose inside only its code knows
    describe: (body) => ({
      vmsd_name: layer.name,
      version: layer.version,
      fields: [{ name: 'virtio', type: 'virtio', size: body.length }],
    }),
  };
}

/** Options of a declared structure's section: how its state is taken from the machine, and put back. */
export interface DeclaredSectionOptions<S, C> {
  /** Name of the section; default: the name of the declaration. */
  readonly idstr?: string;
  /** Number that tells apart several sections of the same name; default 0. */
  readonly instanceId?: number;
  /** Context that the declaration's conditions look at. */
  readonly context: C;
  /** Takes the state as it is now; the machine is paused. */
  capture(): S;
  /** Checks a state, and changes nothing. @throws StateError for what speaks against it */
  check?(state: S): void;
  /** Takes a checked state over; must not fail. */
  restore(state: S): void;
}

/** Makes the section of anything with a declaration: `s390Css` of `@virtkit/transport-ccw`, or the host's own. */
export function declaredSection<S extends object, C>(
  declaration: VMState<S, C>,
  options: DeclaredSectionOptions<S, C>,
): LiveSection {
  const { idstr = declaration.name, instanceId = 0, context } = options;
  const read = (body: Uint8Array, versionId: number, trace?: Trace): S => {
    const input = new Reader(body);
    input.trace = trace;
    const state = declaration.decodeVersion(input, versionId, context);
    if (input.remaining > 0)
      throw new StateError(
        'rest',
        `${input.remaining} bytes behind the last field`,
        { bytes: input.remaining },
        { offset: input.offset },
      );
    return state;
  };
  return {
    idstr,
    instanceId,
    versionId: declaration.version,
    minimumVersionId: declaration.minimum,
    save: () => {
      const output = new Writer();
      declaration.encode(output, options.capture(), context);
      return output.finish();
    },
    load: (body, versionId) => {
      const state = read(body, versionId);
      options.check?.(state);
      return () => options.restore(state);
    },
    accepts: (body) => reads(() => read(body, declaration.version)),
    lengths: (bytes) => {
      const input = new Reader(bytes);
      return reads(() => declaration.decode(input, context)) ? [input.offset] : [];
    },
    describe: (body) => {
      const trace = new Trace(declaration.name);
      read(body, declaration.version, trace);
      trace.root.end = body.length;
      return describe(trace.root);
    },
  };
}

/** Options of a section with state that only the host knows: a processor, a screen. */
export interface OpaqueSectionOptions {
  /** Name of the section, such as `myemulator-cpu`. */
  readonly name: string;
  /** Number that tells apart several sections of the same name; default 0. */
  readonly instanceId?: number;
  /** Version that is written; other versions are refused. */
  readonly version: number;
  /** Largest number of bytes that is taken; default 16 MiB. */
  readonly maxBytes?: number;
  /** Encodes the state as bytes, {@link maxBytes} at most; the machine is paused. */
  save(): Uint8Array;
  /**
   * Reads and checks a state; changes nothing. The function that it answers takes the state over, and must not fail.
   * @throws if this is no state for this machine
   */
  load(bytes: Uint8Array): () => void;
}

const OPAQUE_MAX = 16 << 20;

/**
 * Makes a section of the host's own bytes, with their length in front, so that their end is known whatever is in them.
 */
export function opaqueSection(options: OpaqueSectionOptions): LiveSection {
  const { name, instanceId = 0, version, maxBytes = OPAQUE_MAX } = options;
  const declaration = vmstate(name, version).fields({ data: countedBytes(u32, maxBytes) });
  const section = declaredSection(declaration, {
    idstr: name,
    instanceId,
    context: undefined,
    capture: () => ({ data: options.save() }),
    restore: () => {},
  });
  return {
    ...section,
    minimumVersionId: version,
    load: (body) => options.load(declaration.decode(new Reader(body), undefined).data),
  };
}

/** Can a body be read? Anything thrown that is no StateError is a mistake of the program, and passes. */
function reads(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch (error) {
    if (isStateError(error)) return false;
    throw error;
  }
}
