// Whole migration streams: the parser, the vmdesc, libvirt's header, and the devices that are found inside.
import {
  acceptVirtio,
  decodeVirtio,
  findVirtio,
  parseVmdesc,
  StreamCollector,
  StreamParser,
  type StreamSection,
  StreamWriter,
  TeeSink,
} from '@virtkit/migration';
import { registry } from '../../../cli/src/registry.ts';
import { demand, type FuzzTarget, sameBytes, stableEncoding, unlessRefused } from '../target.ts';
import { slimStreams } from './corpus-streams.ts';

const LENGTH_MAX = 1 << 16;
/** Far more than an input has, far less than would be noticed if a bound did not hold. */
const DEVICE_STATE_MAX = 1 << 20;
const CHUNKS: readonly [number, ...number[]] = [LENGTH_MAX, 1, 7, 512, 4096];

/** Reads a stream in chunks. What was written again, and what was found; whether it was read to its end. */
function rewrite(
  stream: Uint8Array,
  chunk: number,
): { readonly written: Uint8Array; readonly sections: readonly StreamSection[]; readonly whole: boolean } {
  const collector = new StreamCollector();
  const pieces: Uint8Array[] = [];
  const writer = new StreamWriter((bytes, start, end) => pieces.push(bytes.slice(start, end)));
  const parser = new StreamParser(new TeeSink(collector, writer), {
    accepts: acceptVirtio(registry),
    maxDeviceState: DEVICE_STATE_MAX,
  });
  const whole = unlessRefused(() => {
    for (let at = 0; at < stream.length; at += chunk) parser.push(stream.subarray(at, at + chunk));
    parser.end();
    return true;
  });
  return {
    written: Buffer.concat(pieces),
    sections: unlessRefused(() => collector.partial().sections) ?? [],
    whole: whole === true,
  };
}

/**
 * A stream that was read whole has as many bytes when it is written again, and what was written stays the same from then on. It may
 * differ from the first where QEMU does not look either: at the upper bytes of a subsection's version. In pieces of another
 * size the same is found.
 */
function runStream(input: Uint8Array): void {
  if (input.length === 0) return;
  const stream = input.subarray(1);
  const { written, sections, whole } = rewrite(stream, LENGTH_MAX);
  const pieces = rewrite(stream, CHUNKS[(input[0] as number) % CHUNKS.length] ?? LENGTH_MAX);
  demand(pieces.whole === whole, 'a stream that is taken in some pieces, and in others not');
  if (whole) {
    sameBytes(pieces.written, written, 'a stream that was read in other pieces');
    demand(written.length === stream.length, `${written.length} bytes written of ${stream.length}`);
    sameBytes(rewrite(written, LENGTH_MAX).written, written, 'a stream that was written twice');
  }
  for (const section of sections) {
    const device = findVirtio(section, registry);
    if (device === undefined) continue;
    const decoded = unlessRefused(() => decodeVirtio(device));
    if (decoded === undefined) continue;
    stableEncoding(section.body, decoded.state, decoded.device.codec, section.header.idstr);
    decoded.device.codec.check(decoded.state);
  }
}

function* streamSeeds(): Generator<Uint8Array> {
  for (const bytes of slimStreams())
    if (bytes.length < LENGTH_MAX) yield Buffer.concat([Uint8Array.of(0), bytes]);
}

export const stream: FuzzTarget = {
  name: 'stream',
  about: 'migration streams: parser, writer, and the virtio devices found inside',
  lengthMax: LENGTH_MAX,
  run: runStream,
  seeds: streamSeeds,
  words: [
    'QEVM',
    '\x00\x00\x00\x03',
    '\x7e\x00\x00\x00',
    '\x00\x06',
    '{"page_size":4096,"devices":[]}',
    'ram',
  ],
};

/** The text of the vmdesc behind the last NUL of a stream, without its length. */
function* vmdescSeeds(): Generator<Uint8Array> {
  for (const bytes of slimStreams()) {
    const start = bytes.indexOf(0x7b, bytes.lastIndexOf(0) + 1);
    if (start > 0 && bytes.length - start < LENGTH_MAX) yield bytes.slice(start);
  }
}

export const vmdesc: FuzzTarget = {
  name: 'vmdesc',
  about: 'the JSON description at the end of a stream',
  lengthMax: LENGTH_MAX,
  run: (input) => {
    unlessRefused(() => parseVmdesc(input));
  },
  seeds: vmdescSeeds,
  words: [
    '"devices":[',
    '"fields":[',
    '"subsections":[',
    '"vmsd_name":',
    '"instance_id":',
    '"size":',
    '"type":"buffer"',
    '"array_len":',
    '"struct":{',
  ],
};

const LIBVIRT_HEADER = 92;

/** The bytes become the header's words and what follows them. */
export const libvirt: FuzzTarget = {
  name: 'libvirt',
  about: 'the header that libvirt puts in front of a stream, in either byte order',
  lengthMax: 4096,
  run: (input) => {
    const bytes = new Uint8Array(17 + input.length);
    bytes[0] = input[0] ?? 0;
    bytes.set(Buffer.from('LibvirtQemudSave', 'latin1'), 1);
    bytes.set(input.subarray(1), 17);
    runStream(bytes);
  },
  seeds: function* seeds() {
    for (const little of [true, false]) {
      const header = new Uint8Array(1 + LIBVIRT_HEADER - 16 + 12);
      const view = new DataView(header.buffer, 1);
      view.setUint32(0, 2, little);
      view.setUint32(4, 4, little);
      header.set(Buffer.from('<d/>QEVM\x00\x00\x00\x03', 'latin1'), 1 + LIBVIRT_HEADER - 16);
      yield header;
    }
  },
};
