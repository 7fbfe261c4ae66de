import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HASH_REPORT, HASH_TYPE, Rss } from '../src/live/rss.ts';
import { Toeplitz } from '../src/live/toeplitz.ts';
import { fromHex } from './machine.ts';

/** The secret key and the vectors of "Verifying the RSS Hash Calculation" (Microsoft's RSS specification). */
const KEY = fromHex(`6d5a56da255b0ec24167253d43a38fb0 d0ca2bcbae7b30b4 77cb2da38030f20c 6a42b73bbeac01fa`);

const V4: readonly (readonly [string, number, string, number, number, number])[] = [
  // source, port, destination, port, addresses only, with TCP ports
  ['66.9.149.187', 2794, '161.142.100.80', 1766, 0x323e8fc2, 0x51ccc178],
  ['199.92.111.2', 14230, '65.69.140.83', 4739, 0xd718262a, 0xc626b0ea],
  ['24.19.198.95', 12898, '12.22.207.184', 38024, 0xd2d0a5de, 0x5c2b394a],
  ['38.27.205.30', 48228, '209.142.163.6', 2217, 0x82989176, 0xafc7327f],
  ['153.39.163.191', 44251, '202.188.127.2', 1303, 0x5d1809c5, 0x10e828a2],
];

const V6: readonly (readonly [string, number, string, number, number, number])[] = [
  ['3ffe:2501:200:1fff::7', 2794, '3ffe:2501:200:3::1', 1766, 0x2cc18cd5, 0x40207d3d],
  ['3ffe:501:8::260:97ff:fe40:efab', 14230, 'ff02::1', 4739, 0x0f0c461c, 0xdde51bbf],
  ['3ffe:1900:4545:3:200:f8ff:fe21:67cf', 44251, 'fe80::200:f8ff:fe21:67cf', 38024, 0x4b61e985, 0x02d1feef],
];

function v4(text: string): number[] {
  return text.split('.').map(Number);
}

function v6(text: string): number[] {
  const [head = '', tail = ''] = text.split('::');
  const words = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((word) => Number.parseInt(word, 16));
  const [front, back] = [words(head), words(tail)];
  const zeros = text.includes('::') ? Array<number>(8 - front.length - back.length).fill(0) : [];
  return [...front, ...zeros, ...back].flatMap((word) => [word >> 8, word & 0xff]);
}

const port = (n: number): number[] => [n >> 8, n & 0xff];
const ETH = [...fromHex('525400123456525400000001')];

function packet4(
  source: number[],
  destination: number[],
  protocol: number,
  rest: number[],
  fragment = 0,
  options: readonly number[] = [],
): Uint8Array {
  const ip = [
    0x45 + options.length / 4,
    0,
    0,
    0,
    0,
    0,
    ...port(fragment),
    64,
    protocol,
    0,
    0,
    ...source,
    ...destination,
    ...options,
  ];
  return Uint8Array.from([...ETH, 8, 0, ...ip, ...rest, ...Array<number>(20).fill(0)]);
}

function packet6(source: number[], destination: number[], next: number, rest: number[]): Uint8Array {
  const ip = [0x60, 0, 0, 0, 0, 0, next, 64, ...source, ...destination];
  return Uint8Array.from([...ETH, 0x86, 0xdd, ...ip, ...rest, ...Array<number>(20).fill(0)]);
}

function rssWith(types: number): Rss {
  const rss = new Rss();
  rss.enabled = true;
  rss.populateHash = true;
  rss.hashTypes = types;
  rss.toeplitz.key.set(KEY);
  return rss;
}

