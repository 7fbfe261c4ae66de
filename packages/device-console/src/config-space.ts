import type { Endian } from '@virtkit/core';
import type { Json } from '@virtkit/vmstate';

/** Offsets of the fields of `struct virtio_console_config`, in bytes. Virtio 1.3 §5.3.4 */
export const CONFIG = { COLS: 0, ROWS: 2, MAX_NR_PORTS: 4, EMERG_WR: 8 } as const;
/** Length in bytes of the configuration space without EMERG_WRITE; the constant below is that with it. */
export const CONFIG_BYTES = 8;
export const CONFIG_BYTES_EMERGENCY = 12;

/** Names the fields of `struct virtio_console_config`, as far as the bytes go. */
export function describeConsoleConfig(config: Uint8Array, endian: Endian): Json {
  const view = new DataView(config.buffer, config.byteOffset, config.length);
  const little = endian === 'little';
  const { length } = config;
  return {
    ...(length >= 2 && { cols: view.getUint16(CONFIG.COLS, little) }),
    ...(length >= 4 && { rows: view.getUint16(CONFIG.ROWS, little) }),
    ...(length >= CONFIG_BYTES && { maxNrPorts: view.getUint32(CONFIG.MAX_NR_PORTS, little) }),
    ...(length >= CONFIG_BYTES_EMERGENCY && { emergWr: view.getUint32(CONFIG.EMERG_WR, little) }),
  };
}
