/** `on`, `yes`, `true` … as QEMU reads them; undefined for anything else. */
export function switchOf(value: string | undefined): boolean | undefined {
  if (value === undefined) return undefined;
  if (/^(on|yes|true|y|1)$/.test(value)) return true;
  return /^(off|no|false|n|0)$/.test(value) ? false : undefined;
}

/** Decimal, hexadecimal with `0x`, octal with `0`, as `strtoull` reads them; undefined for anything else. */
export function numberOf(value: string | undefined): number | undefined {
  const [, sign, hex, octal, decimal] =
    /^\s*([+-]?)(?:0x([0-9a-f]+)|0([0-7]+)|(\d+))$/i.exec(value ?? '') ?? [];
  if (sign === undefined || ((decimal ?? '').length > 1 && decimal?.startsWith('0'))) return undefined;
  const digits = hex ?? octal ?? decimal ?? '';
  const number = Number.parseInt(digits, hex !== undefined ? 16 : octal !== undefined ? 8 : 10);
  return sign === '-' ? -number : number;
}

const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
  p: 2 ** 50,
  e: 2 ** 60,
};

/** `512M`, `1.5G`, `0x20`, `131072K` → bytes; a number alone is of `unit`. */
export function bytesOf(value: string | undefined, unit: 'b' | 'm'): number | undefined {
  const [, hex, hexUnit, digits, suffix] =
    /^(?:(0x[0-9a-f]+)([kmgtpe]?)|(\d+(?:\.\d*)?)([bkmgtpe]?))$/i.exec(value ?? '') ?? [];
  const number = hex ?? digits;
  if (number === undefined) return undefined;
  const named = (hexUnit ?? suffix ?? '').toLowerCase();
  return Math.floor(Number(number) * (UNITS[named === '' ? unit : named] ?? 1));
}

/** Slot and function of a PCI device. */
export interface SlotAndFunction {
  readonly slot: number;
  readonly fn: number;
}

/** `addr=` of a PCI device: hexadecimal `slot.function`, each with or without `0x`. QEMU: `set_pci_devfn` */
export function pciAddress(value: string | undefined): SlotAndFunction | undefined {
  if (value === undefined) return undefined;
  const [, slot, fn] = /^\s*(?:0x)?([0-9a-f]+)(?:\.(?:0x)?([0-9a-f]+))?$/i.exec(value) ?? [];
  return slot === undefined ? undefined : valid(Number.parseInt(slot, 16), Number.parseInt(fn ?? '0', 16));
}

function valid(slot: number, fn: number): SlotAndFunction | undefined {
  return slot < 32 && fn < 8 ? { slot, fn } : undefined;
}

/** As sections name it: `02.1`. */
export function pciAddressText({ slot, fn }: SlotAndFunction): string {
  return `${slot.toString(16).padStart(2, '0')}.${fn.toString(16)}`;
}
