import { type Facts, StateError } from '@virtkit/vmstate';
import type { Finding, Report } from './contract/finding.ts';

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

/** Makes the exception for the first of some findings that must not be loaded; undefined if all may be. */
export function errorOf(findings: readonly Finding[]): StateError | undefined {
  const finding = findings.find(({ severity }) => severity === 'error');
  return finding && new StateError(finding.code, finding.reason, finding.facts, finding);
}
