import type { ConnectionOptions } from 'node:tls';
import { HostError, type Spans } from '@virtkit/core';
import { ArraySpans } from '../../disk/array-spans.ts';
import type { BlkBackend, Pending } from '../../live/backend.ts';
import { CAN, COMMAND, COMMAND_FLAG, nbdError } from './protocol.ts';
import { type NbdEvent, NbdSession } from './session.ts';
import { nbdAddress } from './uri.ts';

/** Options of a disk on an NBD server. */
export interface NbdDiskOptions {
  /** True to read only; default false. An export that the server calls read-only is read-only in any case. */
  readonly readOnly?: boolean;
  /**
   * Write cache, as QEMU's `cache`. `writeback` (the default): writes are stable when the driver flushes.
   * `writethrough`: each write is stable when it is done (FUA, or a flush), and the driver finds its write cache off.
   * `unsafe`: writes are never flushed.
   */
  readonly cache?: 'writeback' | 'writethrough' | 'unsafe';
  /** Effect of a discard: nothing (the default, as QEMU's), or the server is told to trim. */
  readonly discard?: 'ignore' | 'unmap';
  /**
   * Logical block size that the driver is told, in bytes; default 512, or more if the server takes no less (up to
   * 4096).
   */
  readonly blockSize?: number;
  /** Number of connections, 1 to 16, where the server takes several; default 4. */
  readonly connections?: number;
  /**
   * Milliseconds that a request may take, with all that a server needs to come back in the meantime; then it fails with
   * code `ETIMEDOUT`, and whether a write was done is not known. Default 60 000.
   */
  readonly timeoutMs?: number;
  /**
   * Number of bytes of writes that are kept until a flush has made them stable, so that they can be done again after a
   * server was lost with what it had in its cache. When there are more, the disk flushes by itself, and twice as many
   * are never kept. 0: none. Default 16 MiB.
   */
  readonly keepBytes?: number;
  /** Options for TLS beyond what the address says: `ca`, `cert`, `key`, `pskCallback`, … Only with `nbds`. */
  readonly tls?: ConnectionOptions;
  /** Function that hears of connections that are lost and made again, and of another size. Must not throw. */
  readonly onEvent?: (event: NbdEvent) => void;
}

/** Disk on an NBD server, made by {@link nbdDisk}. */
export interface NbdDisk extends BlkBackend {
  /** Facts agreed on with the server, and the number of connections now: 0 while it is away. */
  readonly connection: {
    readonly count: number;
    readonly replies: 'simple' | 'structured' | 'extended';
    /**
     * Number of bytes that positions and lengths are multiples of for the server; the disk does smaller requests by
     * reading around them.
     */
    readonly blockMin: number;
  };
  /**
   * Asks the server how large the export is, over a connection of its own. Then tell the device: `BlkDevice.resize`.
   *
   * @throws Error with a `code` if there is no answer
   */
  refreshSize(): Promise<number>;
  /** Has the server bring bytes into its cache (`NBD_CMD_CACHE`). Does nothing where the server cannot. */
  prefetch(position: number, length: number): Promise<void>;
  /**
   * Ends the connections, when requests that are under way have ended; then it answers a promise. From the call on all operations fail with code
   * `EBADF`. To lose nothing, wait for `BlkDevice.idle` and flush first. A second call does nothing.
   */
  close(): Pending;
}

const SECTOR = 512;
/** Largest number of bytes of a trim or of zeros, which a length of 32 bits holds. */
const LONG_PIECE = 1 << 30;
/** Largest number of bytes of a read or a write: {@link BlkBackend.maxTransfer} of the disk. */
const TRANSFER_BYTES = 4 << 20;
const ZEROS = new Uint8Array(1 << 20);

/**
 * Opens an export of an NBD server: `nbd://host[:port]/[export]`, `nbds://…`, `nbd+unix:///[export]?socket=PATH`, `nbds+unix://…`.
 *
 * @throws HostError for an address or options that are none; Error with a `code` if there is no such server or export
 */
