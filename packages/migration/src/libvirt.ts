import { latin1, type Reader, StateError } from '@virtkit/vmstate';

/** Header that libvirt puts in front of a stream in a save file (`virsh save`, `virsh managedsave`). */
export interface LibvirtHeader {
  /** Bytes of the header and of XML and cookie behind it, as they stand. */
  readonly bytes: Uint8Array;
  /** Version of the header, 1 or 2. */
  readonly version: number;
  /** True if the guest ran when it was saved, and is to run when it is restored. */
  readonly wasRunning: boolean;
  /** Format of the stream behind the header: 0 raw, 1 gzip, 2 bzip2, 3 xz, 4 lzop, 5 zstd, 6 sparse. */
  readonly compressed: number;
  /** XML of the domain. */
  readonly xml: string;
}

/**
 * Magic texts of a file that is complete, and of one that is still being written. libvirt: `QEMU_SAVE_MAGIC`,
 * `QEMU_SAVE_PARTIAL`
 */
const MAGICS = ['LibvirtQemudSave', 'LibvirtQemudPart'];
const MAGIC_BYTES = 16;
/** Length of the header in bytes: magic, five words, fourteen unused ones. */
const HEADER_BYTES = MAGIC_BYTES + 19 * 4;
/** Largest length of XML and cookie in bytes; libvirt's are some kilobytes. */
const DATA_MAX = 1 << 24;

/** Formats in which libvirt packs a save file, by the number in its header. libvirt: `virQEMUSaveFormat` */
export const COMPRESSIONS = ['raw', 'gzip', 'bzip2', 'xz', 'lzop', 'zstd', 'sparse'] as const;

/** Do these bytes begin a libvirt save file? Undefined if there are too few to know. */
export function isLibvirt(input: Reader): boolean | undefined {
  const found = latin1(input.bytes.subarray(input.offset, input.offset + MAGIC_BYTES));
  if (found.length < MAGIC_BYTES) return MAGICS.some((magic) => magic.startsWith(found)) ? undefined : false;
  return MAGICS.includes(found);
}

/**
 * Reads the header. Integers are in the byte order of the host that wrote it.
 * @throws StateError `truncated`, `libvirt-compressed`
 */
export function readLibvirt(input: Reader): LibvirtHeader {
  const start = input.offset;
  const at = input.take(HEADER_BYTES) + MAGIC_BYTES;
  const { view } = input;
  // the version is a small number: what looks huge is the other byte order (libvirt does the same)
  const little = view.getUint32(at, true) <= view.getUint32(at, false);
  const word = (index: number): number => view.getUint32(at + 4 * index, little);
  const [version, dataLength, wasRunning, compressed] = [word(0), word(1), word(2), word(3)];
  if (dataLength > DATA_MAX) {
    throw new StateError(
      'count',
      `libvirt header announces ${dataLength} bytes of XML, at most ${DATA_MAX} believed`,
      { count: dataLength, limit: DATA_MAX },
      { layer: 'stream', offset: input.base + at + 4 },
    );
  }
  const data = input.borrow(dataLength);
  if (compressed !== 0 && compressed !== 6) {
    const format = COMPRESSIONS[compressed] ?? String(compressed);
    throw new StateError(
      'libvirt-compressed',
      `the stream behind the libvirt header is compressed (${format}): decompress it first`,
      { format },
      { layer: 'stream', offset: input.position },
    );
  }
  const end = data.indexOf(0);
  const xml = latin1(end < 0 ? data : data.subarray(0, end));
  return {
    bytes: input.bytes.slice(start, input.offset),
    version,
    wasRunning: wasRunning !== 0,
    compressed,
    xml,
  };
}
