import type { PciFunction } from '@virtkit/transport-pci';
import { REGION, REGION_FLAG, REGIONS } from '../wire/commands.ts';

/** Region, as DEVICE_GET_REGION_INFO tells it. */
export interface RegionInfo {
  readonly flags: number;
  /** Length of the region in bytes; 0: there is no such region. */
  readonly size: number;
}

const NO_REGION: RegionInfo = { flags: 0, size: 0 };

/** Regions of a PCI function: BARs, ROM and configuration space, read and written in pieces as a bus does. */
export class Regions {
  readonly #pci: PciFunction;
  readonly #infos: readonly RegionInfo[];

  constructor(pci: PciFunction) {
    this.#pci = pci;
    this.#infos = Array.from({ length: REGIONS }, (_, index) => infoOf(pci, index));
  }

  /** Describes a region; undefined for a number that no region has. */
  info(index: number): RegionInfo | undefined {
    return this.#infos[index];
  }

  /** Does all of `[offset, offset + count)` lie in a region? */
  holds(index: number, offset: number, count: number): boolean {
    const size = this.#infos[index]?.size ?? 0;
    return count > 0 && offset + count <= size;
  }

  /** Reads what a region {@link holds}. @param target gets the bytes from `at` on */
  read(index: number, offset: number, count: number, target: DataView, at: number): void {
    for (let done = 0; done < count; ) {
      const bytes = pieceOf(offset + done, count - done);
      const value = this.#readPiece(index, offset + done, bytes);
      if (bytes === 4) target.setUint32(at + done, value, true);
      else if (bytes === 2) target.setUint16(at + done, value, true);
      else target.setUint8(at + done, value);
      done += bytes;
    }
  }

  /** Writes what a region {@link holds}. @param source has the bytes from `at` on */
  write(index: number, offset: number, count: number, source: DataView, at: number): void {
    for (let done = 0; done < count; ) {
      const bytes = pieceOf(offset + done, count - done);
      const place = at + done;
      this.#writePiece(
        index,
        offset + done,
        bytes,
        bytes === 4
          ? source.getUint32(place, true)
          : bytes === 2
            ? source.getUint16(place, true)
            : source.getUint8(place),
      );
      done += bytes;
    }
  }

  #readPiece(index: number, offset: number, bytes: number): number {
    return index === REGION.CONFIG
      ? this.#pci.configRead(offset, bytes)
      : this.#pci.barRead(index, offset, bytes);
  }

  #writePiece(index: number, offset: number, bytes: number, value: number): void {
    if (index === REGION.CONFIG) this.#pci.configWrite(offset, bytes, value);
    else this.#pci.barWrite(index, offset, bytes, value);
  }
}

/** Finds the length in bytes of the next access: 4 at most, at a multiple of it. */
function pieceOf(offset: number, left: number): 1 | 2 | 4 {
  if (left >= 4 && offset % 4 === 0) return 4;
  return left >= 2 && offset % 2 === 0 ? 2 : 1;
}

function infoOf(pci: PciFunction, index: number): RegionInfo {
  const readWrite = REGION_FLAG.READ | REGION_FLAG.WRITE;
  if (index === REGION.CONFIG) return { flags: readWrite, size: pci.configSize };
  const bar = pci.bars.find((each) => each.index === index);
  if (bar === undefined) return NO_REGION;
  return { flags: index === REGION.ROM ? REGION_FLAG.READ : readWrite, size: bar.size };
}
