/** Layers that nobody here wrote, inside a whole stream: the README of core says how they are made. */
import { type DeviceLayer, type TransportLayer, virtioDevice } from '@virtkit/core';
import { bytesFromJson, isStateError, nodeAt, u8, u32, vmstate, Writer } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import {
  acceptVirtio,
  decodeVirtio,
  findVirtio,
  parseStream,
  type Registry,
  type SectionHeader,
  StreamWriter,
} from '../src/index.ts';

const config = vmstate('mybus', 1).fields({ slot: u32 });
const queue = vmstate('mybus_queue', 1).fields({ line: u8 });
interface BusParts {
  readonly config: { readonly slot: number };
  readonly queue: { readonly line: number };
  readonly extra: never;
}
const bus: TransportLayer<BusParts> = {
  contract: 1,
  name: 'mybus',
  hasVariableVringAlignment: false,
  recognize: (input) => (input.remaining >= 4 ? { confidence: 'possible' } : undefined),
  config,
  queue: () => queue,
};
const lamp = vmstate('virtio-lamp-device', 1).fields({ brightness: u8 });
const device: DeviceLayer<{ readonly brightness: number }> = {
  contract: 1,
  name: 'virtio-lamp',
  version: 1,
  minimum: 1,
  features: { 0: 'VIRTIO_LAMP_F_DIM' },
  loadDevice: () => [lamp],
  saveDevice: () => lamp,
};
const lampOnBus = virtioDevice(bus, device);
const state: ReturnType<typeof lampOnBus.decode> = {
  transport: { slot: 5 },
  status: 7,
  isr: 0,
  queueSel: 0,
  guestFeatures: 1,
  // bytes that look like the footer of the section, in a place that the guest can write
  config: Uint8Array.of(0x7e, 0, 0, 0, 12, 0),
  queues: [{ num: 64, desc: 0x1000n, lastAvailIdx: 3, transport: { line: 2 } }],
  device: { brightness: 200 },
  subsections: { started: true },
};

/** A stream with RAM, the device, and a section that nobody knows. */
function stream(body: Uint8Array): Uint8Array {
  const out = new Writer();
  const writer = new StreamWriter((bytes, start, end) => out.raw(bytes.subarray(start, end)));
  const header = (kind: SectionHeader['kind'], id: number, idstr: string, versionId: number) => ({
    kind,
    id,
    idstr,
    instanceId: 0,
    versionId,
    offset: 0,
  });
  writer.header(3);
  writer.configuration({ name: 'elsewhere-1.0' });
  for (const kind of ['start', 'end'] as const) {
    writer.section(header(kind, 2, 'ram', 4));
    if (kind === 'start') {
      writer.ramSize(4096n);
      writer.ramBlock({ name: 'ram', length: 4096 });
    }
    writer.ramMark(0x10, 0);
    writer.footer(2);
  }
  for (const [id, idstr, bytes] of [
    [12, 'slot5/virtio-lamp', body],
    [13, 'kettle', bytesFromJson('00ff7e')],
  ] as const) {
    writer.section(header('full', id, idstr, 1));
    writer.body(bytes);
    writer.footer(id);
  }
  writer.eof();
  return out.finish();
}

describe('a transport and a device type from outside, in a stream', () => {
  const registry: Registry = { transports: [bus as TransportLayer], devices: [device as DeviceLayer] };
  const bytes = stream(lampOnBus.encode(state));

  test('are found, decoded with their names, and not fooled by a footer inside', () => {
    const { sections, complete } = parseStream(bytes, { accepts: acceptVirtio(registry) });
    expect(complete).toBe(true);
    expect(sections.map(({ header, body }) => [header.idstr, body.length])).toEqual([
      ['slot5/virtio-lamp', lampOnBus.encode(state).length],
      ['kettle', 3],
    ]);
    const [first, second] = sections;
    if (first === undefined || second === undefined) throw new Error('two sections expected');
    const found = findVirtio(first, registry);
    expect(findVirtio(second, registry)).toBeUndefined();
    if (found === undefined) throw new Error('no device found');
    expect(found).toMatchObject({ name: 'virtio-lamp', path: 'slot5', known: true });
    const decoded = decodeVirtio(found);
    expect(decoded.state).toEqual(state);
    expect(found.codec.encode(decoded.state)).toEqual(first.body);
    const node = nodeAt(decoded.root, 'queues[0].transport.line');
    expect(bytes[node?.start ?? 0]).toBe(2);
  });

  test('are named in errors', () => {
    const cut = { ...state, subsections: {} };
    const body = lampOnBus.encode(cut);
    const { sections } = parseStream(stream(body.subarray(0, -1)), { accepts: acceptVirtio(registry) });
    const found = sections[0] && findVirtio(sections[0], registry);
    if (found === undefined) throw new Error('no device found');
    try {
      decodeVirtio(found);
      expect.unreachable();
    } catch (error) {
      if (!isStateError(error)) throw error;
      expect(error).toMatchObject({
        code: 'truncated',
        layer: 'device',
        path: 'virtio-lamp@slot5 / device.brightness',
        offset: found.section.offset + body.length - 1,
      });
    }
  });
});
