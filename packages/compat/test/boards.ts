// What real QEMUs decided over random machines with devices that are not virtio: recorded by board-run.ts.
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';
import { StreamParser, StreamWriter } from '@virtkit/migration';

/** A load that a real QEMU tried. */
export interface RecordedLoad {
  /** Number of the stream in {@link RecordedBoards.streams}. */
  readonly stream: number;
  /** Versions of QEMU: `7.2`. */
  readonly from: string;
  readonly to: string;
  /** The command line of the destination. */
  readonly line: string;
  readonly ok: boolean;
  readonly stderr: string;
}

/** The file `data/boards.json.br`. */
export interface RecordedBoards {
  /** Streams without the contents of memory, a character a byte. */
  readonly streams: readonly string[];
  readonly loads: readonly RecordedLoad[];
}

/** A stream in which blocks of RAM have their names and sizes, and no pages. */
class WithoutPages extends StreamWriter {
  override ramPage(): void {}
  override ramData(): void {}
}

/** The stream without the contents of memory, of which `check` reads nothing. */
export function withoutPages(stream: Uint8Array): Buffer {
  const chunks: Buffer[] = [];
  const writer = new WithoutPages((bytes, start, end) =>
    chunks.push(Buffer.from(bytes.subarray(start, end))),
  );
  const parser = new StreamParser(writer);
  parser.push(stream);
  parser.end();
  return Buffer.concat(chunks);
}

/** The text of the file. The streams have much in common, and far from each other. */
export function packed(boards: RecordedBoards): Buffer {
  const params = { [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_QUALITY]: 9 };
  return brotliCompressSync(JSON.stringify(boards), { params });
}

/** What {@link packed} made. */
export function unpacked(bytes: Uint8Array): RecordedBoards {
  return JSON.parse(brotliDecompressSync(bytes).toString()) as RecordedBoards;
}
