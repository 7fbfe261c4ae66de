// Streams that QEMU keeps inside of disk images: the machine's state of a snapshot (`savevm`) lies in a qcow2 file
// behind the end of the guest's disk, addressed by tables of its own. Source: QEMU docs/interop/qcow2.txt.
import { fstatSync, readSync } from 'node:fs';
import { StateError } from '@virtkit/vmstate';
import { UsageError } from './usage.ts';

const HEADER_BYTES = 104;
const SNAPSHOT_BYTES = 40;
/** Bounds of an image, which are QEMU's: `QCOW_MAX_SNAPSHOTS`, `QCOW_MAX_SNAPSHOT_EXTRA_DATA`, `QCOW_MAX_L1_SIZE`. */
const SNAPSHOTS_MAX = 65536;
const EXTRA_MAX = 1024;
const L1_BYTES_MAX = 32 << 20;
/**
 * Bits of a table's entry that are the place in the file; below it, those that say that the cluster is packed, or reads
 * as zeros.
 */
const PLACE = 0x00ff_ffff_ffff_fe00n;
const COMPRESSED = 1n << 62n;
const ZERO = 1n;

const INCOMPATIBLE = { EXTERNAL_DATA: 4n, EXTENDED_L2: 16n, KNOWN: 31n } as const;
/** Number of bytes that are read at a time. */
const CHUNK_BYTES = 1 << 18;

/** Snapshot that holds the state of a machine. */
interface Snapshot {
  readonly id: string;
  readonly name: string;
  /** Length of the stream in bytes. */
  readonly bytes: number;
  readonly l1Offset: number;
  readonly l1Entries: number;
  /** Length of the disk in bytes when the snapshot was taken: the state begins behind it. */
  readonly diskBytes: bigint;
}

/** Layout of an image. */
interface Image {
  readonly fd: number;
  readonly fileBytes: number;
  readonly clusterBits: number;
  /** Length in bytes of an entry of an L2 table: 8, or 16 with subclusters. */
  readonly entryBytes: number;
  readonly snapshots: readonly Snapshot[];
}

function fail(reason: string, facts: Readonly<Record<string, number>> = {}, offset?: number): never {
  throw new StateError('qcow2', `qcow2 image: ${reason}`, facts, {
    layer: 'stream',
    ...(offset !== undefined && { offset }),
  });
}

/**
 * Reads the stream in a snapshot of a qcow2 image, in chunks that are used again for the next one.
 *
 * @param fd an open file, read by position
 * @param wanted the snapshot's name or id; undefined: the only one with a machine's state
 * @throws StateError `qcow2`; UsageError if it has to be said which snapshot, or there is none of that name
 */
export function* snapshotStream(fd: number, wanted: string | undefined): Generator<Uint8Array, undefined> {
  const image = openImage(fd);
  const snapshot = choose(image.snapshots, wanted);
  yield* clusters(image, snapshot);
}

function choose(snapshots: readonly Snapshot[], wanted: string | undefined): Snapshot {
  const all = snapshots.map(({ name }) => name).join(', ');
  const [first] = snapshots;
  if (first === undefined)
    fail('none of its snapshots holds the state of a machine; QEMU keeps it in one of its disks (savevm)');
  if (wanted === undefined && snapshots.length > 1)
    throw new UsageError(
      `${snapshots.length} snapshots hold the state of a machine; say which, as FILE#NAME: ${all}`,
    );
  const found =
    wanted === undefined
      ? first
      : (snapshots.find(({ name }) => name === wanted) ?? snapshots.find(({ id }) => id === wanted));
  if (found === undefined)
    throw new UsageError(`no snapshot "${wanted}" that holds the state of a machine; there are: ${all}`);
  return found;
}

function readAt(fd: number, offset: number, length: number, what: string): Buffer {
  const bytes = Buffer.alloc(length);
  fill(fd, offset, bytes, what);
  return bytes;
}

function fill(fd: number, offset: number, into: Uint8Array, what: string): void {
  for (let done = 0; done < into.length; ) {
    const count = readSync(fd, into, done, into.length - done, offset + done);
    if (count === 0) fail(`the file ends within ${what}`, { needed: into.length }, offset);
    done += count;
  }
}

/** Takes a place in the file from one of its own fields. */
function place(value: bigint, what: string, fileBytes: number, offset: number): number {
  if (value >= BigInt(fileBytes))
    fail(`${what} at 0x${value.toString(16)}, behind the file's end`, {}, offset);
  return Number(value);
}

function openImage(fd: number): Image {
  const header = readAt(fd, 0, HEADER_BYTES, 'its header');
  const version = header.readUInt32BE(4);
  if (version !== 2 && version !== 3) fail(`version ${version}; 2 and 3 are known`, { version }, 4);
  const clusterBits = header.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21) fail(`clusters of 2^${clusterBits} bytes`, { clusterBits }, 20);
  if (header.readUInt32BE(32) !== 0) fail('it is encrypted', {}, 32);
  const incompatible = version === 3 ? header.readBigUInt64BE(72) : 0n;
  if ((incompatible & ~INCOMPATIBLE.KNOWN) !== 0n)
    fail(`features that are not known: 0x${(incompatible & ~INCOMPATIBLE.KNOWN).toString(16)}`, {}, 72);
  if ((incompatible & INCOMPATIBLE.EXTERNAL_DATA) !== 0n) fail('its data is in another file', {}, 72);
  const fileBytes = fstatSync(fd).size;
  return {
    fd,
    fileBytes,
    clusterBits,
    entryBytes: (incompatible & INCOMPATIBLE.EXTENDED_L2) !== 0n ? 16 : 8,
    snapshots: readSnapshots(fd, header, fileBytes),
  };
}

