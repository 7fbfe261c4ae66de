// A stream that has a guest's memory in it, as QEMU sends that: a list of blocks, then pages, those of zeros as such.
import {
  type Configuration,
  RAM,
  type RamBlock,
  StreamParser,
  type StreamSink,
  StreamWriter,
} from '@virtkit/migration';

const PAGE = 4096;
const HEADER = { id: 2, idstr: 'ram', instanceId: 0, versionId: 4, offset: 0 } as const;

/** The sections of RAM, for a block `pc.ram` that begins at address 0. */
export function sendRam(sink: StreamSink, memory: Uint8Array): void {
  sink.section({ ...HEADER, kind: 'start' });
  sink.ramSize(BigInt(memory.length));
  sink.ramBlock({ name: 'pc.ram', length: memory.length });
  sink.ramMark(RAM.EOS, 0);
  sink.footer(HEADER.id);
  sink.section({ ...HEADER, kind: 'end' });
  for (let at = 0; at < memory.length; at += PAGE) {
    const page = memory.subarray(at, at + PAGE);
    const isZero = page.every((byte) => byte === 0);
    sink.ramPage((at === 0 ? 0 : RAM.CONTINUE) | (isZero ? RAM.ZERO : RAM.PAGE), at, 0);
    if (isZero) sink.ramData(Uint8Array.of(0), 0, 1);
    else sink.ramData(page, 0, PAGE);
  }
  sink.ramMark(RAM.EOS, 0);
  sink.footer(HEADER.id);
}

/** Bytes that are written to a sink, in one piece. */
export function written(write: (sink: StreamWriter) => void): Uint8Array<ArrayBuffer> {
  const pieces: Uint8Array[] = [];
  write(new StreamWriter((bytes, start, end) => pieces.push(bytes.slice(start, end))));
  return Uint8Array.from(Buffer.concat(pieces));
}

/** A stream of RAM alone. */
export function ramStream(memory: Uint8Array): Uint8Array<ArrayBuffer> {
  return written((sink) => {
    sink.header(3);
    sink.configuration({ name: 'pc-q35-9.0' });
    sendRam(sink, memory);
    sink.eof();
  });
}

/** Writer that sends pages of the guest's memory in a stream that had none: those of the largest block at these offsets. */
class WithPages extends StreamWriter {
  readonly #pages: ReadonlyMap<number, Uint8Array>;
  readonly #lengths: number[] = [];
  #marks = 0;

  constructor(emit: ConstructorParameters<typeof StreamWriter>[0], pages: ReadonlyMap<number, Uint8Array>) {
    super(emit);
    this.#pages = pages;
  }

  override configuration({ capabilities = [], ...value }: Configuration): void {
    super.configuration({
      ...value,
      capabilities: capabilities.filter((name) => name !== 'x-ignore-shared'),
    });
  }

  override ramBlock({ name, length }: RamBlock): void {
    this.#lengths.push(length);
    super.ramBlock({ name, length });
  }

  override ramMark(flags: number, offset: number): void {
    // behind the list of blocks
    if (this.#marks++ === 1) {
      const main = this.#lengths.indexOf(Math.max(...this.#lengths));
      for (const [address, page] of this.#pages) {
        super.ramPage(RAM.PAGE, address, main);
        super.ramData(page, 0, PAGE);
      }
    }
    super.ramMark(flags, offset);
  }
}

/** A stream, with pages of the guest's memory by their addresses. */
export function withPages(
  stream: Uint8Array,
  pages: ReadonlyMap<number, Uint8Array>,
): Uint8Array<ArrayBuffer> {
  const pieces: Uint8Array[] = [];
  const parser = new StreamParser(
    new WithPages((bytes, start, end) => pieces.push(bytes.slice(start, end)), pages),
  );
  parser.push(stream);
  parser.end();
  return Uint8Array.from(Buffer.concat(pieces));
}
