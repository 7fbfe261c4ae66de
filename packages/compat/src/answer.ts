import type { Verdict } from '@virtkit/core/qemu';

/** Answer that verdicts come to: `loads` only if nothing speaks against it and nothing that decides is unknown. */
export type Answer = 'refused' | 'unknown' | 'depends' | 'loads';

/** Finds the worst of some verdicts: one refusal is enough, whatever else is not known. */
export function answerOf(verdicts: readonly Verdict[]): Answer {
  const worst = (['refused', 'unknown', 'depends'] as const).find((answer) =>
    verdicts.some(({ severity }) => severity === answer),
  );
  return worst ?? 'loads';
}
