import { GSO, HDR_FLAG, type Packet, type PacketMeta } from '@virtkit/device-net';
import { SoftwareOffload } from '@virtkit/device-net/offload';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  be16,
  be32,
  headBytes,
  type Ip,
  internetChecksum,
  ipFrame,
  packetInPieces,
  packetOf,
  type Tcp,
  tcpFrame,
  udpBody,
  udpFrame,
} from './frames.ts';
import { fromHex, hex } from './machine.ts';

const show = (frame: readonly number[] | Uint8Array): string => hex(Uint8Array.from(frame));

/** All frames of a packet, written to odd and even places. */
function frames(offload: SoftwareOffload, packet: Packet): string[] {
  const list: string[] = [];
  let total = 0;
  const count = offload.open(packet);
  const promised = offload.total;
  for (let at = 3; offload.left > 0; at++) {
    const target = new Uint8Array(at + offload.length + 2).fill(0x99);
    const length = offload.write(target, at);
    expect(hex(target.subarray(0, at)) + hex(target.subarray(at + length))).toMatch(/^(99)+$/);
    list.push(hex(target.subarray(at, at + length)));
    total += length;
  }
  expect([list.length, total]).toEqual([count, promised]);
  return list;
}

const bytes = (min: number, max: number): fc.Arbitrary<number[]> =>
  fc.uint8Array({ minLength: min, maxLength: max }).map((array) => Array.from(array));

const quads = (max: number): fc.Arbitrary<number[]> => fc.nat(max).chain((n) => bytes(4 * n, 4 * n));

const ipv4: fc.Arbitrary<Ip> = fc.record({
  version: fc.constant(4 as const),
  src: bytes(4, 4),
  dst: bytes(4, 4),
  options: quads(10),
  id: fc.nat(0xffff),
  flags: fc.constantFrom(0, 0x4000),
  tags: fc.nat(2),
});

/** Options behind the first bytes of an extension header; the routing header has no segment left. */
const extension = fc
  .tuple(fc.constantFrom(0, 60, 43), fc.nat(3))
  .chain(([kind, units]) =>
    bytes(6 + 8 * units, 6 + 8 * units).map((rest): [number, number[]] => [
      kind,
      [units, ...(kind === 43 ? [0, 0, ...rest.slice(2)] : rest)],
    ]),
  );

const ipv6: fc.Arbitrary<Ip> = fc.record({
  version: fc.constant(6 as const),
  src: bytes(16, 16),
  dst: bytes(16, 16),
  extensions: fc.array(extension, { maxLength: 3 }),
  tags: fc.nat(2),
});

const ip = fc.oneof(ipv4, ipv6);
const tcp: fc.Arbitrary<Tcp> = fc.record({
  seq: fc.integer({ min: 0, max: 0xffffffff }),
  flags: fc.nat(255),
  options: quads(10),
});
const pieces = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 5 });

const tcpMeta = (where: Ip, gsoSize: number): Partial<PacketMeta> => ({
  flags: HDR_FLAG.NEEDS_CSUM,
  gsoType: (where.version === 4 ? GSO.TCPV4 : GSO.TCPV6) | GSO.ECN,
  gsoSize,
  csumStart: headBytes(where),
  csumOffset: 16,
});

const udpMeta = (where: Ip, gsoType: number, gsoSize: number): Partial<PacketMeta> => ({
  flags: HDR_FLAG.NEEDS_CSUM,
  gsoType,
  gsoSize,
  csumStart: headBytes(where),
  csumOffset: 6,
});

const cut = (list: readonly number[], step: number): number[][] =>
  Array.from({ length: Math.max(1, Math.ceil(list.length / step)) }, (_, i) =>
    list.slice(i * step, (i + 1) * step),
  );

