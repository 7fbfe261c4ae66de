import { type Difference, diffStreams, showJson } from '@virtkit/compat';
import { colors as pc, textOf } from './output.ts';
import type { Read } from './read.ts';
import { registry } from './registry.ts';

/** Text that `virtkit diff` prints, and whether anything in it would make a load fail. */
export interface Diffed {
  readonly text: string;
  readonly refused: boolean;
}

const HEADINGS = {
  refused: 'A does not load where B was written, for',
  'may-refuse': 'A may not load where B was written, depending on the destination, for',
  state: 'differences that a load takes over',
} as const;

/** Compares two streams by fields. */
export function diff(a: Read, b: Read, json: boolean): Diffed {
  const differences = diffStreams(a.stream, b.stream, registry);
  const refused = differences.some(({ weight }) => weight === 'refused');
  if (json) return { refused, text: `${JSON.stringify({ format: 1, differences }, null, 2)}\n` };
  const lines = (Object.keys(HEADINGS) as (keyof typeof HEADINGS)[]).flatMap((weight) => {
    const those = differences.filter((each) => each.weight === weight);
    if (those.length === 0) return [];
    const color = weight === 'refused' ? pc.red : weight === 'may-refuse' ? pc.yellow : pc.bold;
    return [color(`${HEADINGS[weight]}:`), ...those.map(line), ''];
  });
  return { refused, text: differences.length === 0 ? 'no differences\n' : `${textOf(lines).trimEnd()}\n` };
}

function line({ path, a, b, reason }: Difference): string {
  const values = `${short(showJson(a))} → ${short(showJson(b))}`;
  return `  ${path}: ${values}${reason === undefined || reason === '' ? '' : `  (${reason})`}`;
}

function short(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
