// What real streams do not show: other layouts of the same state, states that contradict themselves, damage.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { TransportParts, VirtioCodec, VirtioState } from '@virtkit/core';
import {
  type BalloonState,
  balloonState,
  type ConsoleState,
  gpu,
  type IommuState,
  input,
  iommuState,
  memState,
  ninep,
  otherDevices,
  scsi,
} from '@virtkit/device-states';
import { decodeVirtio, findVirtio, parseStream } from '@virtkit/migration';
import { ccw } from '@virtkit/transport-ccw';
import { mmio } from '@virtkit/transport-mmio';
import { pci } from '@virtkit/transport-pci';
import { Reader, StateError, Writer } from '@virtkit/vmstate';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

const registry = { transports: [pci, ccw, mmio], devices: otherDevices };

interface Found<D> {
  readonly codec: VirtioCodec<TransportParts, unknown>;
  readonly state: VirtioState<TransportParts, D>;
}

/** A device of a stream of the laboratory. */
function fromStream<D>(stream: string, name: string): Found<D> {
  const bytes = gunzipSync(readFileSync(new URL(`../../../lab/streams/${stream}.mig.gz`, import.meta.url)));
  for (const section of parseStream(bytes).sections) {
    const device = findVirtio(section, registry);
    if (device?.name !== name) continue;
    return { codec: device.codec, state: decodeVirtio(device).state as Found<D>['state'] };
  }
  throw new Error(`no ${name} in ${stream}`);
}

/** The device part after bytes and JSON and back. */
function carried<D>({ codec, state }: Found<D>, device: D): unknown {
  const changed = { ...state, device };
  const fromBytes = codec.load(codec.encode(changed)).device;
  expect(codec.load(codec.encode(codec.fromJSON(codec.toJSON(changed)))).device).toEqual(fromBytes);
  return fromBytes;
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof StateError) return error.code;
    throw error;
  }
  return 'no error';
}

const THROTTLED = '7.2.22/q72-pc-port-throttled';
const OTHERS = '7.2.22/q72-q35-others-io';

describe('a console', () => {
  const found = fromStream<ConsoleState>(THROTTLED, 'virtio-console');
  const [port] = found.state.device.ports;
  if (port?.buffer == null) throw new Error('the port is not throttled');
  const { buffer } = port;
  const withBuffer = (change: object): ConsoleState => ({
    ...found.state.device,
    ports: [{ ...port, buffer: { ...buffer, ...change } }],
  });

  test.each([
    ['as it is', {}],
    ['ring slots in front, as QEMU writes them', { ndescs: 3, ndescsPlace: 'before' }],
    ['ring slots behind, as QEMU reads them', { ndescs: 3, ndescsPlace: 'after' }],
    ['of a big-endian host', { byteOrder: 'big' }],
    ['of a big-endian host, ring slots in front', { byteOrder: 'big', ndescs: 1, ndescsPlace: 'before' }],
  ])('a half-written buffer: %s', (_what, change) => {
    const changed = withBuffer(change);
    expect(carried(found, changed)).toEqual(changed);
  });

  test('several ports, of which some have a buffer', () => {
    const changed: ConsoleState = {
      ...found.state.device,
      portsMap: [0xffffffff, 0x80000000],
      nrActivePorts: 3,
      ports: [
        { ...port, id: 63 },
        { ...port, id: 0, buffer: null },
        { ...port, id: 31 },
      ],
    };
    expect(carried(found, changed)).toEqual(changed);
    expect(found.codec.check({ ...found.state, device: changed })).toEqual([]);
  });

  test.each<[string, Partial<ConsoleState>, string]>([
    ['a port that is not in the map', { ports: [{ ...port, id: 7 }] }, 'port-unknown'],
    ['a port twice', { nrActivePorts: 2, ports: [port, port] }, 'port-twice'],
    ['behind the last segment', { ports: [{ ...port, buffer: { ...buffer, iovIdx: 1 } }] }, 'port-buffer'],
  ])('%s: found', (_what, change, code) => {
    const device = { ...found.state.device, ...change };
    expect(found.codec.check({ ...found.state, device }).map((finding) => finding.code)).toEqual([code]);
  });

  test.each([
    ['a byte order that is none', { byteOrder: 'middle' }],
    ['a place that is none', { ndescs: 1, ndescsPlace: 'beside' }],
    ['no ring slots', { ndescs: 0, ndescsPlace: 'before' }],
  ])('JSON with %s', (_what, change) => {
    const json = found.codec.toJSON({ ...found.state, device: withBuffer({}) }) as unknown as {
      readonly device: { readonly ports: { buffer: object }[] };
    };
    const [first] = json.device.ports;
    if (first !== undefined) first.buffer = { ...first.buffer, ...change };
    expect(codeOf(() => found.codec.fromJSON(json as never))).toMatch(/json|value/);
  });
});

