import { capabilities, EXTENDED_CAPABILITIES, PCI_HEADER } from '@virtkit/transport-pci';
import { hex } from '@virtkit/vmstate';
import { pciByte } from '../pci-byte.ts';
import type { Difference } from './difference.ts';

const CAPABILITY = { VENDOR: 0x09, MSIX: 0x11 } as const;
/** `cfg_type` of the capability for configuration access, whose bar, offset, length and data are the driver's. Virtio 1.3 §4.1.4.9 */
const VIRTIO_PCI_CFG = 5;

/** Bit of the status register's lower byte that says that there is a list of capabilities. */
const HAS_CAPABILITIES = 0x10;
/** Mask of the bits of a BAR that say what it is. */
const BAR_KIND = 0x0f;
/**
 * Length in bytes of the MSI-X capability; below it, the bits of its fourth byte that are not the driver's: enable and
 * function mask are.
 */
const MSIX_BYTES = 12;
const MSIX_CONTROL_FIXED = 0x3f;
/** Length in bytes of a conventional function's configuration space. */
const CONVENTIONAL_BYTES = 256;

/**
 * Finds the bits of each byte of configuration space that QEMU compares when it loads: those that no driver can change.
 */
function comparedBits(config: Uint8Array): Uint8Array {
  const mask = new Uint8Array(config.length);
  mask.fill(0xff, PCI_HEADER.VENDOR_ID, PCI_HEADER.COMMAND);
  mask[PCI_HEADER.STATUS] = HAS_CAPABILITIES;
  mask.fill(0xff, PCI_HEADER.REVISION_ID, PCI_HEADER.CACHE_LINE_SIZE);
  mask[PCI_HEADER.HEADER_TYPE] = 0xff;
  for (let bar = 0; bar < 6; bar++) mask[PCI_HEADER.BAR0 + 4 * bar] = BAR_KIND;
  mask[PCI_HEADER.CAPABILITIES] = 0xff;
  for (const { id, at } of capabilities(config)) {
    mask.fill(0xff, at, at + 2);
    if (id === CAPABILITY.VENDOR) {
      const driverOwned = config[at + 3] === VIRTIO_PCI_CFG;
      mask.fill(0xff, at + 2, at + (driverOwned ? 4 : (config[at + 2] ?? 0)));
    } else if (id === CAPABILITY.MSIX) {
      mask.fill(0xff, at + 2, at + MSIX_BYTES);
      mask[at + 3] = MSIX_CONTROL_FIXED;
    }
  }
  if (config.length > CONVENTIONAL_BYTES) mask.fill(0xff, EXTENDED_CAPABILITIES, EXTENDED_CAPABILITIES + 4);
  return mask;
}

/** Lists the differences of two configuration spaces, by byte. */
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
  const other = left.length > CONVENTIONAL_BYTES ? 'conventional' : 'express';
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
