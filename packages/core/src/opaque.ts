import { buffer, type Field, peekSubsection, Reader, rest } from '@virtkit/vmstate';
import type { DeviceLayer } from './contract/device.ts';

/** Saved state of a device whose own fields nobody declared: their bytes. */
export interface OpaqueDeviceState {
  /** The device's part of the section, undecoded. */
  readonly bytes: Uint8Array;
}

/**
 * Number of places at which core's subsections are looked for: a guest may write their name into its device, and each
 * try reads all of it.
 */
const PLACES_MAX = 64;

/**
 * A device type without a package: core and transport fields are decoded, its own part stays bytes at a known place.
 * That place ends where core's subsections begin, which are found by their names.
 */
export function opaqueDevice(name: string, virtioId?: number): DeviceLayer<OpaqueDeviceState> {
  return {
    contract: 1,
    name,
    ...(virtioId !== undefined && { virtioId }),
    version: 0xffffffff,
    minimum: 0,
    hasRest: true,
    features: {},
    *loadDevice(_early, input) {
      const probe = new Reader(input.bytes);
      let places = 0;
      for (let at = input.offset; at < input.bytes.length; at++) {
        at = input.bytes.indexOf(0x05, at);
        if (at < 0) break;
        probe.offset = at;
        if (peekSubsection(probe, 'virtio/') === undefined) continue;
        if (++places > PLACES_MAX) break;
        yield wrap(buffer(at - input.offset));
      }
      yield wrap(rest);
    },
    saveDevice: (state) => wrap(buffer(state.bytes.length)),
  };
}

function wrap(bytes: Field<Uint8Array>): Field<OpaqueDeviceState> {
  return {
    type: 'buffer',
    minSize: bytes.minSize,
    decode: (input) => ({ bytes: bytes.decode(input, undefined) }),
    encode: (output, state) => bytes.encode(output, state.bytes, undefined),
    toJSON: (state) => ({ bytes: bytes.toJSON(state.bytes) }),
    fromJSON: (json) => ({ bytes: rest.fromJSON((json as { readonly bytes?: string })?.bytes ?? null) }),
  };
}