/** Lists the snapshots with the state of a machine; a snapshot of a disk alone has none. */
function readSnapshots(fd: number, header: Buffer, fileBytes: number): Snapshot[] {
  const count = header.readUInt32BE(60);
  if (count > SNAPSHOTS_MAX) fail(`${count} snapshots, at most ${SNAPSHOTS_MAX} believed`, { count }, 60);
  const diskBytes = header.readBigUInt64BE(24);
  const snapshots: Snapshot[] = [];
  let at = count === 0 ? 0 : place(header.readBigUInt64BE(64), 'snapshots', fileBytes, 64);
  for (let n = 0; n < count; n++) {
    const fixed = readAt(fd, at, SNAPSHOT_BYTES, `snapshot ${n}`);
    const [idBytes, nameBytes, extraBytes] = [
      fixed.readUInt16BE(12),
      fixed.readUInt16BE(14),
      fixed.readUInt32BE(36),
    ];
    if (extraBytes > EXTRA_MAX) fail(`snapshot ${n} with ${extraBytes} extra bytes`, { extraBytes }, at + 36);
    const rest = readAt(fd, at + SNAPSHOT_BYTES, extraBytes + idBytes + nameBytes, `snapshot ${n}`);
    const bytes = extraBytes >= 8 ? rest.readBigUInt64BE(0) : BigInt(fixed.readUInt32BE(32));
    const text = (from: number, length: number): string => rest.toString('utf8', from, from + length);
    const [id, name] = [text(extraBytes, idBytes), text(extraBytes + idBytes, nameBytes)];
    // each cluster of a state has a place of its own in the file
    if (bytes > BigInt(fileBytes)) fail(`snapshot ${name} of ${bytes} bytes, more than the file has`, {}, at);
    if (bytes > 0n)
      snapshots.push({
        id,
        name,
        bytes: Number(bytes),
        l1Offset: place(fixed.readBigUInt64BE(0), `the table of snapshot ${name}`, fileBytes, at),
        l1Entries: fixed.readUInt32BE(8),
        diskBytes: extraBytes >= 16 ? rest.readBigUInt64BE(8) : diskBytes,
      });
    at += Math.ceil((SNAPSHOT_BYTES + rest.length) / 8) * 8;
  }
  return snapshots;
}

function* clusters(image: Image, snapshot: Snapshot): Generator<Uint8Array, undefined> {
  const { fd, fileBytes, clusterBits, entryBytes } = image;
  const { name, bytes, l1Offset, l1Entries } = snapshot;
  const clusterBytes = 2 ** clusterBits;
  const perTable = clusterBytes / entryBytes;
  const tableBytes = BigInt(clusterBytes) * BigInt(perTable);
  const firstTable = Number((snapshot.diskBytes + tableBytes - 1n) / tableBytes);
  const count = Math.ceil(bytes / clusterBytes);
  if (8 * l1Entries > L1_BYTES_MAX)
    fail(`the table of snapshot ${name} has ${l1Entries} entries`, { l1Entries });
  if (firstTable + Math.ceil(count / perTable) > l1Entries)
    fail(`snapshot ${name} of ${bytes} bytes does not fit into its table`, { bytes, l1Entries }, l1Offset);
  const l1 = readAt(fd, l1Offset, 8 * l1Entries, `the table of snapshot ${name}`);
  const l2 = Buffer.alloc(clusterBytes);
  const chunk = new Uint8Array(Math.min(clusterBytes, CHUNK_BYTES));
  for (let n = 0, left = bytes; n < count; n++) {
    if (n % perTable === 0) {
      const at = 8 * (firstTable + n / perTable);
      const table = l1.readBigUInt64BE(at) & PLACE;
      if (table === 0n) fail(`snapshot ${name} has no clusters from ${n} on`, { cluster: n }, l1Offset + at);
      fill(fd, place(table, 'a table of clusters', fileBytes, l1Offset + at), l2, 'a table of clusters');
    }
    const entry = l2.readBigUInt64BE((n % perTable) * entryBytes);
    const host = placeOfCluster(entry, n, image, name);
    for (let done = 0; done < clusterBytes && left > 0; done += chunk.length) {
      const part = left < chunk.length ? chunk.subarray(0, left) : chunk;
      fill(fd, host + done, part, `cluster ${n} of snapshot ${name}`);
      left -= part.length;
      yield part;
    }
  }
}

/**
 * Finds the place of a cluster of the state. QEMU writes the whole state, not packed: a cluster that is not there, or
 * reads as zeros, is damage.
 */
function placeOfCluster(entry: bigint, n: number, { fileBytes }: Image, name: string): number {
  if ((entry & COMPRESSED) !== 0n) fail(`cluster ${n} of snapshot ${name} is compressed`, { cluster: n });
  const host = entry & PLACE;
  if (host === 0n || (entry & ZERO) !== 0n)
    fail(`cluster ${n} of snapshot ${name} is not there`, { cluster: n });
  return place(host, `cluster ${n} of snapshot ${name}`, fileBytes, 0);
}
