import { capabilities } from '@virtkit/transport-pci';
import { hex } from '@virtkit/vmstate';
import { pciByte } from '../pci-byte.ts';
import type { Difference } from './difference.ts';

const CAPABILITY = { VENDOR: 0x09, MSIX: 0x11 } as const;
/** `cfg_type` of the capability for configuration access, whose bar, offset, length and data are the driver's. Virtio 1.3 §4.1.4.9 */
const VIRTIO_PCI_CFG = 5;

/** Bits of each byte of configuration space that QEMU compares when it loads: those that no driver can change. */
function comparedBits(config: Uint8Array): Uint8Array {
  const mask = new Uint8Array(config.length);
  mask.fill(0xff, 0x00, 0x04);
  mask[0x06] = 0x10;
  mask.fill(0xff, 0x08, 0x0c);
  mask[0x0e] = 0xff;
  for (let bar = 0; bar < 6; bar++) mask[0x10 + 4 * bar] = 0x0f;
  mask[0x34] = 0xff;
  for (const { id, at } of capabilities(config)) {
    mask.fill(0xff, at, at + 2);
    if (id === CAPABILITY.VENDOR) {
      const driverOwned = config[at + 3] === VIRTIO_PCI_CFG;
      mask.fill(0xff, at + 2, at + (driverOwned ? 4 : (config[at + 2] ?? 0)));
    } else if (id === CAPABILITY.MSIX) {
      mask.fill(0xff, at + 2, at + 12);
      // enable and function mask are the driver's
      mask[at + 3] = 0x3f;
    }
  }
  if (config.length > 256) mask.fill(0xff, 0x100, 0x104);
  return mask;
}

/** Differences of two configuration spaces, by byte. */
export function diffPci(a: unknown, b: unknown): Difference[] {
  const [left, right] = [configOf(a), configOf(b)];
  if (left === undefined || right === undefined) return [];
  if (left.length !== right.length) {
    return [
      {
        path: 'transport.config',
        a: `${left.length} bytes`,
        b: `${right.length} bytes`,
        weight: 'refused',
        reason:
          'a conventional and a PCI Express function: another kind of slot, or x-disable-pcie (before QEMU 10.2)',
      },
    ];
  }
  const [maskA, maskB] = [comparedBits(left), comparedBits(right)];
  const other = left.length > 256 ? 'conventional' : 'express';
  const found: Difference[] = [];
  for (let at = 0; at < left.length; at++) {
    const [x = 0, y = 0] = [left[at], right[at]];
    if (x === y) continue;
    const compared = ((maskA[at] ?? 0) | (maskB[at] ?? 0)) & (x ^ y);
    const readings = pciByte(at).filter(({ layout }) => layout !== other);
    const names = readings.map(({ name }) => name);
    const decided = readings.flatMap(({ decidedBy }) => (decidedBy === undefined ? [] : [decidedBy]));
    found.push({
      path: `transport.config[${hex(at)}]${names.length === 0 ? '' : ` (${names.join(' or ')})`}`,
      a: hex(x),
      b: hex(y),
      weight: compared === 0 ? 'state' : 'refused',
      ...(compared !== 0 && {
        reason: `no driver can change it${decided.length === 0 ? '' : `; compare ${decided.join('; or ')}`}`,
      }),
    });
  }
  return found;
}

function configOf(transport: unknown): Uint8Array | undefined {
  const config = (transport as { readonly config?: unknown } | null)?.config;
  return config instanceof Uint8Array ? config : undefined;
}