export async function nbdDisk(
  uri: string | { readonly href: string },
  options: NbdDiskOptions = {},
): Promise<NbdDisk> {
  const { connections = 4, timeoutMs = 60_000, keepBytes = 16 << 20, blockSize } = options;
  check('connections', connections, 1, 16);
  check('timeoutMs', timeoutMs, 1, 2 ** 31 - 1);
  check('keepBytes', keepBytes, 0, Number.MAX_SAFE_INTEGER);
  const session = await NbdSession.open(nbdAddress(uri, options.tls), {
    ...{ connections, timeoutMs, keepBytes },
    onEvent: options.onEvent ?? (() => {}),
  });
  const disk = new Disk(session, options);
  const firstSector = new Uint8Array(SECTOR);
  try {
    if (disk.size > 0) await disk.read(0, new ArraySpans(firstSector), 0, SECTOR);
  } catch (error) {
    session.close();
    throw error;
  }
  return Object.assign(disk, { firstSector, blockSize: blockSize ?? disk.smallestBlock });
}

function check(name: string, value: number, min: number, max: number): void {
  if (!Number.isSafeInteger(value) || value < min || value > max)
    throw new HostError(`${name} ${value}: ${min} to ${max} expected`);
}

class Disk implements NbdDisk {
  readonly readOnly: boolean;
  readonly writeCache: boolean;
  readonly maxTransfer: number;
  readonly flush?: () => Pending;
  readonly discard?: (position: number, length: number) => Pending;
  readonly #session: NbdSession;
  /** Flags of each write: FUA, if all writes are stable at once. */
  readonly #fua: number;
  /** Promise of the write of a part of the server's blocks that is under way: the next one waits for it. */
  #partWrite: Promise<void> = Promise.resolve();

  constructor(session: NbdSession, options: NbdDiskOptions) {
    const { cache = 'writeback', discard = 'ignore' } = options;
    this.#session = session;
    this.readOnly = options.readOnly === true || session.can(CAN.READ_ONLY);
    this.writeCache = cache !== 'writethrough';
    this.#fua = cache === 'writethrough' && session.can(CAN.FUA) ? COMMAND_FLAG.FUA : 0;
    const { blockMin, payloadMax } = session.agreed;
    const room = blockMin > SECTOR ? payloadMax - 2 * blockMin : payloadMax;
    this.maxTransfer = Math.max(SECTOR, Math.min(TRANSFER_BYTES, Math.floor(room / SECTOR) * SECTOR));
    if (cache !== 'unsafe') this.flush = () => session.flush();
    if (discard === 'unmap') this.discard = (position, length) => this.#trim(position, length);
  }

  get size(): number {
    const { size, blockMin } = this.#session.agreed;
    return Math.floor(size / blockMin) * blockMin;
  }

  /** Block size in bytes that spares the server parts of its blocks, as far as drivers take it. */
  get smallestBlock(): number {
    return Math.min(4096, Math.max(SECTOR, this.#session.agreed.blockMin));
  }

  get connection(): NbdDisk['connection'] {
    const { replies, blockMin } = this.#session.agreed;
    return { count: this.#session.connections, replies, blockMin };
  }

  async read(position: number, target: Spans, from: number, length: number): Promise<void> {
    // the last sector of an export that ends within it is zeros behind its end
    const there = this.#there(position, length);
    if (there < length) target.fill(from + there, length - there, 0);
    for (let done = 0; done < there; done += this.maxTransfer)
      await this.#readPiece(position + done, target, from + done, Math.min(this.maxTransfer, there - done));
  }

  async #readPiece(position: number, target: Spans, from: number, there: number): Promise<void> {
    const facts = { command: COMMAND.READ, flags: 0 };
    const [start, end] = this.#around(position, there);
    if (start === position && end === position + there)
      return this.#session.submit({ ...facts, position, length: there, target, from });
    const bytes = new Uint8Array(end - start);
    await this.#session.submit({
      ...facts,
      position: start,
      length: bytes.length,
      target: new ArraySpans(bytes),
      from: 0,
    });
    target.copyFrom(from, bytes, position - start, there);
  }

  async write(position: number, source: Spans, from: number, length: number): Promise<void> {
    // taken out before anything is awaited: the driver may get its memory back
    const data = new Uint8Array(this.#there(position, length));
    source.copyTo(from, data, 0, data.length);
    return data.length <= this.maxTransfer
      ? this.#writeBytes(position, data)
      : this.#writeLong(position, data);
  }

  async #writeLong(position: number, data: Uint8Array): Promise<void> {
    for (let done = 0; done < data.length; done += this.maxTransfer)
      await this.#writeBytes(position + done, data.subarray(done, done + this.maxTransfer));
  }

