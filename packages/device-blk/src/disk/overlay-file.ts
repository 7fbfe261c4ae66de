import { StateError } from '@virtkit/vmstate';
import { Cluster, SECTOR } from './cluster.ts';
import { crc32 } from './crc32.ts';

/** Bytes of a file, in pieces: one array, a list of them, or what a stream yields. */
export type OverlayChunks = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

// The file: all numbers little-endian.
//
//   8 bytes   "VKOVRLAY"
//   u32       version, 1
//   u32       cluster size
//   u64       size of the disk
//   u32       number of clusters
// for each cluster, by rising index:
//   u32       index
//   u8        0 all sectors, 1 all zeros, 2 some sectors
//             of 2: a byte a sector, 1 if it is here
//             of 0 and 2: the cluster's bytes
//   u32       CRC-32 of everything before

const MAGIC = Uint8Array.from('VKOVRLAY', (letter) => letter.charCodeAt(0));
const VERSION = 1;
const HEADER_BYTES = 28;
const KIND = { FULL: 0, ZERO: 1, PARTIAL: 2 } as const;

interface Shape {
  readonly clusterSize: number;
  readonly size: number;
}

/** Writes a file of these clusters. */
export async function* writeOverlay(
  { clusterSize, size }: Shape,
  clusters: readonly (readonly [number, Cluster])[],
): AsyncGenerator<Uint8Array> {
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  header.set(MAGIC);
  view.setUint32(8, VERSION, true);
  view.setUint32(12, clusterSize, true);
  view.setBigUint64(16, BigInt(size), true);
  view.setUint32(24, clusters.length, true);
  let crc = crc32(header);
  yield header;
  for (const [index, cluster] of clusters) {
    const record = recordOf(index, cluster);
    crc = crc32(record, crc);
    yield record;
  }
  const end = new Uint8Array(4);
  new DataView(end.buffer).setUint32(0, crc, true);
  yield end;
}

function recordOf(index: number, { bytes, valid }: Cluster): Uint8Array {
  const kind = bytes === undefined ? KIND.ZERO : valid === undefined ? KIND.FULL : KIND.PARTIAL;
  const mask = kind === KIND.PARTIAL ? (valid ?? new Uint8Array(0)) : new Uint8Array(0);
  const data = bytes ?? new Uint8Array(0);
  const record = new Uint8Array(5 + mask.length + data.length);
  new DataView(record.buffer).setUint32(0, index, true);
  record[4] = kind;
  record.set(mask, 5);
  record.set(data, 5 + mask.length);
  return record;
}

/** Reads a file of clusters. @throws StateError `overlay` for a file that is damaged or of another disk */
export async function readOverlay(
  shape: Shape,
  chunks: OverlayChunks,
  epoch: number,
): Promise<Map<number, Cluster>> {
  const input = new Input(chunks instanceof Uint8Array ? [chunks] : chunks);
  const count = await readHeader(input, shape);
  const clusters = new Map<number, Cluster>();
  let last = -1;
  for (let i = 0; i < count; i++) {
    const index = await input.u32();
    if (index <= last || index * shape.clusterSize >= shape.size)
      throw bad(`cluster ${i} has index ${index}, after ${last}, on a disk of ${shape.size} bytes`);
    last = index;
    clusters.set(index, await readCluster(input, shape, epoch));
  }
  const { crc } = input;
  const said = await input.u32();
  if (said !== crc)
    throw bad(`checksum 0x${said.toString(16)} in the file, 0x${crc.toString(16)} of its bytes`);
  if (!(await input.atEnd())) throw bad('more bytes behind the end');
  return clusters;
}

async function readHeader(input: Input, { clusterSize, size }: Shape): Promise<number> {
  const magic = await input.take(MAGIC.length);
  if (!magic.every((byte, i) => byte === MAGIC[i])) throw bad('no overlay: it begins otherwise');
  const version = await input.u32();
  if (version !== VERSION) throw bad(`version ${version}, ${VERSION} is known`);
  const clusters = await input.u32();
  const low = await input.u32();
  const high = await input.u32();
  if (clusters !== clusterSize) throw bad(`clusters of ${clusters} bytes, this disk has ${clusterSize}`);
  if (low + high * 2 ** 32 !== size)
    throw bad(`of a disk of ${low + high * 2 ** 32} bytes, this one has ${size}`);
  const count = await input.u32();
  const most = Math.ceil(size / clusterSize);
  if (count > most) throw bad(`${count} clusters, the disk has ${most}`);
  return count;
}

async function readCluster(input: Input, { clusterSize }: Shape, epoch: number): Promise<Cluster> {
  const [kind] = await input.take(1);
  if (kind === KIND.ZERO) return Cluster.zero(clusterSize, epoch);
  if (kind !== KIND.FULL && kind !== KIND.PARTIAL) throw bad(`a cluster of kind ${kind}`);
  const valid = kind === KIND.PARTIAL ? await input.take(clusterSize / SECTOR) : undefined;
  if (valid?.some((byte) => byte > 1)) throw bad('a sector is neither here nor not');
  return Cluster.of(await input.take(clusterSize), valid, epoch);
}

function bad(reason: string): StateError {
  return new StateError('overlay', `overlay file: ${reason}`);
}

/** Input of a file that comes in pieces, with the checksum of the bytes that were taken. */
class Input {
  crc = 0;
  readonly #chunks: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);
  #taken = 0;

  constructor(chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>) {
    this.#chunks =
      Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  }

  /** Takes a copy of the next `count` bytes. */
  async take(count: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(count);
    for (let done = 0; done < count; ) {
      if (this.#chunk.length === 0 && !(await this.#next()))
        throw bad(`ends after ${this.#taken} bytes, in the middle`);
      const piece = this.#chunk.subarray(0, count - done);
      bytes.set(piece, done);
      done += piece.length;
      this.#taken += piece.length;
      this.#chunk = this.#chunk.subarray(piece.length);
    }
    this.crc = crc32(bytes, this.crc);
    return bytes;
  }

  async u32(): Promise<number> {
    const bytes = await this.take(4);
    return new DataView(bytes.buffer).getUint32(0, true);
  }

  async atEnd(): Promise<boolean> {
    return this.#chunk.length === 0 && !(await this.#next());
  }

  /** Goes to the next piece that is not empty. Answers false at the end. */
  async #next(): Promise<boolean> {
    for (;;) {
      const { value, done } = await this.#chunks.next();
      if (done === true) return false;
      this.#chunk = value;
      if (value.length > 0) return true;
    }
  }
}
