import type { QemuBinary } from '@virtkit/lab';
import type { Difference } from './difference.ts';
import type { Operation } from './operation.ts';
import { replay } from './run.ts';
import type { Setup } from './setup.ts';

export interface Shrunk {
  readonly operations: readonly Operation[];
  readonly difference: Difference;
}

/**
 * Leaves out what is not needed for a difference of the same kind: halves, quarters, … single operations (delta debugging).
 *
 * @param attempts replays at most
 * @returns undefined if the sequence shows no difference when it is done again
 */
export async function shrink(
  binary: QemuBinary,
  setup: Setup,
  history: readonly Operation[],
  found: Difference,
  attempts = 400,
): Promise<Shrunk | undefined> {
  let left = attempts;
  const fails = async (operations: readonly Operation[]): Promise<Difference | undefined> => {
    left--;
    const difference = await replay(binary, setup, operations, found.kind === 'state');
    return difference !== undefined && isSame(difference, operations) ? difference : undefined;
  };
  // another difference may show up on the way: it is not the one that was found
  const isSame = (difference: Difference, operations: readonly Operation[]): boolean => {
    if (difference.kind !== found.kind) return false;
    const placed = found.kind === 'memory' || found.kind === 'state';
    if (placed && difference.where !== found.where) return false;
    const [then, now] = [history[found.at], operations[difference.at]];
    return (
      found.kind === 'memory' ||
      found.kind === 'state' ||
      found.kind === 'answer' ||
      (then?.kind === now?.kind && then?.at === now?.at)
    );
  };
  let operations: readonly Operation[] = history.slice(0, found.at + 1);
  const first = await fails(operations);
  if (first === undefined) return undefined;
  let difference: Difference = first;
  operations = operations.slice(0, difference.at + 1);
  for (let piece = Math.ceil(operations.length / 2); piece >= 1 && left > 0; ) {
    let shorter = false;
    // from the end: what stands last is nearest to the difference, and what is far in front falls away in large pieces
    for (let at = Math.max(0, operations.length - piece); left > 0; at = Math.max(0, at - piece)) {
      const candidate = [...operations.slice(0, at), ...operations.slice(at + piece)];
      const still = candidate.length > 0 ? await fails(candidate) : undefined;
      if (still !== undefined) {
        difference = still;
        operations = candidate.slice(0, still.at + 1);
        shorter = true;
      }
      if (at === 0) break;
      at = Math.min(at, operations.length);
    }
    if (piece > 1) piece = Math.ceil(piece / 2);
    else if (!shorter) break;
  }
  return { operations, difference };
}
