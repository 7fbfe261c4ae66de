import { inside, Reader, StateError } from '@virtkit/vmstate';
import type { SectionHeader } from './events.ts';
import type { RamParser } from './ram.ts';
import { be32, findFooter, findHeader, plausibleNext } from './split.ts';
import { readCommand, readFooter, readSectionHeader, type StreamContext } from './structures.ts';
import { DeviceList, deviceSize, findVmdesc } from './vmdesc.ts';
import { TYPE } from './wire.ts';

/**
 * Splits everything behind the last page of RAM into sections, and tells the sink of them.
 *
 * @param base offset of `bytes[0]` in the stream
 * @param open the section whose body begins at `bytes[0]`, if the first bytes are not between sections
 * @throws StateError; what was told before it is good
 */
export function splitTail(
  bytes: Uint8Array,
  base: number,
  context: StreamContext,
  ram: RamParser | undefined,
  open?: SectionHeader,
): void {
  const input = new Reader(bytes, base);
  const found = findVmdesc(bytes);
  const sizes = new DeviceList(found?.vmdesc);
  if (open !== undefined) readBody(input, open, context, sizes);
  for (;;) {
    const type = input.peek();
    if (type < 0)
      throw new StateError(
        'truncated',
        'the stream ends where a section, a command or its end should begin',
        { available: 0 },
        { layer: 'stream', offset: input.position },
      );
    if (type === TYPE.EOF) break;
    inside('', 'stream', () => {
      if (type === TYPE.COMMAND) {
        const { command, payload } = readCommand(input);
        context.sink.command(command, payload);
        return;
      }
      const header = readSectionHeader(input, context.started);
      if (header.kind === 'start') context.started.set(header.id, header);
      context.sink.section(header);
      if (header.idstr === 'ram' && ram !== undefined) readRam(input, header, context, ram);
      else readBody(input, header, context, sizes);
    });
  }
  readEnd(input, context, found);
}

/** EOF, then a vmdesc or nothing; what comes behind is nobody's. */
function readEnd(input: Reader, { sink }: StreamContext, found: ReturnType<typeof findVmdesc>): void {
  input.take(1);
  sink.eof();
  if (input.peek() === TYPE.VMDESCRIPTION) {
    inside('vmdesc', 'stream', () => {
      input.take(1);
      const length = input.u32();
      const read = found?.start === input.offset ? found.vmdesc : undefined;
      sink.vmdesc(input.borrow(length), read);
    });
  }
  if (input.remaining > 0) sink.trailing(input.borrow(input.remaining));
}

function readRam(input: Reader, header: SectionHeader, context: StreamContext, ram: RamParser): void {
  ram.begin();
  input.offset = ram.consume(input.bytes, input.offset, input.base, true);
  if (!ram.done) throw input.truncated(8);
  readFooter(input, header, context);
}

function readBody(input: Reader, header: SectionHeader, context: StreamContext, sizes: DeviceList): void {
  const start = input.offset;
  const end = findEnd(input.bytes, start, header, context, sizes);
  if (end < 0) {
    throw new StateError(
      'truncated',
      `the end of the section is missing: ${input.remaining} bytes of it are there`,
      { available: input.remaining, section: header.idstr },
      { layer: 'stream', path: header.idstr, offset: input.base + input.bytes.length },
    );
  }
  context.sink.body(input.borrow(end - start), header, input.base + start);
  readFooter(input, header, context);
}

/**
 * Where the body that begins at `start` ends: where the vmdesc says, if that fits; else at the first place that looks
 * like it and that whoever knows the device agrees with. -1 if there is none.
 */
export function findEnd(
  bytes: Uint8Array,
  start: number,
  header: SectionHeader,
  context: StreamContext,
  sizes?: DeviceList,
): number {
  let fallback = -1;
  for (const end of candidates(bytes, start, header, context, sizes)) {
    if (context.accepts(header, bytes.subarray(start, end)) !== false) return end;
    if (fallback < 0) fallback = end;
  }
  return fallback;
}

function* candidates(
  bytes: Uint8Array,
  start: number,
  header: SectionHeader,
  context: StreamContext,
  sizes: DeviceList | undefined,
): Generator<number> {
  const { footers, started } = context;
  const described = sizes?.next(header);
  const size = described && deviceSize(described);
  if (size !== undefined) {
    const end = start + size;
    const isEnd =
      footers === false
        ? plausibleNext(bytes, end, started) === 'yes'
        : bytes[end] === TYPE.FOOTER && be32(bytes, end + 1) === header.id;
    if (end <= bytes.length && isEnd) yield end;
  }
  if (footers !== false) {
    for (let at = findFooter(bytes, start, header.id); at >= 0; at = findFooter(bytes, at + 1, header.id)) {
      if (plausibleNext(bytes, at + 5, started) !== 'no') yield at;
    }
  }
  if (footers !== true) {
    for (let at = findHeader(bytes, start, started); at >= 0; at = findHeader(bytes, at + 1, started))
      yield at;
  }
}
