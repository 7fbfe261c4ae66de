import type { Chain, DeviceHost } from '@virtkit/core/live';
import { BLK_FEATURE } from '../features.ts';
import type { Settings } from './options.ts';
import { BLK_S, ID_BYTES, LIFETIME_BYTES } from './wire.ts';

// Commands that the device answers without its back end. Each gives the status.

export function getLifetime({ in: into }: Chain, { lifetime }: Settings, host: DeviceHost): number {
  if (lifetime === undefined || !host.has(BLK_FEATURE.LIFETIME)) return BLK_S.UNSUPP;
  if (into.total - 1 < LIFETIME_BYTES) return BLK_S.IOERR;
  const { preEolInfo, typA, typB } = lifetime();
  const bytes = new Uint8Array(LIFETIME_BYTES);
  const view = new DataView(bytes.buffer);
  const { littleEndian } = host;
  // Virtio 1.3 §5.2.6.2 MUST NOT: send reserved values
  view.setUint16(0, preEolInfo <= 3 ? preEolInfo : 0, littleEndian);
  view.setUint16(2, typA <= 11 ? typA : 0, littleEndian);
  view.setUint16(4, typB <= 11 ? typB : 0, littleEndian);
  into.copyFrom(0, bytes);
  return BLK_S.OK;
}

export function getId({ in: into }: Chain, { serial }: Settings): number {
  into.copyFrom(0, serial, 0, Math.min(serial.length, into.total - 1, ID_BYTES));
  return BLK_S.OK;
}

/**
 * Answers a SCSI command: there is no SCSI device behind this one, and `errors` is set so that the driver sees it.
 * QEMU: `virtio_blk_handle_scsi_req`.
 */
export function scsiCommand({ out, in: into }: Chain, littleEndian: boolean): number {
  if (out.count < 2 || into.count < 3) return BLK_S.IOERR;
  const header = into.count - 2;
  // QEMU 7.2 writes its four bytes wherever that ends
  if (into.length(header) < 4) return BLK_S.IOERR;
  const at = into.offset(header);
  for (let i = 0; i < 4; i++) into.bytes(header)[at + i] = i === (littleEndian ? 0 : 3) ? 255 : 0;
  return BLK_S.UNSUPP;
}
