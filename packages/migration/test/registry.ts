import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import { otherDevices } from '@virtkit/device-states';
import { ccw, s390Css } from '@virtkit/transport-ccw';
import { mmio } from '@virtkit/transport-mmio';
import { pci } from '@virtkit/transport-pci';
import {
  acceptVirtio,
  type DecodedVirtio,
  decodeVirtio,
  findVirtio,
  type ParserOptions,
  parseStream,
  type Registry,
} from '../src/index.ts';

/** Every layer there is. */
export const registry: Registry = {
  transports: [pci, ccw, mmio],
  devices: [net, blk, ...otherDevices],
  sections: { s390_css: s390Css },
};

/** How a program with that registry reads a stream. */
export const parserOptions: ParserOptions = { accepts: acceptVirtio(registry) };

/** Every virtio device of a stream that is in memory, in the stream's order. */
export function decodeDevices(stream: Uint8Array): DecodedVirtio[] {
  const { sections } = parseStream(stream, parserOptions);
  return sections.flatMap((section) => {
    const device = findVirtio(section, registry);
    return device === undefined ? [] : [decodeVirtio(device)];
  });
}
