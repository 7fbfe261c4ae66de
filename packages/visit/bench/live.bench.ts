// Saving and loading live devices: capture, encode, decode, restore; beside copying the same bytes in a straight loop.
// One process, interleaved rounds, medians of processor time.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { VirtioState } from '@virtkit/core';
import { MappedMemory } from '@virtkit/core';
import { connect } from '@virtkit/core/qemu';
import { blk, memoryDisk } from '@virtkit/device-blk';
import { blkType } from '@virtkit/device-blk/type';
import { net } from '@virtkit/device-net';
import { netType } from '@virtkit/device-net/type';
import { decodeVirtio, findVirtio, machineEndian, parseStream, titleOf } from '@virtkit/migration';
import { ccw } from '@virtkit/transport-ccw';
import { mmio } from '@virtkit/transport-mmio';
import { pci } from '@virtkit/transport-pci';
import { liveDevice } from '@virtkit/visit';

const ROUNDS = 15;
const BATCH = 200;
const registry = { transports: [pci, ccw, mmio], devices: [blk, net] };
const TYPES = [
  connect(blkType).to((_title, inferred) => ({ ...inferred, backend: memoryDisk(1 << 20) })),
  connect(netType).to((_title, inferred) => ({ ...inferred, backend: { send: () => true } })),
];

function micros(run: () => void): number {
  const before = process.cpuUsage();
  for (let i = 0; i < BATCH; i++) run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / BATCH;
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] ?? 0;

for (const name of ['7.2.22/q72-q35-52-io', '7.2.22/q72-s390-idle']) {
  const file = new URL(`../../lab/streams/${name}.mig.gz`, import.meta.url);
  const stream = parseStream(gunzipSync(readFileSync(file)));
  const machine = stream.configuration?.name ?? '';
  for (const section of stream.sections) {
    const device = findVirtio(section, registry);
    if (device?.known !== true) continue;
    const { state } = decodeVirtio(device);
    const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(256 << 20) }]);
    // rings in zeroed memory say that nothing is available: what was taken was given back
    const idle = {
      ...state,
      queues: state.queues.map((queue) => ({ ...queue, lastAvailIdx: 0 })),
    } as VirtioState;
    const live = liveDevice(device, idle, TYPES, { memory, machine, targetEndian: machineEndian(machine) });
    const { codec } = device;
    const body = codec.encode(live.capture());
    const copy = new Uint8Array(body.length);
    const work: Readonly<Record<string, () => void>> = {
      capture: () => void live.capture(),
      'capture, encode': () => void codec.encode(live.capture()),
      restore: () => live.restore(idle),
      'decode, restore': () => live.restore(codec.decode(body)),
      'straight loop over the bytes': () => {
        for (let i = 0; i < body.length; i++) copy[i] = body[i] ?? 0;
      },
    };
    const times = Object.fromEntries(Object.keys(work).map((key) => [key, [] as number[]]));
    for (let round = 0; round < ROUNDS; round++)
      for (const [key, run] of Object.entries(work)) times[key]?.push(micros(run));
    const base = median(times['straight loop over the bytes'] ?? []);
    console.log(
      `${titleOf(device)} (${codec.transport.name}), ${body.length} bytes; µs, and times a straight loop`,
    );
    for (const [key, values] of Object.entries(times))
      console.log(
        `  ${key.padEnd(30)} ${median(values).toFixed(1).padStart(8)} ${(median(values) / base).toFixed(2).padStart(6)}`,
      );
  }
}
