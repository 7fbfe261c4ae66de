import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { type Gpa, isModern, MappedMemory, negotiated, type VirtioState, virtioDevice } from '@virtkit/core';
import { BlkDevice, type BlkState, blk, memoryDisk } from '@virtkit/device-blk';
import { decodeVirtio, findVirtio, parseStream } from '@virtkit/migration';
import { MmioDevice, type MmioParts, mmio } from '@virtkit/transport-mmio';
import { describe, expect, test } from 'vitest';

const corpus = new URL('../../../lab/streams/', import.meta.url);
const RAM = 256 << 20;

/** Every virtio-blk on MMIO in the streams of real QEMUs. */
function* disks(): Generator<{ name: string; body: Uint8Array; state: VirtioState<MmioParts, BlkState> }> {
  for (const version of readdirSync(corpus)) {
    for (const file of readdirSync(new URL(`${version}/`, corpus))) {
      if (!/mmio.*\.mig\.gz$/.test(file)) continue;
      const stream = parseStream(gunzipSync(readFileSync(new URL(`${version}/${file}`, corpus))));
      for (const section of stream.sections) {
        const device = findVirtio(section, { transports: [mmio], devices: [blk] });
        if (device === undefined || device.name !== 'virtio-blk') continue;
        const state = decodeVirtio(device).state as VirtioState<MmioParts, BlkState>;
        yield { name: `${version}/${file} ${section.header.idstr}`, body: section.body, state };
      }
    }
  }
}

/** Guest memory is not in these streams: rings whose indices say that all that was taken was used. */
function memoryFor(state: VirtioState<MmioParts, BlkState>): MappedMemory {
  const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(RAM) }]);
  const modern = isModern(negotiated(state));
  state.queues.forEach(({ num, desc, align = 4096, lastAvailIdx }, index) => {
    if (desc === 0n) return;
    const rings = state.subsections.virtqueues?.[index];
    const avail = modern ? Number(rings?.avail ?? 0n) : Number(desc) + 16 * num;
    const used = modern ? Number(rings?.used ?? 0n) : Math.ceil((avail + 4 + 2 * num) / align) * align;
    const inFlight = state.device.requests.filter(({ queue = 0 }) => queue === index).length;
    memory.writeU16((avail + 2) as Gpa, lastAvailIdx, true);
    memory.writeU16((used + 2) as Gpa, (lastAvailIdx - inFlight) & 0xffff, true);
  });
  return memory;
}

/** A device made as the stream's was. */
function deviceFor(state: VirtioState<MmioParts, BlkState>, memory: MappedMemory): MmioDevice<BlkState> {
  const view = new DataView(state.config.buffer, state.config.byteOffset, state.config.byteLength);
  const legacy = state.subsections.extraState === undefined;
  const [queue] = state.queues;
  const queues = state.queues.length;
  return new MmioDevice(
    new BlkDevice({
      backend: memoryDisk(Number(view.getBigUint64(0, true)) * 512 || 1 << 20),
      queues,
      queueSize: state.subsections.ringsize?.[0] ?? queue?.num ?? 256,
    }),
    {
      memory,
      legacy,
      setIrq: () => {},
      rings: {
        ringReset: state.subsections.features64 !== undefined,
        packed: state.subsections.packedVirtqueues !== undefined,
      },
    },
  );
}

describe('a live device takes over the state of a real one, and gives it back', () => {
  for (const { name, body, state } of disks()) {
    test(name, () => {
      const memory = memoryFor(state);
      const mmioDevice = deviceFor(state, memory);
      mmioDevice.device.restore(state);
      const captured = mmioDevice.device.capture();
      expect(captured).toEqual(state);
      expect(virtioDevice(mmio, blk).encode(captured)).toEqual(body);
    });
  }
});
