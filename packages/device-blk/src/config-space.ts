import type { Endian } from '@virtkit/core/live';
import { hex, type Json } from '@virtkit/vmstate';

type Reader = (view: DataView, at: number, little: boolean) => Json;
const u8: Reader = (view, at) => view.getUint8(at);
const u16: Reader = (view, at, little) => view.getUint16(at, little);
const u32: Reader = (view, at, little) => view.getUint32(at, little);
const u64: Reader = (view, at, little) => hex(view.getBigUint64(at, little));

/**
 * Fields of the configuration space: offset behind the field, name, size in bytes, and how it is read. Virtio 1.3
 * §5.2.4 `struct virtio_blk_config`
 */
const FIELDS: readonly (readonly [end: number, name: string, size: number, read: Reader])[] = [
  [8, 'capacity', 8, u64],
  [12, 'sizeMax', 4, u32],
  [16, 'segMax', 4, u32],
  [18, 'cylinders', 2, u16],
  [19, 'heads', 1, u8],
  [20, 'sectors', 1, u8],
  [24, 'blkSize', 4, u32],
  [25, 'physicalBlockExp', 1, u8],
  [26, 'alignmentOffset', 1, u8],
  [28, 'minIoSize', 2, u16],
  [32, 'optIoSize', 4, u32],
  [33, 'writeback', 1, u8],
  [36, 'numQueues', 2, u16],
  [40, 'maxDiscardSectors', 4, u32],
  [44, 'maxDiscardSeg', 4, u32],
  [48, 'discardSectorAlignment', 4, u32],
  [52, 'maxWriteZeroesSectors', 4, u32],
  [56, 'maxWriteZeroesSeg', 4, u32],
  [57, 'writeZeroesMayUnmap', 1, u8],
  [64, 'maxSecureEraseSectors', 4, u32],
  [68, 'maxSecureEraseSeg', 4, u32],
  [72, 'secureEraseSectorAlignment', 4, u32],
  [76, 'zoneSectors', 4, u32],
  [80, 'maxOpenZones', 4, u32],
  [84, 'maxActiveZones', 4, u32],
  [88, 'maxAppendSectors', 4, u32],
  [92, 'zoneWriteGranularity', 4, u32],
  [93, 'zonedModel', 1, u8],
];

/** Names the fields of `struct virtio_blk_config`, as far as the bytes go. */
export function describeBlkConfig(config: Uint8Array, endian: Endian): Json {
  const view = new DataView(config.buffer, config.byteOffset, config.length);
  return Object.fromEntries(
    FIELDS.filter(([end]) => end <= config.length).map(([end, name, size, read]) => [
      name,
      read(view, end - size, endian === 'little'),
    ]),
  );
}
