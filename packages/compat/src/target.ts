import { StateError } from '@virtkit/vmstate';
import { type QemuVersion, versionRow } from './versions.ts';

/** A QEMU that is to load a stream. */
export interface Target {
  readonly qemu: QemuVersion;
  /** Machine type; default: that of the stream. */
  readonly machine?: string;
  /** Features that the devices offer there: a set for all devices of a kind. */
  readonly features?: bigint;
  /** Device properties that are not as at the source: `guest_uso4` → `off`, `num-queues` → `1`. */
  readonly properties: ReadonlyMap<string, string>;
}

/**
 * `qemu-11.1[,machine=pc-q35-7.2][,features=0x10179bfffef][,PROPERTY=VALUE …]`
 * @throws StateError `target`
 */
export function parseTarget(text: string): Target {
  const [name = '', ...pairs] = text.split(',');
  const version = /^(?:qemu-?)?(\d+\.\d+)(?:\.\d+)?$/.exec(name)?.[1];
  const qemu = version === undefined ? undefined : versionRow(version);
  if (qemu === undefined) {
    throw new StateError('target', `"${name}": a QEMU from 7.2 on expected, such as qemu-11.1`, {
      target: text,
    });
  }
  const properties = new Map<string, string>();
  let machine: string | undefined;
  let features: bigint | undefined;
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    if (at < 1) throw new StateError('target', `"${pair}": NAME=VALUE expected`, { target: text });
    const [key, value] = [pair.slice(0, at), pair.slice(at + 1)];
    if (key === 'machine') machine = value;
    else if (key === 'features') features = parseFeatures(value, text);
    else properties.set(key, value);
  }
  return {
    qemu,
    properties,
    ...(machine !== undefined && { machine }),
    ...(features !== undefined && { features }),
  };
}

function parseFeatures(value: string, target: string): bigint {
  if (!/^0x[0-9a-f]{1,32}$/i.test(value))
    throw new StateError('target', `features=${value}: a hexadecimal set such as 0x10179bfffef expected`, {
      target,
    });
  return BigInt(value);
}