describe('against frames that were built from their fields', () => {
  test('checksums of TCP and UDP', () => {
    const offload = new SoftwareOffload();
    fc.assert(
      fc.property(ip, tcp, bytes(0, 200), pieces, fc.boolean(), (where, header, payload, sizes, udp) => {
        const make = (partial: boolean): number[] =>
          udp ? udpFrame(where, payload, partial) : tcpFrame(where, header, payload, partial);
        const meta = udp ? udpMeta(where, GSO.NONE, 0) : { ...tcpMeta(where, 0), gsoType: GSO.NONE };
        expect(frames(offload, packetInPieces(make(true), sizes, meta))).toEqual([show(make(false))]);
      }),
    );
    expect(offload.counters.checksums).toBeGreaterThan(50);
  });

  test('TCP segments', () => {
    const offload = new SoftwareOffload();
    fc.assert(
      fc.property(
        ip,
        tcp,
        bytes(0, 3000),
        fc.integer({ min: 8, max: 1500 }),
        pieces,
        (where, header, payload, size, sizes) => {
          const parts = cut(payload, size);
          const expected = parts.map((part, i) => {
            const last = i === parts.length - 1;
            const flags = header.flags & (last ? 0xff : ~0x09) & (i === 0 ? 0xff : ~0x80);
            const seq = (header.seq + i * size) % 2 ** 32;
            return show(
              tcpFrame({ ...where, id: ((where.id ?? 0) + i) & 0xffff }, { ...header, seq, flags }, part),
            );
          });
          const packet = packetInPieces(tcpFrame(where, header, payload, true), sizes, tcpMeta(where, size));
          expect(frames(offload, packet)).toEqual(expected);
        },
      ),
    );
    expect(offload.counters.malformed).toBe(0);
  });

  test('UDP segments', () => {
    const offload = new SoftwareOffload();
    fc.assert(
      fc.property(
        ip,
        bytes(0, 3000),
        fc.integer({ min: 8, max: 1500 }),
        pieces,
        (where, payload, size, sizes) => {
          const expected = cut(payload, size).map((part, i) =>
            show(udpFrame({ ...where, id: ((where.id ?? 0) + i) & 0xffff }, part)),
          );
          const meta = udpMeta(where, GSO.UDP_L4, size);
          expect(frames(offload, packetInPieces(udpFrame(where, payload, true), sizes, meta))).toEqual(
            expected,
          );
        },
      ),
    );
  });

  test('UDP fragments, IPv4', () => {
    const offload = new SoftwareOffload();
    fc.assert(
      fc.property(
        ipv4,
        bytes(0, 3000),
        fc.integer({ min: 8, max: 1500 }),
        pieces,
        (where, payload, size, sizes) => {
          const step = size - (size % 8);
          const parts = cut(udpBody(where, payload), step);
          const expected = parts.map((part, i) => {
            const more = i === parts.length - 1 ? 0 : 0x2000;
            return show(ipFrame({ ...where, flags: (where.flags ?? 0) | more | ((i * step) / 8) }, 17, part));
          });
          const meta = udpMeta(where, GSO.UDP, size);
          expect(frames(offload, packetInPieces(udpFrame(where, payload, true), sizes, meta))).toEqual(
            expected,
          );
        },
      ),
    );
  });

  test('UDP fragments, IPv6: behind the headers that every router reads', () => {
    const offload = new SoftwareOffload();
    fc.assert(
      fc.property(
        ipv6,
        bytes(0, 3000),
        fc.integer({ min: 128, max: 1500 }),
        pieces,
        (where, payload, size, sizes) => {
          const step = size - (size % 8);
          const all = where.extensions ?? [];
          const front = all.findLastIndex(([kind]) => kind !== 60) + 1;
          const [before, behind] = [all.slice(0, front), all.slice(front)];
          const kinds = [...behind.map(([kind]) => kind), 17];
          const options = behind.flatMap(([, rest], i) => [kinds[i + 1] ?? 0, ...rest]);
          const whole = [...options, ...udpBody(where, payload)];
          const parts = cut(whole, step);
          const out = frames(
            offload,
            packetInPieces(udpFrame(where, payload, true), sizes, udpMeta(where, GSO.UDP, size)),
          );
          // what the sender chose, the same in all of them
          const at = 2 * (headBytes({ ...where, extensions: before }) + 4);
          const id = parts.length === 1 ? '' : (out[0] ?? '').slice(at, at + 8);
          const expected = parts.map((part, i) => {
            if (parts.length === 1) return show(udpFrame(where, payload));
            const more = i === parts.length - 1 ? 0 : 1;
            const fragment: [number, number[]] = [44, [0, ...be16((i * step) | more), ...fromHex(id)]];
            // ipFrame() writes what follows the fragment header: its first byte
            return show(ipFrame({ ...where, extensions: [...before, fragment] }, kinds[0] ?? 0, part));
          });
          expect(out).toEqual(expected);
        },
      ),
    );
  });
});

