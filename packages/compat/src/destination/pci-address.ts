/** Slot and function of a PCI device. */
export interface SlotAndFunction {
  readonly slot: number;
  readonly fn: number;
}

/**
 * Reads slot and function of `addr=`: hexadecimal `slot.function`, each with or without `0x`. Undefined: not valid.
 * QEMU: `set_pci_devfn`
 */
export function pciAddress(value: string | undefined): SlotAndFunction | undefined {
  if (value === undefined) return undefined;
  const [, slot, fn] = /^\s*(?:0x)?([0-9a-f]+)(?:\.(?:0x)?([0-9a-f]+))?$/i.exec(value) ?? [];
  return slot === undefined ? undefined : valid(Number.parseInt(slot, 16), Number.parseInt(fn ?? '0', 16));
}

function valid(slot: number, fn: number): SlotAndFunction | undefined {
  return slot < 32 && fn < 8 ? { slot, fn } : undefined;
}

/** Writes slot and function as the names of sections have them: `02.1`. */
export function pciAddressText({ slot, fn }: SlotAndFunction): string {
  return `${slot.toString(16).padStart(2, '0')}.${fn.toString(16)}`;
}