describe("Microsoft's vectors", () => {
  test.each(V4)('%s:%i to %s:%i', (source, from, destination, to, plain, ports) => {
    const rss = rssWith(0x1ff);
    const tail = [...port(from), ...port(to)];
    rss.process(packet4(v4(source), v4(destination), 6, tail));
    expect([rss.report, rss.hash]).toEqual([HASH_REPORT.TCPv4, ports]);
    rss.process(packet4(v4(source), v4(destination), 17, tail));
    expect([rss.report, rss.hash]).toEqual([HASH_REPORT.UDPv4, ports]);
    rss.process(packet4(v4(source), v4(destination), 1, tail));
    expect([rss.report, rss.hash]).toEqual([HASH_REPORT.IPv4, plain]);
    rss.process(packet4(v4(source), v4(destination), 6, tail, 0x2000));
    expect([rss.report, rss.hash]).toEqual([HASH_REPORT.IPv4, plain]);
    rss.process(packet4(v4(source), v4(destination), 6, tail, 1));
    expect([rss.report, rss.hash]).toEqual([HASH_REPORT.IPv4, plain]);
  });

  test.each(V4)(
    '%s:%i to %s:%i, behind IPv4 options of any length',
    (source, from, destination, to, plain, ports) => {
      const tail = [...port(from), ...port(to)];
      for (let words = 1; words <= 10; words++) {
        // a record of the route, with what looks like ports
        const options = [7, 4 * words - 1, 4, ...Array<number>(4 * words - 3).fill(0x50)];
        for (const [protocol, report] of [
          [6, HASH_REPORT.TCPv4],
          [17, HASH_REPORT.UDPv4],
        ] as const) {
          const rss = rssWith(0x1ff);
          rss.process(packet4(v4(source), v4(destination), protocol, tail, 0, options));
          expect([rss.report, rss.hash]).toEqual([report, ports]);
          const addresses = rssWith(HASH_TYPE.IPv4);
          addresses.process(packet4(v4(source), v4(destination), protocol, tail, 0, options));
          expect([addresses.report, addresses.hash]).toEqual([HASH_REPORT.IPv4, plain]);
        }
      }
    },
  );

  test.each(V6)('%s:%i to %s:%i, behind extension headers', (source, from, destination, to, plain, ports) => {
    const tail = [...port(from), ...port(to)];
    // hop-by-hop, and destination options of 8 and 24 bytes: padding
    for (const [kind, units] of [
      [0, 0],
      [60, 0],
      [0, 2],
      [60, 2],
    ] as const) {
      const header = (next: number): number[] => [
        next,
        units,
        1,
        4 + 8 * units,
        ...Array<number>(4 + 8 * units).fill(0),
      ];
      for (const [next, plainReport, extendedReport] of [
        [6, HASH_REPORT.TCPv6, HASH_REPORT.TCPv6_EX],
        [17, HASH_REPORT.UDPv6, HASH_REPORT.UDPv6_EX],
      ] as const) {
        const frame = packet6(v6(source), v6(destination), kind, [...header(next), ...tail]);
        const rss = rssWith(HASH_TYPE.IPv6 | HASH_TYPE.TCPv6 | HASH_TYPE.UDPv6);
        rss.process(frame);
        expect([rss.report, rss.hash]).toEqual([plainReport, ports]);
        const extended = rssWith(0x1ff);
        extended.process(frame);
        expect([extended.report, extended.hash]).toEqual([extendedReport, ports]);
        const addresses = rssWith(HASH_TYPE.IPv6);
        addresses.process(frame);
        expect([addresses.report, addresses.hash]).toEqual([HASH_REPORT.IPv6, plain]);
      }
    }
  });

  test.each(V6)('%s:%i to %s:%i', (source, from, destination, to, plain, ports) => {
    const tail = [...port(from), ...port(to)];
    const plainTypes = rssWith(HASH_TYPE.IPv6 | HASH_TYPE.TCPv6 | HASH_TYPE.UDPv6);
    plainTypes.process(packet6(v6(source), v6(destination), 6, tail));
    expect([plainTypes.report, plainTypes.hash]).toEqual([HASH_REPORT.TCPv6, ports]);
    plainTypes.process(packet6(v6(source), v6(destination), 17, tail));
    expect([plainTypes.report, plainTypes.hash]).toEqual([HASH_REPORT.UDPv6, ports]);
    plainTypes.process(packet6(v6(source), v6(destination), 58, tail));
    expect([plainTypes.report, plainTypes.hash]).toEqual([HASH_REPORT.IPv6, plain]);
    // without extension headers, the extended types hash the same
    const extended = rssWith(0x1ff);
    extended.process(packet6(v6(source), v6(destination), 6, tail));
    expect([extended.report, extended.hash]).toEqual([HASH_REPORT.TCPv6_EX, ports]);
    extended.process(packet6(v6(source), v6(destination), 58, tail));
    expect([extended.report, extended.hash]).toEqual([HASH_REPORT.IPv6_EX, plain]);
  });
});

