/** What `check` found out about a load. */
export interface Verdict {
  /** Stable, for programs. */
  readonly code: string;
  /**
   * `refused`: the target does not load the stream. `unknown`: something about the target is not known here, so that no
   * answer can be given. `depends`: it does not load, unless something holds that the stream does not tell. `note`: it
   * loads, and something is worth knowing.
   */
  readonly severity: 'refused' | 'unknown' | 'depends' | 'note';
  /** Device and field: `virtio-blk@0000:00:02.0 / queues[0].num`. */
  readonly path: string;
  /** What is the matter, with the values. */
  readonly reason: string;
  /** What QEMU says then. */
  readonly qemuSays?: string;
  /** The feature by its name, if one is concerned, and what decides over it. */
  readonly feature?: string;
  readonly property?: string;
  readonly machine?: string;
  readonly spec?: string;
  /** What can be done. */
  readonly advice?: string;
  /** `virtkit convert` makes it load. */
  readonly convertible?: boolean;
}

/** What verdicts come to: `loads` only if nothing speaks against it and nothing that decides is unknown. */
export type Answer = 'refused' | 'unknown' | 'depends' | 'loads';

/** The worst of some verdicts: one refusal is enough, whatever else is not known. */
export function answerOf(verdicts: readonly Verdict[]): Answer {
  const worst = (['refused', 'unknown', 'depends'] as const).find((answer) =>
    verdicts.some(({ severity }) => severity === answer),
  );
  return worst ?? 'loads';
}
