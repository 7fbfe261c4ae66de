import type { Facts } from '@virtkit/vmstate';
import type { StreamFinding } from './events.ts';

/**
 * Makes the finding of something that two readers could take for different streams. It is always an error.
 *
 * @param code short name of the kind of finding, for programs; it does not change: `ambiguous`
 * @param path name of the section; `vmdesc`; empty for the stream as a whole
 * @param reason what is wrong, with the values
 * @param facts the values by name
 * @param offset where in the stream, in bytes
 */
export function streamFinding(
  code: string,
  path: string,
  reason: string,
  facts: Facts,
  offset: number,
): StreamFinding {
  return { code, severity: 'error', layer: 'stream', path, reason, facts, offset };
}