test('a balloon with hints and poison, without, and with one of them', () => {
  const found = fromStream<BalloonState>('7.2.22/q72-q35-balloon-io', 'virtio-balloon');
  expect(found.state.device).toEqual({
    numPages: 2048,
    actual: 2048,
    freePageReport: { freePageHintCmdId: 0x80000000, freePageHintStatus: 3 },
    pagePoison: { poisonVal: 0 },
  });
  const { numPages, actual, pagePoison = { poisonVal: 0 } } = found.state.device;
  for (const device of [
    { numPages, actual },
    { numPages, actual, pagePoison },
  ])
    expect(carried(found, device)).toEqual(device);
  expect(codeOf(() => balloonState.decode(new Reader(new Uint8Array(7)), undefined))).toBe('truncated');
});

describe('an IOMMU', () => {
  const found = fromStream<IommuState>('10.0.13/q100-q35-iommu-io', 'virtio-iommu');

  test('has a domain for each device of the guest, with what is mapped', () => {
    const { domains } = found.state.device;
    expect(domains.map(({ endpoints }) => endpoints)).toEqual([[{ id: 8 }], [{ id: 16 }]]);
    for (const { key, id, mappings, bypass } of domains) {
      expect([Number(key), bypass]).toEqual([id, false]);
      expect(mappings.length).toBeGreaterThan(2);
      for (const { low, high, physAddr, flags } of mappings) {
        expect(high - low + 1n).toBeGreaterThanOrEqual(4096n);
        // in the 128 MiB of the guest, or the window of MSI
        expect(physAddr < 128n << 20n || physAddr >> 20n === 0xfeen).toBe(true);
        expect(flags & 7).toBeGreaterThan(0);
      }
    }
  });

  test('of QEMU before 7.0: the same without what passes unchanged', () => {
    const domains = found.state.device.domains.map(({ bypass: _bypass, ...domain }) => domain);
    expect(carried(found, { domains })).toEqual({ domains });
    expect(carried(found, { domains: [] })).toEqual({ domains: [] });
  });

  test('with more or fewer nodes than it says', () => {
    const writer = new Writer();
    iommuState.encode(writer, { domains: [], bypass: 1 }, { bypass: true });
    const bytes = writer.finish();
    bytes[3] = 1;
    expect(codeOf(() => iommuState.decode(new Reader(bytes), { bypass: true }))).toBe('count');
  });
});

test('memory with more blocks than there are bytes is refused before they are looked for', () => {
  const bytes = new Uint8Array(64);
  // region of 2^63 bytes in blocks of 1
  bytes[8] = 0x80;
  bytes[23] = 1;
  expect(codeOf(() => memState.decode(new Reader(bytes), { whole: true }))).toMatch(/truncated|count/);
});

