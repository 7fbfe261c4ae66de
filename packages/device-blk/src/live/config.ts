import { BLK_FEATURE } from '../features.ts';
import type { Settings } from './options.ts';
import { SECTOR_BYTES } from './wire.ts';

/** Collects the features of the device type that are offered. QEMU: `virtio_blk_get_features`. */
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

/**
 * Finds the length of the configuration space in bytes: as far as the offered features' fields reach. QEMU:
 * `virtio_get_config_size`.
 */
export function configLength(settings: Settings): number {
  if (settings.secureErase.offered) return FIELD.ZONED;
  if (settings.writeZeroes.offered) return FIELD.WRITE_ZEROES_MAY_UNMAP + 1;
  return settings.discard.offered ? FIELD.MAX_WRITE_ZEROES_SECTORS : FIELD.MAX_DISCARD_SECTORS;
}

/** Offsets of the fields of `struct virtio_blk_config`, in bytes. Virtio 1.3 §5.2.4 */
const FIELD = {
  CAPACITY: 0,
  SIZE_MAX: 8,
  SEG_MAX: 12,
  CYLINDERS: 16,
  HEADS: 18,
  SECTORS: 19,
  BLK_SIZE: 20,
  PHYSICAL_BLOCK_EXP: 24,
  MIN_IO_SIZE: 26,
  OPT_IO_SIZE: 28,
  WRITEBACK: 32,
  NUM_QUEUES: 34,
  MAX_DISCARD_SECTORS: 36,
  MAX_DISCARD_SEG: 40,
  DISCARD_SECTOR_ALIGNMENT: 44,
  MAX_WRITE_ZEROES_SECTORS: 48,
  MAX_WRITE_ZEROES_SEG: 52,
  WRITE_ZEROES_MAY_UNMAP: 56,
  MAX_SECURE_ERASE_SECTORS: 60,
  MAX_SECURE_ERASE_SEG: 64,
  SECURE_ERASE_SECTOR_ALIGNMENT: 68,
  ZONED: 72,
} as const;

/** Offset of the field with which the driver switches the write cache. */
export const WRITEBACK_OFFSET = FIELD.WRITEBACK;

/** Fills `struct virtio_blk_config`, Virtio 1.3 §5.2.4. QEMU: `virtio_blk_update_config`. */
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
  u32(FIELD.CAPACITY, littleEndian ? capacity : high);
  u32(FIELD.CAPACITY + 4, littleEndian ? high : capacity);
  u32(FIELD.SIZE_MAX, settings.sizeMax);
  u32(FIELD.SEG_MAX, settings.segMax);
  u16(FIELD.CYLINDERS, geometry.cylinders);
  view.setUint8(FIELD.HEADS, geometry.heads);
  view.setUint8(FIELD.SECTORS, sectorsPerTrack(settings, capacity));
  u32(FIELD.BLK_SIZE, blockSize);
  view.setUint8(FIELD.PHYSICAL_BLOCK_EXP, settings.physicalBlockExp);
  u16(FIELD.MIN_IO_SIZE, settings.minIoSize / blockSize);
  u32(FIELD.OPT_IO_SIZE, settings.optIoSize / blockSize);
  view.setUint8(WRITEBACK_OFFSET, writeCache ? 1 : 0);
  u16(FIELD.NUM_QUEUES, settings.queues);
  if (discard.offered) {
    u32(FIELD.MAX_DISCARD_SECTORS, discard.maxSectors);
    u32(FIELD.MAX_DISCARD_SEG, discard.maxSegments);
    u32(FIELD.DISCARD_SECTOR_ALIGNMENT, discard.alignment);
  }
  if (writeZeroes.offered) {
    u32(FIELD.MAX_WRITE_ZEROES_SECTORS, writeZeroes.maxSectors);
    u32(FIELD.MAX_WRITE_ZEROES_SEG, writeZeroes.maxSegments);
    view.setUint8(FIELD.WRITE_ZEROES_MAY_UNMAP, 1);
  }
  if (secureErase.offered) {
    u32(FIELD.MAX_SECURE_ERASE_SECTORS, secureErase.maxSectors);
    u32(FIELD.MAX_SECURE_ERASE_SEG, secureErase.maxSegments);
    u32(FIELD.SECURE_ERASE_SECTOR_ALIGNMENT, secureErase.alignment);
  }
}

/**
 * Finds the sectors of a track, made to fit the block size where the cylinders are not whole blocks. QEMU leaves a
 * fitting geometry alone (DASDs).
 */
function sectorsPerTrack({ geometry, blockSize }: Settings, capacity: number): number {
  const { heads, sectors } = geometry;
  const cylinderBytes = Math.floor(Math.floor((capacity * SECTOR_BYTES) / heads) / sectors);
  return cylinderBytes % blockSize === 0 ? sectors : sectors & ~(blockSize / SECTOR_BYTES - 1);
}
