import { type Explanation, explain } from '@virtkit/compat';
import { colors as pc, textOf } from './output.ts';

/** What `virtkit explain` found in a text. */
export interface Explained {
  readonly text: string;
  /** False if nothing in the text was a message that virtkit knows. */
  readonly known: boolean;
}

/** QEMU's messages in words: causes first as they stand, the lines around them short. */
export function explainText(input: string, json: boolean): Explained {
  const found = explain(input);
  const known = found.length > 0;
  if (json) return { known, text: `${JSON.stringify({ format: 1, messages: found }, null, 2)}\n` };
  if (!known) return { known, text: '' };
  return { known, text: found.map(block).join('\n') };
}

function block({ line, role, meaning, advice, features = [] }: Explanation): string {
  if (role === 'context') return `${pc.dim(line)}\n  ${meaning}\n`;
  const lines = [
    pc.bold(line),
    `  ${meaning}`,
    ...features.map(
      ({ bit, name, property, machine, spec }) =>
        `  ${String(bit).padStart(4)} ${name}${property === undefined ? '' : `  property ${property}`}${machine === undefined ? '' : `, on since machine ${machine}`}  (${spec})`,
    ),
    ...(advice.length === 0 ? [] : ['  What to do:', ...advice.map((sentence) => `  - ${sentence}`)]),
  ];
  return textOf(lines);
}
