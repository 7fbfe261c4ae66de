// The saved state of one device: each codec there is, and the live device that takes it.
import { MappedMemory, virtioDevice } from '@virtkit/core';
import type { ConnectedType } from '@virtkit/core/qemu';
import { findVirtio, type VirtioDevice } from '@virtkit/migration';
import { liveDevice } from '@virtkit/visit';
import type { Json } from '@virtkit/vmstate';
import { registry } from '../../../cli/src/registry.ts';
import { demand, type FuzzTarget, sameBytes, stableEncoding, unlessRefused } from '../target.ts';
import { realSections } from './corpus-streams.ts';

const codecs = registry.transports.flatMap((transport) =>
  registry.devices.map((device) => virtioDevice(transport, device)),
);
/** Every type that can be live, with something behind it that holds nothing. */
const types: readonly ConnectedType[] = registry.types.flatMap(({ layer, live, requests }) =>
  live === undefined
    ? []
    : [
        {
          name: layer.name,
          requests,
          make: (_title, state) => live.make(live.unconnected(live.infer(state))),
        },
      ],
);
const MEMORY_BYTES = 1 << 20;
const memory = new Uint8Array(MEMORY_BYTES);

/** A device that restores the state must save the same bytes, now and after it has gone on. */
function restore(device: VirtioDevice, state: ReturnType<VirtioDevice['codec']['decode']>): void {
  memory.fill(0);
  const live = unlessRefused(() =>
    liveDevice(device, state, types, {
      memory: new MappedMemory([{ gpa: 0, bytes: memory }]),
      machine: 'pc-i440fx-7.2',
      targetEndian: 'little',
    }),
  );
  if (live === undefined) return;
  const saved = device.codec.encode(live.capture());
  const again = unlessRefused(() =>
    liveDevice(device, device.codec.decode(saved), types, {
      memory: new MappedMemory([{ gpa: 0, bytes: memory }]),
      machine: 'pc-i440fx-7.2',
      targetEndian: 'little',
    }),
  );
  demand(again !== undefined, 'a device refuses what one like it has saved');
  sameBytes(device.codec.encode(again.capture()), saved, 'saved by the second device');
  live.resume();
  again.resume();
  sameBytes(
    device.codec.encode(again.capture()),
    device.codec.encode(live.capture()),
    'saved after both had gone on',
  );
}

function run(input: Uint8Array): void {
  const codec = codecs[(input[0] ?? 0) % codecs.length];
  const body = input.slice(1);
  if (codec === undefined) return;
  const state = unlessRefused(() => codec.decode(body));
  if (state === undefined) return;
  stableEncoding(body, state, codec, codec.device.name);
  const json = JSON.parse(JSON.stringify(codec.toJSON(state))) as Json;
  sameBytes(codec.encode(codec.fromJSON(json)), codec.encode(state), `${codec.device.name} by way of JSON`);
  const findings = codec.check(state);
  const isLive = types.some((type) => type.name === codec.device.name);
  if (!isLive || findings.some(({ severity }) => severity === 'error')) return;
  const name = codec.device.name;
  const header = {
    kind: 'full',
    id: 1,
    idstr: `0000:00:02.0/${name}`,
    instanceId: 0,
    versionId: 1,
    offset: 0,
  } as const;
  restore({ section: { header, offset: 0, body }, path: '0000:00:02.0', name, codec, known: true }, state);
}

function* seeds(): Generator<Uint8Array> {
  for (const section of realSections()) {
    const device = findVirtio(section, registry);
    const index = codecs.findIndex(
      (codec) =>
        codec.transport.name === device?.codec.transport.name &&
        codec.device.name === device.codec.device.name,
    );
    if (index >= 0) yield Buffer.concat([Uint8Array.of(index), section.body]);
  }
}

export const section: FuzzTarget = {
  name: 'section',
  about: 'saved state of each device type on each transport, and live devices made from it',
  lengthMax: 1 << 15,
  run,
  seeds,
  words: [
    'virtio/64bit_features',
    'virtio/virtqueues',
    'virtio/ringsize',
    'virtio/broken',
    'virtio/started',
    'virtio/packed_virtqueues',
    'virtio/extra_state',
  ],
};
