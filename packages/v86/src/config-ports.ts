import type { PortEntry, V86Cpu, V86Pci } from './emulator.ts';
import type { Target } from './target.ts';

const CONFIG_DATA = 0xcfc;
const PRESENT = 0x8000_0000 | 0;

/**
 * Hooks the ports of configuration space, 0xCF8 and 0xCFC, for our functions. v86 keeps a copy of each function's
 * registers and has no hooks; a virtio function must see each access, its size too (Virtio 1.3 §4.1.4.9).
 *
 * @param find the function at bus << 8 | slot << 3 | function, if it is ours now
 */
export function hookConfigPorts(cpu: V86Cpu, pci: V86Pci, find: (bdf: number) => Target | undefined): void {
  const { pci_query, pci_write8, pci_write16, pci_write32 } = pci;
  const selected = (): Target | undefined => find(((pci.pci_addr[2] ?? 0) << 8) | (pci.pci_addr[1] ?? 0));
  pci.pci_query = () => {
    // nothing is read before the guest reads: some registers would change by it
    if (selected() === undefined) pci_query.call(pci);
    else pci.pci_status32[0] = PRESENT;
  };
  const write =
    (size: number, before: (address: number, value: number) => void) =>
    (address: number, value: number): void => {
      const target = find((address >>> 8) & 0xffff);
      if (target === undefined) before.call(pci, address, value);
      else target.configWrite(address & 0xff, size, size === 4 ? value >>> 0 : value);
    };
  pci.pci_write8 = write(1, pci_write8);
  pci.pci_write16 = write(2, pci_write16);
  pci.pci_write32 = write(4, pci_write32);
  for (let i = 0; i < 4; i++) hookRead(cpu, pci, i, selected);
}

function hookRead(cpu: V86Cpu, pci: V86Pci, i: number, selected: () => Target | undefined): void {
  const entry = cpu.io.ports[CONFIG_DATA + i] as PortEntry;
  const { read8, read16, read32 } = entry;
  const read = (size: number, before: (port: number) => number) =>
    function (this: unknown, port: number): number {
      const target = selected();
      return target === undefined
        ? before.call(this, port)
        : target.configRead(((pci.pci_addr[0] ?? 0) & 0xfc) + i, size) | 0;
    };
  entry.read8 = read(1, read8);
  entry.read16 = read(2, read16);
  entry.read32 = read(4, read32);
}
