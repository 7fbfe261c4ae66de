import type { Explanation, LogContext } from './explain.ts';
import { featureRules } from './rules-features.ts';
import { ringRules } from './rules-ring.ts';
import { stateRules } from './rules-state.ts';
import { streamRules } from './rules-stream.ts';

/** One kind of message. */
export interface Rule {
  readonly pattern: RegExp;
  explain(match: RegExpExecArray, context: LogContext): Omit<Explanation, 'line'>;
}

/** All kinds, the more special ones first. */
export const rules: readonly Rule[] = [...featureRules, ...ringRules, ...stateRules, ...streamRules];

/** `a, b and c` */
export function listed(items: readonly string[]): string {
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`;
}

/** A capture group of a pattern that matched. */
export function group(match: RegExpExecArray, index: number): string {
  return match[index] ?? '';
}
