import { MappedMemory } from '@virtkit/core';
import { parseVmdesc, StreamParser, StreamWriter } from '@virtkit/migration';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  comparedRam,
  type LiveMachine,
  type LiveRam,
  mappedRam,
  opaqueSection,
  receiveLive,
  sendLive,
} from '../../src/live.ts';
import { expectSame, Travel } from './migration.ts';
import { Pipe, TestClock } from './pipe.ts';

const PAGE = 4096;

/** A region of guest memory: where it lies (not always at a page), and how many pages it has. */
interface Region {
  readonly gap: number;
  readonly pages: number;
}

/** Memory and nothing else: regions between holes. */
class Plain implements LiveMachine {
  readonly name = 'plain';
  readonly arrays: readonly Uint8Array[];
  readonly memory: MappedMemory;
  readonly ram: LiveRam;
  readonly sections = [
    opaqueSection({ name: 'nothing', version: 3, save: () => new Uint8Array(0), load: () => () => {} }),
  ];
  atPause: readonly Uint8Array[] | undefined;
  runs = false;

  constructor(regions: readonly Region[], compared: boolean) {
    // bytes that lie unaligned in their buffer, now and then
    this.arrays = regions.map(({ gap, pages }) =>
      new Uint8Array(pages * PAGE + 3).subarray(gap % 4).subarray(0, pages * PAGE),
    );
    let gpa = 0;
    this.memory = new MappedMemory(
      regions.map(({ gap, pages }, index) => {
        gpa += gap;
        const region = { gpa, bytes: this.arrays[index] ?? new Uint8Array(0) };
        gpa += pages * PAGE;
        return region;
      }),
    );
    const mapped = mappedRam(this.memory);
    this.ram = compared ? comparedRam(mapped.blocks) : mapped;
  }

  pause(): void {
    this.runs = false;
    this.atPause = this.copy();
  }

  resume(): void {
    this.runs = true;
  }

  copy(): readonly Uint8Array[] {
    return this.arrays.map((bytes) => bytes.slice());
  }
}

const regions = fc.array(
  fc.record({ gap: fc.constantFrom(0, 0, 1, 3, 512, PAGE, 123_456), pages: fc.integer({ min: 1, max: 20 }) }),
  { minLength: 1, maxLength: 4 },
);
/** Writes of a guest, by region: place and length as parts of the whole; a zero writes zeros. */
const writes = fc.array(
  fc.record({
    region: fc.nat(3),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    length: fc.constantFrom(1, 2, 4, 100, PAGE, 3 * PAGE),
    value: fc.constantFrom(0, 0, 1, 0xa5),
  }),
  { maxLength: 60 },
);

test('memory at the destination is what it was when the source stopped', { timeout: 120_000 }, async () => {
  const property = fc.asyncProperty(
    regions,
    writes,
    fc.boolean(),
    fc.constantFrom(61, 1000, 5000, 1 << 20),
    fc.integer({ min: 1, max: 5 }),
    async (layout, script, compared, chunk, maxRounds) => {
      const [source, destination] = [new Plain(layout, compared), new Plain(layout, compared)];
      // what is there before is nobody's
      for (const bytes of destination.arrays) bytes.fill(0xee);
      source.runs = true;
      const pipe = new Pipe();
      const clock = new TestClock();
      pipe.chunk = chunk;
      let next = 0;
      const write = (): void => {
        const step = script[next++];
        const bytes = source.arrays[step?.region ?? 0];
        if (step === undefined || bytes === undefined) return;
        const at = Math.floor(step.at * (bytes.length - 1));
        const mapping = source.memory.mappings.find((each) => each.bytes === bytes);
        const data = new Uint8Array(Math.min(step.length, bytes.length - at)).fill(step.value);
        expect(source.memory.write(((mapping?.gpa ?? 0) + at) as never, data)).toBe(true);
      };
      for (let n = 0; n < 10; n++) write();
      pipe.turn = () => {
        clock.pass(20);
        if (source.runs) for (let n = 0; n < 4; n++) write();
      };
      const [sent, received] = await Promise.all([
        sendLive(pipe.a, source, { clock, downtimeLimitMs: 5, maxRounds, whenNotConverging: 'force' }),
        receiveLive(pipe.b, destination),
      ]);
      clock.stop();
      expect([sent.result, received.result]).toEqual(['moved', 'arrived']);
      expect(source.atPause).toHaveLength(layout.length);
      for (const [index, bytes] of destination.arrays.entries()) expectSame(bytes, source.atPause?.[index]);
      expect([source.runs, destination.runs]).toEqual([false, true]);
    },
  );
  await fc.assert(property, { numRuns: 150 });
});

