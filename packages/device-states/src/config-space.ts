import type { Endian } from '@virtkit/core';
import { hex, type Json } from '@virtkit/vmstate';

const SIZES = { u8: 1, u16: 2, u32: 4, u64: 8 } as const;
type Kind = keyof typeof SIZES;

/** Field of a configuration space, or bytes between fields. */
export type ConfigField = readonly [name: string, kind: Kind] | readonly [skip: number];

function read(view: DataView, at: number, kind: Kind, little: boolean): Json {
  if (kind === 'u8') return view.getUint8(at);
  if (kind === 'u16') return view.getUint16(at, little);
  return kind === 'u32' ? view.getUint32(at, little) : hex(view.getBigUint64(at, little));
}

/**
 * Names the fields of a configuration space, as far as the bytes go.
 * @param order the byte order, where it is not the one of the driver
 */
export function configSpace(
  fields: readonly ConfigField[],
  order?: Endian,
): (config: Uint8Array, endian: Endian) => Json {
  return (config, endian) => {
    const view = new DataView(config.buffer, config.byteOffset, config.length);
    const named: Record<string, Json> = {};
    let at = 0;
    for (const field of fields) {
      if (field.length === 1) {
        at += field[0];
        continue;
      }
      const [name, kind] = field;
      const end = at + SIZES[kind];
      if (end > config.length) break;
      named[name] = read(view, at, kind, (order ?? endian) === 'little');
      at = end;
    }
    return named;
  };
}

/** Makes the names of feature bits, `VIRTIO_<device>_F_<name>`, from the names in the order of their bits. */
export function featureNames(device: string, names: readonly string[]): Readonly<Record<number, string>> {
  return Object.fromEntries(names.map((name, bit) => [bit, `VIRTIO_${device}_F_${name}`]));
}
