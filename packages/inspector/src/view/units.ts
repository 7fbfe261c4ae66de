/** Writes a number of bytes as people say it: `512 bytes`, `1.5 KiB`, `128 MiB`. */
export function inUnits(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let [value, unit] = [bytes, 0];
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  const rounded = Number.isInteger(value) || value >= 100 ? Math.round(value) : Math.round(value * 10) / 10;
  return `${rounded} ${units[unit]}`;
}

/** Writes a number in hexadecimal: `0x1f`. */
export function inHex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** Writes a number with what it counts: `1 section`, `2 sections`. */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