  async writeZeroes(position: number, length: number, mayUnmap: boolean): Promise<void> {
    const end = position + this.#there(position, length);
    const [first, last] = this.#within(position, end);
    if (!this.#session.can(CAN.WRITE_ZEROES) || first >= last) return this.#writeZeros(position, end);
    await this.#writeZeros(position, first);
    const flags = this.#fua | (mayUnmap ? 0 : COMMAND_FLAG.NO_HOLE);
    await this.#inLongPieces(COMMAND.WRITE_ZEROES, flags, first, last);
    await this.#writeZeros(last, end);
  }

  async prefetch(position: number, length: number): Promise<void> {
    if (!this.#session.can(CAN.CACHE)) return;
    const [start, end] = this.#around(position, this.#there(position, length));
    await this.#inLongPieces(COMMAND.CACHE, 0, start, end);
  }

  async refreshSize(): Promise<number> {
    await this.#session.askSize();
    return this.size;
  }

  close(): Pending {
    return this.#session.close();
  }

  async #trim(position: number, length: number): Promise<void> {
    if (!this.#session.can(CAN.TRIM)) return;
    // parts of the server's blocks are left as they are, which a discard may
    const [first, last] = this.#within(position, position + this.#there(position, length));
    await this.#inLongPieces(COMMAND.TRIM, this.#fua, first, last);
  }

  async #inLongPieces(
    command: typeof COMMAND.TRIM | typeof COMMAND.WRITE_ZEROES | typeof COMMAND.CACHE,
    flags: number,
    start: number,
    end: number,
  ): Promise<void> {
    for (let position = start; position < end; position += LONG_PIECE) {
      const facts = { command, flags, position, length: Math.min(LONG_PIECE, end - position) };
      await (command === COMMAND.CACHE ? this.#session.submit(facts) : this.#session.change(facts));
    }
  }

  async #writeZeros(start: number, end: number): Promise<void> {
    const piece = Math.min(ZEROS.length, this.maxTransfer);
    for (let position = start; position < end; position += piece)
      await this.#writeBytes(position, ZEROS.subarray(0, Math.min(piece, end - position)));
  }

  #writeBytes(position: number, data: Uint8Array): Promise<void> {
    if (this.readOnly) return Promise.reject(nbdError('EROFS', 'the disk is read-only'));
    if (data.length === 0) return Promise.resolve();
    const [start, end] = this.#around(position, data.length);
    if (start === position && end === position + data.length) return this.#change(position, data);
    // one at a time: two in the same block would each undo what the other has written
    const mine = this.#partWrite.then(() => this.#writePart(start, end, position, data));
    this.#partWrite = mine.catch(() => {});
    return mine;
  }

  /** Writes a part of the server's blocks: reads them, and writes them whole. */
  async #writePart(start: number, end: number, position: number, data: Uint8Array): Promise<void> {
    const bytes = new Uint8Array(end - start);
    const target = new ArraySpans(bytes);
    await this.#session.submit({
      command: COMMAND.READ,
      flags: 0,
      position: start,
      length: bytes.length,
      target,
      from: 0,
    });
    bytes.set(data, position - start);
    await this.#change(start, bytes);
  }

  #change(position: number, data: Uint8Array): Promise<void> {
    return this.#session.change({
      command: COMMAND.WRITE,
      flags: this.#fua,
      position,
      length: data.length,
      data,
    });
  }

  /**
   * Finds how many of these bytes the export has: all, or those of its last sector, which may end within it. The device
   * knows the size of the first connection; a server that is back with a smaller export must not be taken for one that
   * has done what lies behind its end.
   *
   * @throws Error `ENOSPC` for sectors behind the end
   */
  #there(position: number, length: number): number {
    const { size } = this;
    const end = position + length;
    if (end > Math.ceil(size / SECTOR) * SECTOR)
      throw nbdError('ENOSPC', `bytes ${position} to ${end} of an export that has ${size} now`);
    return Math.max(0, Math.min(length, size - position));
  }

  /** Finds the beginning and the end of the server's blocks that these bytes lie in. */
  #around(position: number, length: number): readonly [number, number] {
    const { blockMin } = this.#session.agreed;
    return [Math.floor(position / blockMin) * blockMin, Math.ceil((position + length) / blockMin) * blockMin];
  }

  /** Finds the beginning and the end of the server's blocks that lie whole within these bytes. */
  #within(start: number, end: number): readonly [number, number] {
    const { blockMin } = this.#session.agreed;
    const first = Math.ceil(start / blockMin) * blockMin;
    const last = Math.floor(end / blockMin) * blockMin;
    return first < last ? [first, last] : [end, end];
  }
}
