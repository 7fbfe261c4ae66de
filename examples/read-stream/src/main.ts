/** What is in a migration stream? `node main.js FILE`: each virtio device with its features and rings. */
import { createReadStream } from 'node:fs';
import { nameFeatures, negotiated } from '@virtkit/core';
import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import {
  acceptVirtio,
  decodeVirtio,
  findVirtio,
  type Registry,
  readStream,
  titleOf,
} from '@virtkit/migration';
import { ccw } from '@virtkit/transport-ccw';
import { mmio } from '@virtkit/transport-mmio';
import { pci } from '@virtkit/transport-pci';

const registry: Registry = { transports: [pci, ccw, mmio], devices: [net, blk] };

const file = process.argv[2];
if (file === undefined) throw new Error('usage: main.js FILE');
const stream = await readStream(createReadStream(file), { accepts: acceptVirtio(registry) });

console.log(`machine ${stream.configuration?.name ?? 'unknown'}, ${stream.sections.length} sections`);
for (const section of stream.sections) {
  const device = findVirtio(section, registry);
  if (device === undefined) continue;
  const { state } = decodeVirtio(device);
  const features = nameFeatures(negotiated(state), device.codec.device.features);
  console.log(`\n${titleOf(device)} on ${device.codec.transport.name}`);
  console.log(`  negotiated: ${features.map(({ bit, name }) => name ?? bit).join(' ')}`);
  state.queues.forEach(({ num, desc, lastAvailIdx }, index) => {
    console.log(`  queue ${index}: ${num} entries at 0x${desc.toString(16)}, next to take: ${lastAvailIdx}`);
  });
}