/** What a guest hands over in one go: up to 60,000 bytes, and segments from one byte on. */
describe('large packets, and small segments', () => {
  const size = fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 3000 }));
  const large = fc.record({
    where: ip,
    header: tcp,
    size,
    seed: fc.nat(255),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    partial: fc.boolean(),
    padding: fc.oneof(fc.constant(0), fc.nat(20)),
  });
  /** Bytes that differ from segment to segment, of a number that is no multiple of anything. */
  const payloadOf = ({ size: step, seed, share }: { size: number; seed: number; share: number }): number[] =>
    Array.from(
      { length: Math.floor(share * Math.min(60_000, step * 60)) },
      (_, i) => (i * 131 + (i >> 7) + seed) & 0xff,
    );
  const metaOf = (meta: Partial<PacketMeta>, partial: boolean): Partial<PacketMeta> =>
    partial ? meta : { ...meta, flags: 0, csumStart: 0, csumOffset: 0 };
  const padded = (frame: readonly number[], padding: number): number[] => [
    ...frame,
    ...Array<number>(padding).fill(0xa5),
  ];

  test('of TCP', () => {
    const offload = new SoftwareOffload();
    fc.assert(
      fc.property(large, (given) => {
        const { where, header, partial, padding } = given;
        const parts = cut(payloadOf(given), given.size);
        const expected = parts.map((part, i) => {
          const last = i === parts.length - 1;
          const flags = header.flags & (last ? 0xff : ~0x09) & (i === 0 ? 0xff : ~0x80);
          const seq = (header.seq + i * given.size) % 2 ** 32;
          return show(
            tcpFrame({ ...where, id: ((where.id ?? 0) + i) & 0xffff }, { ...header, seq, flags }, part),
          );
        });
        const whole = padded(tcpFrame(where, header, payloadOf(given), partial), padding);
        const meta = metaOf(tcpMeta(where, given.size), partial);
        expect(frames(offload, packetInPieces(whole, [1448, 4096], meta))).toEqual(expected);
      }),
      { numRuns: 150 },
    );
    expect(offload.counters.malformed).toBe(0);
  });

  test('of UDP', () => {
    const offload = new SoftwareOffload();
    fc.assert(
      fc.property(large, (given) => {
        const { where, partial, padding } = given;
        const expected = cut(payloadOf(given), given.size).map((part, i) =>
          show(udpFrame({ ...where, id: ((where.id ?? 0) + i) & 0xffff }, part)),
        );
        const whole = padded(udpFrame(where, payloadOf(given), partial), padding);
        const meta = metaOf(udpMeta(where, GSO.UDP_L4, given.size), partial);
        expect(frames(offload, packetInPieces(whole, [1448, 4096], meta))).toEqual(expected);
      }),
      { numRuns: 150 },
    );
    expect(offload.counters.malformed).toBe(0);
  });

  test('of UDP in IPv4 fragments; none where not even the header fits into one', () => {
    const offload = new SoftwareOffload();
    let refused = 0;
    fc.assert(
      fc.property(large, ipv4, (given, where) => {
        const { partial, padding } = given;
        const step = given.size - (given.size % 8);
        const whole = padded(udpFrame(where, payloadOf(given), partial), padding);
        const packet = packetInPieces(
          whole,
          [1448, 4096],
          metaOf(udpMeta(where, GSO.UDP, given.size), partial),
        );
        if (step < 8) {
          refused++;
          expect(frames(offload, packet)).toEqual([]);
          return;
        }
        const parts = cut(udpBody(where, payloadOf(given)), step);
        const expected = parts.map((part, i) => {
          const more = i === parts.length - 1 ? 0 : 0x2000;
          return show(ipFrame({ ...where, flags: (where.flags ?? 0) | more | ((i * step) / 8) }, 17, part));
        });
        expect(frames(offload, packet)).toEqual(expected);
      }),
      { numRuns: 150 },
    );
    expect(offload.counters.malformed).toBe(refused);
  });
});

