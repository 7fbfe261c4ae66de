import { compareVersion, type QemuVersion } from '@virtkit/core/qemu';
import { hex } from '@virtkit/vmstate';

/** QEMU's messages, where their words depend on its version. */

/**
 * Writes the line with which a QEMU refuses features. From 10.2 on it prints 128 bits, and the features only after it
 * has taken away those that it does not offer.
 *
 * @param missing those of `features` that the device does not offer
 * @param allowed what the device offers; undefined: not known
 */
export function featuresUnsupported(
  qemu: QemuVersion,
  features: bigint,
  missing: bigint,
  allowed: bigint | undefined,
): string {
  const show = (set: bigint): string =>
    qemu.features128 ? `0x${set.toString(16).padStart(32, '0')}` : hex(set);
  const told = qemu.features128 ? features & ~missing : features;
  return `Features ${show(told)} unsupported. Allowed features: ${allowed === undefined ? '…' : show(allowed)}`;
}

/**
 * Writes the line with which a QEMU from 11.1 on refuses a queue that is larger than its own, or that it does not have.
 */
export function ringTooLarge(queue: number, entries: number, limit: number): string {
  return `VQ ${queue} vring.num ${entries} exceeds allocated max ${limit}`;
}

/** Writes the line with which a QEMU refuses a block of RAM that it does not have. */
export function unknownBlock(block: string): string {
  return `Unknown ramblock "${block}", cannot accept migration`;
}

/** Writes the line with which a QEMU refuses a section that it does not have. */
export function unknownSection(qemu: QemuVersion, idstr: string, instanceId: number): string {
  const words = compareVersion(qemu.name, '11.0') >= 0 ? 'Unknown section' : 'Unknown savevm section';
  return `${words} or instance '${idstr}' ${instanceId}. Make sure that your current VM setup matches your saved VM setup, including any hotplugged devices`;
}

/** Writes the line with which a QEMU refuses a byte of configuration space that no driver can change. */
export function badConfig(at: number, stream: string, device: string): string {
  return `get_pci_config_device: Bad config data: i=${hex(at)} read: ${stream} device: ${device} cmask: ff wmask: 0 w1cmask:0`;
}

/** Writes the line with which a QEMU refuses a block of RAM of another size, in bytes. */
export function sizeMismatch(block: string, received: number, local: number): string {
  return `Size mismatch: ${block}: ${hex(received)} != ${hex(local)}: Invalid argument`;
}

/** Has this QEMU the property that keeps a function conventional behind a PCI Express port? It went with 10.2. */
export function hasDisablePcie(qemu: QemuVersion): boolean {
  return compareVersion(qemu.name, '10.2') < 0;
}