describe('extension headers', () => {
  const [source, from, destination, to, plain, ports] = V6[0] as (typeof V6)[number];
  const [home, care] = [v6(source), v6('2001:db8::1')];
  const [last, hop] = [v6(destination), v6('2001:db8::2')];
  const tail = [...port(from), ...port(to)];
  // destination options: pad, home address; routing header type 2, one segment left
  const options = [43, 2, 1, 2, 0, 0, 201, 16, ...home];
  const routing = [6, 2, 2, 1, 0, 0, 0, 0, ...last];

  test('home address and routing header give the addresses', () => {
    const rss = rssWith(0x1ff);
    rss.process(packet6(care, hop, 60, [...options, ...routing, ...tail]));
    expect([rss.report, rss.hash]).toEqual([HASH_REPORT.TCPv6_EX, ports]);
    const ip = rssWith(HASH_TYPE.IP_EX);
    ip.process(packet6(care, hop, 60, [...options, ...routing, ...tail]));
    expect([ip.report, ip.hash]).toEqual([HASH_REPORT.IPv6_EX, plain]);
  });

  test('but not for the types without', () => {
    const rss = rssWith(HASH_TYPE.IPv6);
    rss.process(packet6(care, hop, 60, [...options, ...routing, ...tail]));
    const same = rssWith(HASH_TYPE.IPv6);
    same.process(packet6(care, hop, 58, []));
    expect(rss.hash).toBe(same.hash);
    expect(rss.report).toBe(HASH_REPORT.IPv6);
  });

  test('a fragment has no ports', () => {
    const rss = rssWith(0x1ff);
    rss.process(packet6(v6(source), v6(destination), 44, [6, 0, 0, 1, 0, 0, 0, 1, ...tail]));
    expect([rss.report, rss.hash]).toEqual([HASH_REPORT.IPv6_EX, plain]);
  });
});

describe('what is hashed', () => {
  const tail = [...port(1), ...port(2)];
  const tcp4 = packet4([1, 2, 3, 4], [5, 6, 7, 8], 6, tail);
  const tcp6 = packet6(v6('::1'), v6('::2'), 6, tail);
  test.each<[string, Uint8Array, number, number]>([
    ['nothing enabled', tcp4, 0, HASH_REPORT.NONE],
    ['IPv4 off', tcp4, 0x1ff & ~7, HASH_REPORT.NONE],
    ['IPv6 off', tcp6, 7, HASH_REPORT.NONE],
    ['TCP falls back to IP', tcp4, HASH_TYPE.IPv4 | HASH_TYPE.UDPv4, HASH_REPORT.IPv4],
    ['TCP alone', tcp4, HASH_TYPE.TCPv4, HASH_REPORT.TCPv4],
    ['ARP', Uint8Array.from([...ETH, 8, 6, ...Array<number>(46).fill(0)]), 0x1ff, HASH_REPORT.NONE],
    [
      'a VLAN tag before IPv4',
      Uint8Array.from([...ETH, 0x81, 0, 0, 5, ...tcp4.slice(12)]),
      0x1ff,
      HASH_REPORT.TCPv4,
    ],
    [
      'two tags',
      Uint8Array.from([...ETH, 0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, ...tcp4.slice(12)]),
      0x1ff,
      HASH_REPORT.TCPv4,
    ],
    ['cut in the IPv4 header', tcp4.slice(0, 33), 0x1ff, HASH_REPORT.NONE],
    ['cut in the TCP header', tcp4.slice(0, 40), 0x1ff, HASH_REPORT.IPv4],
    ['an IP version that is none', Uint8Array.from([...tcp4].map((b, i) => (i === 14 ? 0x55 : b))), 0x1ff, 0],
  ])('%s', (_name, frame, types, report) => {
    const rss = rssWith(types);
    rss.process(frame);
    expect(rss.report).toBe(report);
    if (report === HASH_REPORT.NONE) expect(rss.hash).toBe(0);
  });

  test('any bytes at all, in bounded time', () => {
    const rss = rssWith(0x1ff);
    rss.redirect = true;
    rss.indirectionsLen = 4;
    rss.table.set([3, 2, 1, 0]);
    rss.defaultQueue = 9;
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom(0x0800, 0x86dd, 0x8100),
        (bytes, type) => {
          if (bytes.length >= 14) bytes.set(port(type), 12);
          const queue = rss.process(bytes);
          expect(rss.report === 0 ? queue : (rss.table[rss.hash & 3] as number)).toBe(queue);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

test('table and definition agree', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 40, maxLength: 40 }),
      fc.uint8Array({ maxLength: 36 }),
      (key, input) => {
        const toeplitz = new Toeplitz();
        toeplitz.key.set(key);
        const bitAt = (bytes: Uint8Array, n: number): number => ((bytes[n >> 3] ?? 0) >> (7 - (n & 7))) & 1;
        let expected = 0;
        for (let n = 0; n < 8 * input.length; n++) {
          if (bitAt(input, n) === 0) continue;
          let window = 0;
          for (let i = 0; i < 32; i++) window = (window << 1) | bitAt(key, n + i);
          expected ^= window;
        }
        expect(toeplitz.add(0, 0, input, 0, input.length)).toBe(expected >>> 0);
      },
    ),
  );
});