/** A guest that changes few bytes between few values: it often undoes what it did. */
const undone = fc.array(
  fc.record({ page: fc.nat(5), at: fc.constantFrom(0, 1, 4095), value: fc.nat(1), turn: fc.nat(12) }),
  { minLength: 4, maxLength: 80 },
);

test('a write that is undone before anybody looks is not lost', { timeout: 120_000 }, async () => {
  let undoneMoves = 0;
  const property = fc.asyncProperty(
    undone,
    fc.boolean(),
    fc.integer({ min: 1, max: 4 }),
    async (script, compared, maxRounds) => {
      const layout = [{ gap: 0, pages: 6 + 40 }];
      const [source, destination] = [new Plain(layout, compared), new Plain(layout, compared)];
      const [bytes, arrived] = [source.arrays[0], destination.arrays[0]];
      if (bytes === undefined || arrived === undefined) throw new Error('no memory');
      // so much that its first pages have gone when its last ones go
      bytes.fill(7, 6 * PAGE);
      const pipe = new Pipe();
      let turn = 0;
      source.runs = true;
      pipe.turn = () => {
        if (!source.runs) return;
        for (const { page, at, value, turn: when } of script) {
          if (when !== turn) continue;
          // half of these pages are the first that are sent, half are the last
          const place = (page < 3 ? page : 40 + page) * PAGE + at;
          if (source.memory.write(place as never, Uint8Array.of(value))) undoneMoves++;
        }
        turn++;
      };
      const [sent, received] = await Promise.all([
        sendLive(pipe.a, source, { downtimeLimitMs: 0, maxRounds, whenNotConverging: 'force' }),
        receiveLive(pipe.b, destination),
      ]);
      expect([sent.result, received.result]).toEqual(['moved', 'arrived']);
      expectSame(arrived, source.atPause?.[0]);
    },
  );
  await fc.assert(property, { numRuns: Number(process.env['VIRTKIT_MOVES'] ?? 150) });
  expect(undoneMoves).toBeGreaterThan(0);
});

test('RAM that is compared is compared with what was sent: A when the round begins, B when the page goes, A when it ends', async () => {
  const [source, destination] = [0, 1].map(() => new Plain([{ gap: 0, pages: 64 }], true));
  const [bytes, arrived] = [source?.arrays[0], destination?.arrays[0]];
  if (source === undefined || destination === undefined || bytes === undefined || arrived === undefined)
    throw new Error('no machines');
  bytes.fill(7);
  const lock = 63 * PAGE + 100;
  bytes[lock] = 0;
  const pipe = new Pipe();
  let writes = 0;
  pipe.turn = () => {
    writes++;
    if (writes === 2) bytes[lock] = 1;
    if (writes === 6) bytes[lock] = 0;
  };
  // what went over first was 1
  const [sent] = await Promise.all([sendLive(pipe.a, source), receiveLive(pipe.b, destination)]);
  const stream = Buffer.concat(pipe.forth.record);
  expect(stream.indexOf(Uint8Array.of(7, 7, 7, 1, 7, 7, 7))).toBeGreaterThan(0);
  expect(sent.result).toBe('moved');
  expectSame(arrived, bytes);
});

test('the stream is one of QEMU: it is read and written again with the same bytes, and described to its end', async () => {
  const travel = new Travel();
  await travel.move();
  const stream = Buffer.concat(travel.pipe.forth.record);
  const chunks: Uint8Array[] = [];
  let vmdesc: Uint8Array | undefined;
  const sizes = new Map<string, number>();
  const writer = new StreamWriter((bytes, start, end) => chunks.push(bytes.slice(start, end)));
  const keep = writer.vmdesc.bind(writer);
  writer.vmdesc = (text) => {
    vmdesc = text.slice();
    keep(text);
  };
  const body = writer.body.bind(writer);
  const sink = Object.assign(writer, {
    body: (bytes: Uint8Array, { idstr }: { readonly idstr: string }) => {
      sizes.set(idstr, bytes.length);
      body(bytes);
    },
  });
  const parser = new StreamParser(sink);
  parser.push(stream);
  parser.end();
  expect(Buffer.compare(Buffer.concat(chunks), stream)).toBe(0);
  const { page_size, devices } = parseVmdesc(vmdesc ?? new Uint8Array(0));
  expect(page_size).toBe(4096);
  expect(devices.map(({ name }) => name)).toEqual(['0000:00:02.0/virtio-blk', 'small-cpu']);
  for (const { name = '', fields = [] } of devices)
    expect(fields.reduce((sum, { size = 0 }) => sum + size, 0)).toBe(sizes.get(name));
});