describe('a GPU', () => {
  test.each([
    ['7.2.22/q72-q35-gpu-io', 40],
    ['11.1.2/q111-q35-gpu-io', 64],
  ])('%s: its pictures and outputs', (stream, scanoutBytes) => {
    const { rest } = fromStream(stream, 'virtio-gpu').state;
    if (rest === undefined) throw new Error('nothing stands behind it');
    const described = gpu.describeRest?.(rest) as {
      readonly resources: readonly { readonly iov: readonly { readonly len: number }[] }[];
    };
    const [resource] = described.resources;
    expect(resource).toMatchObject({ resourceId: 2, width: 1280, height: 800, imageBytes: 4 * 1280 * 800 });
    // the guest's memory behind the picture, which Linux has made for 1280 × 800
    expect(resource?.iov.reduce((sum, { len }) => sum + len, 0)).toBe(4 * 1280 * 800);
    const scanouts = [{ resourceId: 2, width: 1280, height: 800, x: 0, y: 0 }];
    expect(described).toMatchObject({ enable: 1, scanouts });
    expect(described).not.toHaveProperty('moreBytes');
    const cut = rest.subarray(0, rest.length - scanoutBytes + 39);
    expect(gpu.describeRest?.(cut)).toBeUndefined();
  });
});

describe('configuration spaces', () => {
  const configOf = (name: string): Uint8Array => fromStream(OTHERS, name).state.config;

  test('by the names of the specification', () => {
    expect(scsi.describeConfig?.(configOf('virtio-scsi'), 'little')).toMatchObject({
      numQueues: 2,
      segMax: 254,
      maxTarget: 255,
      maxLun: 16383,
    });
    expect(ninep.describeConfig?.(Uint8Array.of(0, 3, 0x6c, 0x61, 0x62), 'big')).toEqual({
      tagLen: 3,
      tag: 'lab',
    });
  });

  test('as far as the bytes go', () => {
    for (const device of otherDevices)
      for (const length of [0, 1, 5, 11])
        expect(() => device.describeConfig?.(new Uint8Array(length), 'little')).not.toThrow();
    expect(input.describeConfig?.(Uint8Array.of(1, 2), 'little')).toEqual({ select: 1, subsel: 2 });
  });
});

describe('damaged states', () => {
  const samples = [
    [THROTTLED, 'virtio-console'],
    ['11.1.2/q111-pc-port-throttled-packed', 'virtio-console'],
    ['7.2.22/q72-q35-balloon-io', 'virtio-balloon'],
    ['10.0.13/q100-q35-iommu-io', 'virtio-iommu'],
    ['7.2.22/q72-q35-virtiomem-io', 'virtio-mem'],
    ['11.1.2/q111-q35-others-io', 'virtio-gpu'],
  ] as const;

  test.each(samples)(
    '%s, %s: an error of ours, or a state that is written and read again',
    (stream, name) => {
      const { codec, state } = fromStream(stream, name);
      const body = codec.encode(state);
      // the device's own part is what core's subsections stand behind
      const end = body.findIndex((_, at) => body[at] === 5 && body[at + 2] === 0x76 && body[at + 8] === 0x2f);
      const own = codec.device.saveDevice(state.device);
      const writer = new Writer();
      own.encode(writer, state.device, undefined);
      const start = end - writer.finish().length;
      const byte = fc.tuple(
        fc.integer({ min: start, max: name === 'virtio-gpu' ? body.length - 1 : end - 1 }),
        fc.nat(255),
      );
      fc.assert(
        fc.property(fc.array(byte, { minLength: 1, maxLength: 6 }), (writes) => {
          const changed = body.slice();
          for (const [at, value] of writes) changed[at] = value;
          try {
            const loaded = codec.decode(changed);
            if (loaded.rest !== undefined) codec.device.describeRest?.(loaded.rest);
            const written = codec.encode(loaded);
            expect(Buffer.compare(codec.encode(codec.decode(written)), written)).toBe(0);
          } catch (error) {
            if (!(error instanceof StateError)) throw error;
          }
        }),
        { numRuns: 300 },
      );
    },
  );

  test('behind a GPU: any bytes', () => {
    const small = fc.integer({ min: 0, max: 3 }).map((value) => [0, 0, 0, value]);
    const word = fc.oneof(small, fc.array(fc.nat(255), { minLength: 4, maxLength: 4 }));
    fc.assert(
      fc.property(fc.array(word, { maxLength: 60 }), (words) => {
        expect(() => gpu.describeRest?.(Uint8Array.from(words.flat()))).not.toThrow();
      }),
      { numRuns: 1000 },
    );
  });
});