describe('a checksum that is there already', () => {
  test('is what those of the parts are made from: right, if it was', () => {
    const kinds = fc.constantFrom('tcp', 'udp', 'fragments');
    fc.assert(
      fc.property(
        ip,
        kinds,
        bytes(1, 3000),
        fc.integer({ min: 128, max: 1500 }),
        pieces,
        (where, kind, payload, size, sizes) => {
          const make = (partial: boolean): number[] =>
            kind === 'tcp'
              ? tcpFrame(where, { seq: 1, flags: 0x18 }, payload, partial)
              : udpFrame(where, payload, partial);
          const type = kind === 'udp' ? GSO.UDP_L4 : GSO.UDP;
          const meta = kind === 'tcp' ? tcpMeta(where, size) : udpMeta(where, type, size);
          const expected = frames(new SoftwareOffload(), packetInPieces(make(true), sizes, meta));
          const complete = { ...meta, flags: 0, csumStart: 0, csumOffset: 0 };
          expect(frames(new SoftwareOffload(), packetInPieces(make(false), sizes, complete))).toEqual(
            expected,
          );
        },
      ),
    );
  });

  test('and wrong, if it was not', () => {
    const where: Ip = { version: 4, src: [10, 0, 0, 1], dst: [10, 0, 0, 2] };
    const frame = tcpFrame(where, { seq: 1, flags: 0x18 }, Array(300).fill(7));
    const meta = { ...tcpMeta(where, 100), flags: 0 };
    const sums = (bytes: readonly number[]): number[] =>
      frames(new SoftwareOffload(), packetOf(bytes, meta)).map((text) => {
        const segment = [...fromHex(text).subarray(34)];
        return internetChecksum([...where.src, ...where.dst, 0, 6, ...be16(segment.length), ...segment]);
      });
    expect(sums(frame)).toEqual([0, 0, 0]);
    // a byte has changed on its way to us
    expect(sums(frame.with(200, 8))).not.toContain(0);
  });
});

