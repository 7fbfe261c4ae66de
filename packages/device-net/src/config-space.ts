import type { Endian } from '@virtkit/core';
import type { Json } from '@virtkit/vmstate';

/** Names the fields of `struct virtio_net_config`, as far as the bytes go. Virtio 1.3 §5.1.4 */
export function describeNetConfig(config: Uint8Array, endian: Endian): Json {
  const view = new DataView(config.buffer, config.byteOffset, config.length);
  const little = endian === 'little';
  const fields: Record<string, Json> = {};
  const put = (end: number, name: string, read: () => Json): void => {
    if (config.length >= end) fields[name] = read();
  };
  put(6, 'mac', () =>
    Array.from(config.subarray(0, 6), (byte) => byte.toString(16).padStart(2, '0')).join(':'),
  );
  put(8, 'status', () => view.getUint16(6, little));
  put(10, 'maxVirtqueuePairs', () => view.getUint16(8, little));
  put(12, 'mtu', () => view.getUint16(10, little));
  put(16, 'speed', () => view.getUint32(12, little));
  put(17, 'duplex', () => view.getUint8(16));
  put(18, 'rssMaxKeySize', () => view.getUint8(17));
  put(20, 'rssMaxIndirectionTableLength', () => view.getUint16(18, little));
  put(24, 'supportedHashTypes', () => view.getUint32(20, little));
  return fields;
}
