import { BLK_FEATURE } from '../features.ts';
import type { Settings } from './options.ts';

/** Features of the device type that are offered. QEMU: `virtio_blk_get_features`. */
export function offeredFeatures(settings: Settings): bigint {
  const offered: readonly (readonly [bit: number, on: boolean])[] = [
    [BLK_FEATURE.SIZE_MAX, settings.sizeMax !== 0],
    [BLK_FEATURE.SEG_MAX, true],
    [BLK_FEATURE.GEOMETRY, true],
    [BLK_FEATURE.RO, settings.readOnly],
    [BLK_FEATURE.BLK_SIZE, true],
    // Virtio 1.3 §5.2.5.2 MUST: offer FLUSH if CONFIG_WCE is offered
    [BLK_FEATURE.FLUSH, settings.writeCache || (settings.configWce && settings.flushIfConfigWce)],
    [BLK_FEATURE.TOPOLOGY, true],
    [BLK_FEATURE.CONFIG_WCE, settings.configWce],
    [BLK_FEATURE.MQ, settings.queues > 1],
    [BLK_FEATURE.DISCARD, settings.discard.offered],
    [BLK_FEATURE.WRITE_ZEROES, settings.writeZeroes.offered],
    // Virtio 1.3 §5.2.6.2 MUST NOT: offer LIFETIME without metrics to be had
    [BLK_FEATURE.LIFETIME, settings.lifetime !== undefined],
    [BLK_FEATURE.SECURE_ERASE, settings.secureErase.offered],
  ];
  return offered.reduce((sum, [bit, on]) => (on ? sum | (1n << BigInt(bit)) : sum), 0n);
}

/** Bytes of the configuration space: as far as the offered features' fields reach. QEMU: `virtio_get_config_size`. */
export function configLength(settings: Settings): number {
  if (settings.secureErase.offered) return 72;
  if (settings.writeZeroes.offered) return 57;
  return settings.discard.offered ? 48 : 36;
}

/** Where the driver switches the write cache. */
export const WRITEBACK_OFFSET = 32;

/** `struct virtio_blk_config`, Virtio 1.3 §5.2.4. QEMU: `virtio_blk_update_config`. */
export function fillConfig(
  view: DataView,
  littleEndian: boolean,
  settings: Settings,
  capacity: number,
  writeCache: boolean,
): void {
  const u16 = (at: number, value: number): void => view.setUint16(at, value, littleEndian);
  const u32 = (at: number, value: number): void => view.setUint32(at, value, littleEndian);
  const { geometry, blockSize, discard, writeZeroes, secureErase } = settings;
  // Virtio 1.3 §5.2.5.2 MUST: padding bytes are 0
  for (let at = 0; at < view.byteLength; at++) view.setUint8(at, 0);
  const high = Math.floor(capacity / 2 ** 32);
  u32(0, littleEndian ? capacity : high);
  u32(4, littleEndian ? high : capacity);
  u32(8, settings.sizeMax);
  u32(12, settings.segMax);
  u16(16, geometry.cylinders);
  view.setUint8(18, geometry.heads);
  view.setUint8(19, sectorsPerTrack(settings, capacity));
  u32(20, blockSize);
  view.setUint8(24, settings.physicalBlockExp);
  u16(26, settings.minIoSize / blockSize);
  u32(28, settings.optIoSize / blockSize);
  view.setUint8(WRITEBACK_OFFSET, writeCache ? 1 : 0);
  u16(34, settings.queues);
  if (discard.offered) {
    u32(36, discard.maxSectors);
    u32(40, discard.maxSegments);
    u32(44, discard.alignment);
  }
  if (writeZeroes.offered) {
    u32(48, writeZeroes.maxSectors);
    u32(52, writeZeroes.maxSegments);
    view.setUint8(56, 1);
  }
  if (secureErase.offered) {
    u32(60, secureErase.maxSectors);
    u32(64, secureErase.maxSegments);
    u32(68, secureErase.alignment);
  }
}

/** Made to fit the block size where the cylinders are not whole blocks. QEMU leaves a fitting geometry alone (DASDs). */
function sectorsPerTrack({ geometry, blockSize }: Settings, capacity: number): number {
  const { heads, sectors } = geometry;
  const cylinderBytes = Math.floor(Math.floor((capacity * 512) / heads) / sectors);
  return cylinderBytes % blockSize === 0 ? sectors : sectors & ~(blockSize / 512 - 1);
}
