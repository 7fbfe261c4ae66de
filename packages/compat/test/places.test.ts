import { describe, expect, test } from 'vitest';
import { parseTarget } from '../src/index.ts';

const MMIO = '-device virtio-blk-device,drive=d0';

/** Options behind the program, version of QEMU, and where QEMU puts the first virtio device: from its own `info qtree`. */
const TABLE: readonly (readonly [string, string, string])[] = [
  [`-M microvm ${MMIO}`, '5.2', 'virtio-mmio@00000000feb00e00'],
  [`-M microvm ${MMIO}`, '7.2', 'virtio-mmio@00000000feb02e00'],
  [`-M microvm,acpi=off ${MMIO}`, '7.2', 'virtio-mmio@00000000feb00e00'],
  [`-M microvm -no-acpi ${MMIO}`, '7.2', 'virtio-mmio@00000000feb00e00'],
  [`-M microvm,ioapic2=off ${MMIO}`, '7.2', 'virtio-mmio@00000000feb00e00'],
  [`-M microvm,ioapic2=on,acpi=off ${MMIO}`, '7.2', 'virtio-mmio@00000000feb00e00'],
  [`-M microvm,pcie=on ${MMIO}`, '7.2', 'virtio-mmio@00000000feb02e00'],
  ['-M pc -nodefaults -s -device virtio-blk-pci,drive=d0', '7.2', '0000:00:02.0'],
  ['-M pc -nodefaults -async-teardown -device virtio-blk-pci,drive=d0', '8.0', '0000:00:02.0'],
];

describe('where QEMU puts a device', () => {
  test.each(TABLE)('%s, QEMU %s', (options, version, place) => {
    const { destination } = parseTarget(`qemu-${version}`, { commandLine: `qemu-system-x86_64 ${options}` });
    expect(destination?.devices.find(({ driver }) => driver.startsWith('virtio-'))?.place).toBe(place);
  });
});
