import type { Answer, Verdict } from '@virtkit/compat';
import type { VmResult } from './check-fleet.ts';

/** Cause that speaks against the moves of machines, or leaves them open, and that is the same for all of them. */
export interface Cause {
  readonly severity: 'refused' | 'unknown' | 'depends';
  readonly code: string;
  /** Names of the properties that decide, where some do: `guest_uso4, host_uso`. */
  readonly properties: string;
  /** Sentence about the cause, as of the first machine. */
  readonly reason: string;
  readonly cure: string;
  /** Names of the machines. */
  readonly vms: string[];
}

/** Change that helps most machines, alone. */
export interface BestCure {
  readonly cure: string;
  /** Number of machines against whose move nothing else speaks. */
  readonly cured: number;
}

/**
 * Summary of a fleet: counts and causes, kept while results come, and as large as there are kinds of causes and names
 * of machines.
 */
export class Summary {
  readonly counts: Record<Answer, number> = { refused: 0, unknown: 0, depends: 0, loads: 0 };
  readonly #causes = new Map<string, Cause>();
  /** Numbers of machines that have no other cause, by cure. */
  readonly #alone = new Map<string, number>();

  add({ vm, answer, verdicts }: VmResult): void {
    this.counts[answer]++;
    const causes = causesOf(verdicts);
    for (const cause of causes) {
      const key = `${cause.severity}|${cause.code}|${cause.properties === '' ? cause.reason : cause.properties}`;
      const known = this.#causes.get(key) ?? { ...cause, vms: [] };
      known.vms.push(vm);
      this.#causes.set(key, known);
    }
    const cures = new Set(causes.map(({ cure }) => cure));
    const [cure] = cures;
    // what could not be read may be anything
    if (cures.size === 1 && cure !== undefined && !causes.some(({ code }) => code === 'not-read'))
      this.#alone.set(cure, (this.#alone.get(cure) ?? 0) + 1);
  }

  get total(): number {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0);
  }

  /** Causes, the worst first, and of those the one that most machines have. */
  get causes(): readonly Cause[] {
    const rank = { refused: 0, unknown: 1, depends: 2 };
    return [...this.#causes.values()].sort(
      (a, b) => rank[a.severity] - rank[b.severity] || b.vms.length - a.vms.length,
    );
  }

  /** Change after which most machines move; undefined where no single one helps any. */
  get best(): BestCure | undefined {
    const [best] = [...this.#alone].sort(([, a], [, b]) => b - a);
    return best === undefined ? undefined : { cure: best[0], cured: best[1] };
  }

  /** Answer that is the worst of all. */
  get answer(): Answer {
    return (['refused', 'unknown', 'depends'] as const).find((each) => this.counts[each] > 0) ?? 'loads';
  }
}

type Found = Omit<Cause, 'vms'>;

/** Lists the causes of one machine. Features that one device lacks, and the same of several devices, are one cause. */
function causesOf(verdicts: readonly Verdict[]): Found[] {
  const groups = new Map<string, Verdict[]>();
  for (const verdict of verdicts) {
    const { severity, code, property, reason } = verdict;
    if (severity === 'note') continue;
    const key = `${severity}|${code}|${property === undefined ? reason : ''}`;
    groups.set(key, [...(groups.get(key) ?? []), verdict]);
  }
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined || first.severity === 'note') return [];
    const { severity, code, advice } = first;
    const properties = [...new Set(group.flatMap(({ property }) => property ?? []))].sort().join(', ');
    const names = [...new Set(group.flatMap(({ feature }) => feature ?? []))];
    return [
      {
        ...{ severity, code, properties },
        reason: names.length < 2 ? first.reason : ofSeveral(first.reason, names),
        cure:
          names.length < 2
            ? (advice ?? 'none is known to virtkit')
            : `${CURES[code] ?? advice ?? ''}`.replace('PROPERTIES', properties),
      },
    ];
  });
}

/** Turns a sentence about the first of several features into one about all of them. */
function ofSeveral(reason: string, names: readonly string[]): string {
  return reason.replace(names[0] ?? '', names.join(', ')).replace(' is negotiated', ' are negotiated');
}

/** Sentences about what to do about several features at once. */
const CURES: Readonly<Record<string, string>> = {
  feature:
    'stop and start the machine with PROPERTIES off (or on at the target as well) before it moves, or take another target',
  host: 'say which Linux the hosts of the target run: --host-kernel 6.1, or --host FILE with what virtkit host wrote there',
};
