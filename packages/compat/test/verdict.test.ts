import { answerOf, type Verdict } from '@virtkit/compat';
import { describe, expect, test } from 'vitest';

const verdict = (severity: Verdict['severity']): Verdict => ({
  code: 'x',
  severity,
  path: 'a device',
  reason: '…',
});

describe('what verdicts come to', () => {
  test.each([
    [[], 'loads'],
    [['note'], 'loads'],
    [['note', 'depends'], 'depends'],
    [['depends', 'unknown', 'note'], 'unknown'],
    [['unknown', 'refused', 'depends'], 'refused'],
  ] as const)('%j: %s', (severities, answer) => {
    expect(answerOf(severities.map(verdict))).toBe(answer);
  });
});