describe('what is not so', () => {
  const where: Ip = { version: 4, src: [10, 0, 0, 1], dst: [10, 0, 0, 2], id: 7 };
  const where6: Ip = {
    version: 6,
    src: [...be32(1), ...be32(2), ...be32(3), ...be32(4)],
    dst: Array(16).fill(9),
  };
  const header: Tcp = { seq: 1, flags: 0x18 };
  const payload = Array.from({ length: 500 }, (_, i) => i & 0xff);
  const good = tcpFrame(where, header, payload, true);
  const good6 = tcpFrame(where6, header, payload, true);
  const with6 = (extensions: Ip['extensions']): number[] =>
    tcpFrame({ ...where6, ...(extensions && { extensions }) }, header, payload, true);
  const patched = (frame: readonly number[], at: number, ...values: number[]): number[] =>
    frame.with(at, values[0] ?? 0);
  const meta = tcpMeta(where, 100);
  const meta6 = tcpMeta(where6, 100);
  const udp = udpFrame(where, payload, true);
  const cases: readonly (readonly [string, readonly number[], Partial<PacketMeta>])[] = [
    ['a runt', good.slice(0, 13), {}],
    ['an unknown kind of segmentation', good, { ...meta, gsoType: 2 }],
    ['ECN of nothing', good, { ...meta, gsoType: GSO.ECN }],
    ['segments of 0 bytes', good, { ...meta, gsoSize: 0 }],
    [
      'more segments than anybody makes',
      tcpFrame(where, header, Array(5000).fill(1), true),
      { ...meta, gsoSize: 2 },
    ],
    [
      'UDP segmentation without any checksum',
      udp.with(40, 0).with(41, 0),
      { ...udpMeta(where, GSO.UDP_L4, 100), flags: 0 },
    ],
    ['csum_start behind the frame', good, { ...meta, gsoType: 0, csumStart: 0xffff }],
    ['csum_offset behind the frame', good, { ...meta, gsoType: 0, csumOffset: 0xfff0 }],
    [
      'a checksum that is half in the frame',
      good,
      { ...meta, gsoType: 0, csumStart: good.length - 3, csumOffset: 2 },
    ],
    ['csum_start somewhere else', good, { ...meta, csumStart: 20 }],
    ['csum_offset somewhere else', good, { ...meta, csumOffset: 6 }],
    ['IPv6 in IPv4', good, { ...meta, gsoType: GSO.TCPV6 }],
    ['IPv4 in IPv6', good6, { ...meta6, gsoType: GSO.TCPV4 }],
    ['UDP that is TCP', good, { ...meta, gsoType: GSO.UDP_L4, csumOffset: 6 }],
    ['TCP that is UDP', udp, meta],
    ['another protocol', patched(good, 13, 6), meta],
    ['version 5', patched(good, 14, 0x55), meta],
    ['a header of 16 bytes', patched(good, 14, 0x44), meta],
    [
      'options behind the end',
      good.slice(0, 40),
      { ...meta, gsoType: GSO.TCPV4, csumStart: 34, csumOffset: 4 },
    ],
    ['an IP header that is cut off', good.slice(0, 30), { ...meta, csumStart: 26, csumOffset: 2 }],
    ['a length behind the end', patched(good, 16, 0xff), meta],
    ['a length in front of the payload', patched(patched(good, 16, 0), 17, 30), meta],
    ['a fragment', patched(good, 20, 0x20), meta],
    ['a TCP header of 16 bytes', patched(good, 46, 0x40), meta],
    ['TCP options behind the end', tcpFrame(where, header, [], true).with(46, 0xf0), meta],
    ['fragments of 7 bytes', udp, { ...udpMeta(where, GSO.UDP, 7) }],
    ['version 4 in IPv6', patched(good6, 14, 0x45), meta6],
    ['an IPv6 length behind the end', patched(good6, 18, 0xff), meta6],
    [
      'a jumbogram',
      with6([[0, [0, 0xc2, 4, 0, 1, 0, 0]]])
        .with(18, 0)
        .with(19, 0),
      { ...meta6, csumStart: 62 },
    ],
    ['a fragment header', with6([[44, [0, 0, 0, 0, 0, 0, 1]]]), { ...meta6, csumStart: 62 }],
    ['an authentication header', with6([[51, [4, 0, 0, 0, 0, 0, 1]]]), { ...meta6, csumStart: 62 }],
    [
      'extension headers without end',
      with6([[0, [255, ...Array(2046).fill(0)]]]),
      { ...meta6, csumStart: 2102 },
    ],
    [
      'an extension header behind the end',
      with6([[60, [99, 0, 0, 0, 0, 0, 0]]]),
      { ...meta6, csumStart: 62 },
    ],
    ['ARP', ipFrame(where, 6, payload).with(12, 8).with(13, 6), meta],
  ];

  test.each(cases)('%s', (_, frame, wrong) => {
    const offload = new SoftwareOffload();
    expect(offload.open(packetOf(frame, wrong))).toBe(0);
    expect(offload.counters).toMatchObject({ malformed: 1, segmented: 0, plain: 0, checksums: 0 });
    expect([offload.left, offload.total, offload.length]).toEqual([0, 0, 0]);
    expect(() => offload.write(new Uint8Array(2000))).toThrow(/no frame is left/);
    // and it goes on
    expect(frames(offload, packetOf(good, meta))).toHaveLength(5);
  });

  test('a UDP tunnel is counted apart', () => {
    const offload = new SoftwareOffload();
    expect(offload.open(packetOf(good, { ...meta, gsoType: GSO.TCPV4 | GSO.UDP_TUNNEL_IPV4 }))).toBe(0);
    expect(offload.counters).toMatchObject({ unsupported: 1, malformed: 0 });
  });

  test('hdr_len may be anything, and padding is left behind', () => {
    const offload = new SoftwareOffload();
    const expected = frames(offload, packetOf(good, meta));
    for (const hdrLen of [0, 1, 54, 0xffff]) {
      const packet = packetOf([...good, 1, 2, 3], { ...meta, hdrLen });
      expect(frames(offload, packet)).toEqual(expected);
    }
    // a length that is left to the device
    expect(frames(offload, packetOf(good.with(16, 0).with(17, 0), meta))).toEqual(expected);
  });

  test('no header makes it throw, or write more than it said', () => {
    const offload = new SoftwareOffload();
    const numbers = fc.oneof(fc.nat(0xffff), fc.constantFrom(0, 1, 34, 54, 8, 100));
    const wild = fc.record({
      flags: fc.nat(255),
      gsoType: fc.oneof(fc.nat(255), fc.constantFrom<number>(...Object.values(GSO))),
      hdrLen: numbers,
      gsoSize: numbers,
      csumStart: numbers,
      csumOffset: fc.oneof(numbers, fc.constantFrom(6, 16)),
    });
    const base = fc.constantFrom(good, good6, udp, with6([[0, [0, 1, 4, 0, 0, 0, 0]]]));
    const changes = fc.array(fc.tuple(fc.nat(90), fc.nat(255)), { maxLength: 4 });
    const lengths = fc.nat(700);
    fc.assert(
      fc.property(base, changes, lengths, wild, pieces, (frame, edits, length, lies, sizes) => {
        const broken = edits.reduce(
          (sum, [at, value]) => (at < sum.length ? sum.with(at, value) : sum),
          [...frame],
        );
        const packet = packetInPieces(broken.slice(0, length), sizes, lies);
        expect(frames(offload, packet).length).toBeLessThanOrEqual(2048);
      }),
      { numRuns: 2000 },
    );
  });

  test('the host is told when there is no room', () => {
    const offload = new SoftwareOffload();
    offload.open(packetOf(good));
    expect(() => offload.write(new Uint8Array(100), 1)).toThrow(
      `a frame of ${good.length} bytes does not fit at 1 of 100`,
    );
    offload.close();
    expect(offload.left).toBe(0);
  });
});
