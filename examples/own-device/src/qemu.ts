import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { MappedMemory } from '@virtkit/core';
import { decodeVirtio, findVirtio, parseStream } from '@virtkit/migration';
import { GuestRam } from '@virtkit/testing';
import { MmioDevice, mmio } from '@virtkit/transport-mmio';
import { EntropyDevice, type Source } from './device.ts';
import { entropy } from './layer.ts';

const QUEUE_NOTIFY = 0x50;
/** A buffer that the device writes. Virtio 1.3 §2.7.5 */
const DESC_WRITE = 2;

/**
 * Takes the entropy device out of a stream of QEMU 7.2 (`-M microvm -device virtio-rng-device`, a Linux guest at work), and goes on
 * with it here.
 *
 * @returns whether it saves what QEMU had saved, and how many bytes its guest got
 */
export function goOnFromQemu(source: Source): { readonly saved: boolean; readonly filled: number } {
  const stream = gunzipSync(readFileSync(new URL('../streams/microvm-rng.mig.gz', import.meta.url)));
  const types = { transports: [mmio], devices: [entropy] };
  const found = parseStream(stream)
    .sections.map((section) => findVirtio(section, types))
    .find((device) => device?.name === 'virtio-rng');
  if (found === undefined) throw new Error('the stream has no entropy device');
  const { state } = decodeVirtio(found);

  // the stream was made without guest memory (x-ignore-shared): the ring is written here as the guest had it, with one more request
  const [queue] = state.queues;
  if (queue === undefined) throw new Error('the device has no queue');
  const ram = new GuestRam(new Uint8Array(64 << 20));
  const avail = Number(queue.desc) + 16 * queue.num;
  const used = Math.ceil((avail + 2 * queue.num + 6) / 4096) * 4096;
  ram.setU64(Number(queue.desc), 0x1000, true);
  ram.setU32(Number(queue.desc) + 8, 64, true);
  ram.setU16(Number(queue.desc) + 12, DESC_WRITE, true);
  ram.setU16(avail + 2, queue.lastAvailIdx, true);
  ram.setU16(used + 2, queue.lastAvailIdx, true);

  const window = new MmioDevice(new EntropyDevice(source), {
    legacy: true,
    memory: new MappedMemory([{ gpa: 0, bytes: ram.bytes }]),
    setIrq: () => {},
  });
  window.device.restore(state as Parameters<typeof window.device.restore>[0]);
  const saved = Buffer.from(found.codec.encode(window.device.capture())).equals(found.section.body);
  window.device.resume();
  ram.setU16(avail + 2, queue.lastAvailIdx + 1, true);
  window.write(QUEUE_NOTIFY, 4, 0);
  const entry = used + 4 + 8 * (queue.lastAvailIdx % queue.num);
  return { saved, filled: ram.u32(entry + 4, true) };
}
