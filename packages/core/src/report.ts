import type { Facts } from '@virtkit/vmstate';
import type { Report } from './contract/finding.ts';

/**
 * Reports something that must not be loaded.
 *
 * @param code short name of the kind of finding, for programs; it does not change: `queue-count`
 * @param path the field in the state: `queues[1].lastAvailIdx`
 * @param reason what is wrong, with the values
 * @param facts the values by name
 */
export function reportError(
  report: Report,
  code: string,
  path: string,
  reason: string,
  facts: Facts = {},
): void {
  report({ code, severity: 'error', path, reason, facts });
}

/** Reports something that loads and was not to be expected; the parameters are those of {@link reportError}. */
export function reportWarning(
  report: Report,
  code: string,
  path: string,
  reason: string,
  facts: Facts = {},
): void {
  report({ code, severity: 'warning', path, reason, facts });
}
