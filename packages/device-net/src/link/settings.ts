import { HostError } from '@virtkit/core';

/** Takes a number from `low` to `high` out of options. @throws HostError that names the option */
export function positive(name: string, value: number, low: number, high: number): number {
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  throw new HostError(`${name}: ${value}, ${low} to ${high} expected`);
}
