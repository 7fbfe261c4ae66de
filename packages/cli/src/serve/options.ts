import { UsageError } from '../usage.ts';

/** Options of `virtkit serve`. */
export interface ServeOptions {
  readonly socket: string;
  readonly client?: boolean;
  readonly vfioUser?: boolean;
  readonly disk?: string;
  readonly readOnly?: boolean;
  readonly serial?: string;
  readonly queues: string;
  readonly connect?: string;
  readonly listen?: string;
  readonly mac?: string;
  readonly fault?: string;
  readonly stats?: string;
  readonly json?: boolean;
}

/** Reads a whole number. @throws UsageError unless it is one in these bounds */
export function wholeNumber(option: string, text: string, least: number, most: number): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= least && number <= most) return number;
  throw new UsageError(`${option} ${text}: a whole number from ${least} to ${most} expected`);
}
